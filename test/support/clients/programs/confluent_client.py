"""Confluent's client for Python, run by programs.ts: `python confluent_client.py BOOTSTRAP PREFIX CASE,...`."""
import time

from cases import ACKS, ASKED, BOOTSTRAP, CODECS, eventually, same, tell, topic, values
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, ShareConsumer, TopicCollection
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

DEADLINE = 20


def test(name, body):
    if name not in ASKED:
        return
    try:
        body()
        tell(name)
    except Exception as error:
        tell(name, error)


def config(**settings):
    return {"bootstrap.servers": BOOTSTRAP, **{name.replace("_", "."): value for name, value in settings.items()}}


def producer(**settings):
    return Producer(config(linger_ms=20, message_timeout_ms=20_000, **settings))


def send(client, name, sent):
    failures = []
    for value in sent:
        client.produce(topic(name), value, on_delivery=lambda error, _: error and failures.append(error))
    if client.flush(DEADLINE) or failures:
        raise KafkaException(*failures)


def produce(name, word, **settings):
    send(producer(**settings), name, values(word, 3))


def transactional(name):
    return Producer(config(transactional_id=topic(name)))


def commit():
    client = transactional("commit")
    client.init_transactions(DEADLINE)
    client.begin_transaction()
    send(client, "commit", values("kept", 3))
    client.commit_transaction(DEADLINE)
    same(values("kept", 3), committed("commit", 3))


def abort():
    client = transactional("abort")
    client.init_transactions(DEADLINE)
    client.begin_transaction()
    send(client, "abort", values("lost", 3))
    client.abort_transaction(DEADLINE)
    client.begin_transaction()
    send(client, "abort", values("kept", 1))
    client.commit_transaction(DEADLINE)
    same(values("kept", 1), committed("abort", 1))


def fencing():
    zombie, successor = transactional("fencing"), transactional("fencing")
    zombie.init_transactions(DEADLINE)
    zombie.begin_transaction()
    send(zombie, "fencing", values("lost", 1))
    successor.init_transactions(DEADLINE)
    successor.begin_transaction()
    send(successor, "fencing", values("kept", 1))
    successor.commit_transaction(DEADLINE)
    try:
        zombie.commit_transaction(DEADLINE)
    except KafkaException as error:
        same("_FENCED", error.args[0].name())
    else:
        raise AssertionError("the zombie's commit was taken")
    same(values("kept", 1), committed("fencing", 1))


def committed(name, count):
    consumer = Consumer(config(group_id=topic("reader"), isolation_level="read_committed"))
    consumer.assign([TopicPartition(topic(name), 0, 0)])
    return read(consumer, count)


def read(consumer, count):
    read, deadline = [], time.monotonic() + DEADLINE
    while len(read) < count and time.monotonic() < deadline:
        for message in consumer.consume(count, timeout=0.1):
            if message.error() is not None:
                raise KafkaException(message.error())
            read.append(message.value().decode())
    return read


def group(name, **settings):
    """Reads all, commits, leaves; a second member of the group begins where the first ended."""
    settings = {"group_id": topic(name), "auto_offset_reset": "earliest", "enable_auto_commit": False, **settings}
    for turn in ("first", "second"):
        send(producer(), name, values(turn, 10))
        consumer = Consumer(config(**settings))
        consumer.subscribe([topic(name)])
        same(values(turn, 10), sorted(read(consumer, 10)))
        consumer.commit(asynchronous=False)
        consumer.close()


def share():
    """A share group begins with what comes after it: so records are sent until as many are read, and acknowledged."""
    accepted, client = set(), producer()
    consumer = ShareConsumer(config(group_id=topic("share"), share_acknowledgement_mode="explicit"))
    consumer.subscribe([topic("share")])
    for i in range(200):
        send(client, "share", [f"value {i}"])
        for message in consumer.poll(0.1):
            if message.error() is not None:
                raise KafkaException(message.error())
            consumer.acknowledge(message)
            accepted.add(message.value())
        for error in consumer.commit_sync(DEADLINE).values():
            if error is not None:
                raise error
        if len(accepted) >= 5:
            break
    consumer.close()
    if len(accepted) < 5:
        raise AssertionError(f"only {len(accepted)} records were shared")


def topics():
    admin, name = AdminClient(config()), topic("admin")
    create = lambda: admin.create_topics([NewTopic(name, 2, 1)])[name].result(DEADLINE)
    create()
    described = lambda: admin.describe_topics(TopicCollection([name]))[name].result(DEADLINE)
    eventually(lambda: len(described().partitions) == 2)
    entry = ConfigEntry("retention.ms", "1234567", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin.incremental_alter_configs([change])[change].result(DEADLINE)
    resource = ConfigResource(ResourceType.TOPIC, name)
    shown = lambda: admin.describe_configs([resource])[resource].result(DEADLINE)["retention.ms"].value
    eventually(lambda: shown() == "1234567")
    try:
        create()
    except KafkaException as error:
        same("TOPIC_ALREADY_EXISTS", error.args[0].name())
    else:
        raise AssertionError("the topic was created twice")
    admin.delete_topics([name])[name].result(DEADLINE)


def groups():
    """The group that `classic group` left behind."""
    admin, name = AdminClient(config()), topic("classic")
    listed = admin.list_consumer_groups().result(DEADLINE).valid
    same(True, name in [one.group_id for one in listed])
    same("EMPTY", admin.describe_consumer_groups([name])[name].result(DEADLINE).state.name)
    asked = ConsumerGroupTopicPartitions(name)
    offsets = admin.list_consumer_group_offsets([asked])[name].result(DEADLINE).topic_partitions
    same(20, sum(one.offset for one in offsets))
    admin.delete_consumer_groups([name])[name].result(DEADLINE)


for acks in ACKS:
    for codec in CODECS:
        to = "unacknowledged" if acks == "0" else codec
        test(f"acks={acks} {codec}", lambda: produce(to, f"acks={acks}", acks=acks, compression_type=codec))
test("idempotent", lambda: produce("idempotent", "value", enable_idempotence=True))
test("commit", commit)
test("abort", abort)
test("fencing", fencing)
test("classic group", lambda: group("classic", session_timeout_ms=10_000))
test("consumer group", lambda: group("consumer", group_protocol="consumer"))
test("share group", share)
test("topics", topics)
test("groups", groups)
