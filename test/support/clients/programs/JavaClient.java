// Kafka's Java client, any version from 2.8 on, run by programs.ts: `java -cp JARS JavaClient.java BOOTSTRAP PREFIX CASE,…`.
// What only Kafka 4's has is in Java4Client.java.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class JavaClient {
  interface Body {
    void run() throws Exception;
  }

  static String bootstrap;
  static String prefix;
  static Set<String> asked;

  public static void main(String[] args) {
    bootstrap = args[0];
    prefix = args[1];
    asked = Set.of(args[2].split(","));
    for (String acks : List.of("0", "1", "all")) {
      for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
        var settings = Map.of("acks", acks, "compression.type", codec, "enable.idempotence", "false");
        test("acks=" + acks + " " + codec, () -> produce(acks.equals("0") ? "unacknowledged" : codec, "acks=" + acks, settings));
      }
    }
    test("idempotent", () -> produce("idempotent", "value", Map.of("acks", "all", "enable.idempotence", "true")));
    test("commit", JavaClient::commit);
    test("abort", JavaClient::abort);
    test("fencing", JavaClient::fencing);
    test("classic group", () -> group("classic", Map.of()));
    test("consumer group", () -> group("consumer", Map.of("group.protocol", "consumer")));
    test("topics", JavaClient::topics);
    test("groups", JavaClient::groups);
  }

  static void test(String name, Body body) {
    if (!asked.contains(name)) return;
    String error = "";
    try {
      body.run();
    } catch (Throwable thrown) {
      var text = thrown.toString().replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\s+", " ");
      error = ", \"error\": \"" + text + "\"";
    }
    System.out.println("{\"case\": \"" + name + "\"" + error + "}");
  }

  static List<String> values(String name, int count) {
    return IntStream.range(0, count).mapToObj(i -> name + " " + i + " grain".repeat(50)).collect(Collectors.toList());
  }

  static void produce(String topic, String name, Map<String, String> settings) throws Exception {
    try (var producer = producer(settings)) {
      send(producer, topic, values(name, 3));
    }
  }

  /** One batch, if the client is quick enough, and waits for what is said of each record. */
  static void send(Producer<String, String> producer, String topic, List<String> values) throws Exception {
    var sent = values.stream().map(value -> producer.send(new ProducerRecord<>(prefix + "-" + topic, value))).toList();
    producer.flush();
    for (var one : sent) one.get();
  }

  static void commit() throws Exception {
    try (var producer = transactional("commit")) {
      producer.beginTransaction();
      send(producer, "commit", values("kept", 3));
      producer.commitTransaction();
    }
    same(values("kept", 3), committed("commit", 3));
  }

  static void abort() throws Exception {
    try (var producer = transactional("abort")) {
      producer.beginTransaction();
      send(producer, "abort", values("lost", 3));
      producer.abortTransaction();
      producer.beginTransaction();
      send(producer, "abort", values("kept", 1));
      producer.commitTransaction();
    }
    same(values("kept", 1), committed("abort", 1));
  }

  static void fencing() throws Exception {
    try (var zombie = transactional("fencing"); var successor = transactional("fencing", false)) {
      zombie.beginTransaction();
      send(zombie, "fencing", values("lost", 1));
      successor.initTransactions();
      successor.beginTransaction();
      send(successor, "fencing", values("kept", 1));
      successor.commitTransaction();
      try {
        zombie.commitTransaction();
        throw new AssertionError("the zombie's commit was taken");
      } catch (ProducerFencedException | InvalidProducerEpochException expected) {
        same(values("kept", 1), committed("fencing", 1));
      }
    }
  }

  /** Reads all, commits, leaves; a second member of the group begins where the first ended. */
  static void group(String name, Map<String, String> settings) throws Exception {
    var config = new HashMap<>(settings);
    config.put("group.id", prefix + "-" + name);
    for (String round : List.of("first", "second")) {
      try (var producer = producer(Map.of("acks", "all"))) {
        send(producer, name, values(round, 10));
      }
      try (var consumer = consumer(config)) {
        consumer.subscribe(List.of(prefix + "-" + name));
        var read = read(consumer, 10);
        consumer.commitSync();
        same(values(round, 10), read.stream().sorted().collect(Collectors.toList()));
      }
    }
  }

  static void topics() throws Exception {
    var topic = prefix + "-admin";
    try (var admin = Admin.create(config(Map.of()))) {
      admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all().get();
      eventually(() -> admin.listTopics().names().get().contains(topic));
      var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
      var change = new AlterConfigOp(new ConfigEntry("retention.ms", "1234567"), AlterConfigOp.OpType.SET);
      admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
      eventually(() -> "1234567".equals(setting(admin, resource, "retention.ms")));
      try {
        admin.createTopics(List.of(new NewTopic(topic, 2, (short) 1))).all().get();
        throw new AssertionError("the topic was created twice");
      } catch (ExecutionException expected) {
        same("TopicExistsException", expected.getCause().getClass().getSimpleName());
      }
      admin.deleteTopics(List.of(topic)).all().get();
    }
  }

  /** Repeats a check for a while: a broker shows what the controller was told only a moment later. */
  static void eventually(Callable<Boolean> check) throws Exception {
    for (int i = 0; !check.call(); i++) {
      if (i == 200) throw new AssertionError("what was told is not shown");
      Thread.sleep(50);
    }
  }

  static String setting(Admin admin, ConfigResource resource, String name) throws Exception {
    return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name).value();
  }

  /** The group that `classic group` left behind. */
  static void groups() throws Exception {
    var group = prefix + "-classic";
    try (var admin = Admin.create(config(Map.of()))) {
      var listed = admin.listConsumerGroups().all().get();
      if (listed.stream().noneMatch(one -> one.groupId().equals(group))) throw new AssertionError("not listed");
      same("EMPTY", admin.describeConsumerGroups(List.of(group)).all().get().get(group).state().name());
      var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
      same(20L, offsets.values().stream().mapToLong(one -> one.offset()).sum());
      admin.deleteConsumerGroups(List.of(group)).all().get();
    }
  }

  static List<String> committed(String topic, int count) {
    try (var consumer = consumer(Map.of("isolation.level", "read_committed"))) {
      consumer.assign(List.of(new TopicPartition(prefix + "-" + topic, 0)));
      return read(consumer, count);
    }
  }

  static List<String> read(Consumer<String, String> consumer, int count) {
    var values = new ArrayList<String>();
    long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
    while (values.size() < count && System.nanoTime() < deadline) {
      for (var one : consumer.poll(Duration.ofMillis(100))) values.add(one.value());
    }
    return values;
  }

  static Producer<String, String> transactional(String id) {
    return transactional(id, true);
  }

  static Producer<String, String> transactional(String id, boolean init) {
    var producer = producer(Map.of("transactional.id", prefix + "-" + id));
    if (init) producer.initTransactions();
    return producer;
  }

  static Producer<String, String> producer(Map<String, String> settings) {
    var config = config(settings);
    config.put("linger.ms", "20");
    config.put("max.block.ms", "20000");
    config.put("delivery.timeout.ms", "20000");
    return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
  }

  static Consumer<String, String> consumer(Map<String, String> settings) {
    var config = config(settings);
    config.put("auto.offset.reset", "earliest");
    config.put("enable.auto.commit", "false");
    return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
  }

  static Map<String, Object> config(Map<String, String> settings) {
    var config = new HashMap<String, Object>(settings);
    config.put("bootstrap.servers", bootstrap);
    config.put("request.timeout.ms", "10000");
    return config;
  }

  static void same(Object expected, Object actual) {
    if (!expected.equals(actual)) throw new AssertionError("expected " + expected + ", got " + actual);
  }
}
