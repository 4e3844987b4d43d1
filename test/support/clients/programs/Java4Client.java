// Kafka 4's Java client: what JavaClient.java does, and what older ones have not.

import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Java4Client extends JavaClient {
  public static void main(String[] args) {
    JavaClient.main(args);
    test("share group", Java4Client::share);
    test("descriptions", Java4Client::descriptions);
  }

  /** A share group begins with what comes after it: so records are sent until as many are read, and acknowledged. */
  static void share() throws Exception {
    var group = prefix + "-share";
    var config = config(Map.of("group.id", group, "share.acknowledgement.mode", "explicit"));
    var accepted = new HashSet<String>();
    try (var consumer = new KafkaShareConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        var producer = producer(Map.of());
        var admin = Admin.create(config(Map.of()))) {
      consumer.subscribe(List.of(prefix + "-share"));
      for (int i = 0; accepted.size() < 5 && i < 200; i++) {
        send(producer, "share", List.of("value " + i));
        for (var one : consumer.poll(Duration.ofMillis(100))) {
          consumer.acknowledge(one, AcknowledgeType.ACCEPT);
          if (!accepted.add(one.value())) throw new AssertionError(one.value() + " came twice");
        }
        for (var failed : consumer.commitSync().values()) if (failed.isPresent()) throw failed.get();
      }
      if (accepted.size() < 5) throw new AssertionError("only " + accepted.size() + " records were shared");
      same(1, admin.describeShareGroups(List.of(group)).all().get().get(group).members().size());
    }
  }

  static void descriptions() throws Exception {
    try (var admin = Admin.create(config(Map.of()))) {
      var topic = prefix + "-classic";
      var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
      same(2, described.partitions().size());
      var nodes = admin.describeCluster().nodes().get();
      if (!nodes.contains(described.partitions().get(0).leader())) throw new AssertionError(nodes + " lack the leader");
      var listed = admin.listGroups().all().get();
      if (listed.stream().noneMatch(one -> one.groupId().equals(prefix + "-consumer"))) throw new AssertionError(listed);
    }
  }
}
