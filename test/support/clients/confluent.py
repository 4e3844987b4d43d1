"""Confluent's client for Python, told what to do by one JSON object on standard input: clients/confluent.ts."""
import json
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

DEADLINE = 20


def say(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def text(value):
    return None if value is None else value.decode()


def encoded(value):
    return None if value is None else value.encode()


def record(message):
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": [[name, text(value)] for name, value in message.headers() or []],
    }


def produce(topic, records, config, **_):
    failures = []
    producer = Producer(config)
    for entry in records:
        producer.produce(
            topic,
            key=encoded(entry["key"]),
            value=encoded(entry["value"]),
            headers=[(name, encoded(value)) for name, value in entry.get("headers", [])],
            on_delivery=lambda error, _: error and failures.append(error),
        )
    if producer.flush(DEADLINE) or failures:
        raise KafkaException(*failures)


def partitions_of(client, topic):
    metadata = client.list_topics(topic, timeout=DEADLINE).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    return [TopicPartition(topic, partition) for partition in sorted(metadata.partitions)]


def consume(topic, start, count, config, **_):
    consumer = Consumer(config)
    partitions = partitions_of(consumer, topic)
    for partition in partitions:
        partition.offset = start.get("timestamp", start.get("offset", -2))
    if "timestamp" in start:
        partitions = consumer.offsets_for_times(partitions, timeout=DEADLINE)
    consumer.assign(partitions[:1] if "offset" in start else partitions)
    deadline = time.monotonic() + DEADLINE
    left = count
    while left > 0:
        if time.monotonic() > deadline:
            raise KafkaException(f"{left} records did not come")
        for message in consumer.consume(left, timeout=1):
            if message.error() is not None:
                raise KafkaException(message.error())
            say(record(message))
            left -= 1
    consumer.close()


def offsets(topic, at, config, **_):
    specs = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max-timestamp": OffsetSpec.max_timestamp}
    spec = specs[at]() if at in specs else OffsetSpec.for_timestamp(at)
    admin = AdminClient(config)
    futures = admin.list_offsets({partition: spec for partition in partitions_of(admin, topic)})
    for partition, future in futures.items():
        offset = future.result(timeout=DEADLINE).offset
        if offset >= 0:
            say([partition.partition, offset])


def member(topic, config, **_):
    running = True

    def stop(*_):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(config)
    consumer.subscribe([topic], on_assign=lambda _, given: say({"assigned": [one.partition for one in given]}))
    while running:
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error() is None:
            say(record(message))
        elif message.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(message.error())
    consumer.close()


def begin_transaction(config, **_):
    producer = Producer(config)
    producer.init_transactions(DEADLINE)
    producer.begin_transaction()


def admin(call, args, config, **_):
    """Calls a function of the admin client whose futures' results have a plain form."""
    client = AdminClient(config)
    ADMIN[call](client, **args)


def describe_topic(client, topic):
    from confluent_kafka import TopicCollection

    described = client.describe_topics(TopicCollection([topic]))[topic].result(timeout=DEADLINE)
    say({"name": described.name, "topicId": str(described.topic_id), "partitions": len(described.partitions)})


def create_topic(client, topic, partitions, settings):
    from confluent_kafka.admin import NewTopic

    client.create_topics([NewTopic(topic, partitions, config=settings)])[topic].result(timeout=DEADLINE)


def delete_topic(client, topic):
    client.delete_topics([topic])[topic].result(timeout=DEADLINE)


def describe_group(client, group):
    described = client.describe_consumer_groups([group])[group].result(timeout=DEADLINE)
    say({"state": described.state.name, "protocol": described.partition_assignor, "members": len(described.members)})


def list_groups(client):
    listed = client.list_consumer_groups().result(timeout=DEADLINE)
    if listed.errors:
        raise listed.errors[0]
    say(sorted(group.group_id for group in listed.valid))


ADMIN = {function.__name__: function for function in (create_topic, delete_topic, describe_topic, describe_group, list_groups)}

if __name__ == "__main__":
    task = json.load(sys.stdin)
    {function.__name__: function for function in (produce, consume, offsets, member, begin_transaction, admin)}[task["do"]](**task)
