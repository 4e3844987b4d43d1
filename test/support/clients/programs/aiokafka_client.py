"""aiokafka, run by programs.ts: `python aiokafka_client.py BOOTSTRAP PREFIX CASE,...`."""
import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from cases import ACKS, ASKED, BOOTSTRAP, CODECS, same, tell, topic, values

DEADLINE = 20


async def test(name, body):
    if name not in ASKED:
        return
    try:
        await asyncio.wait_for(body(), 2 * DEADLINE)
        tell(name)
    except Exception as error:
        tell(name, error)


def producer(**settings):
    return AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=20, **settings)


async def send(client, name, sent):
    futures = [await client.send(topic(name), value.encode()) for value in sent]
    await client.flush()
    for future in futures:
        await future


async def produce(name, word, **settings):
    async with producer(**settings) as client:
        await send(client, name, values(word, 3))


def transactional(name):
    return producer(transactional_id=topic(name))


async def commit():
    async with transactional("commit") as client:
        async with client.transaction():
            await send(client, "commit", values("kept", 3))
    same(values("kept", 3), await committed("commit", 3))


async def abort():
    async with transactional("abort") as client:
        await client.begin_transaction()
        await send(client, "abort", values("lost", 3))
        await client.abort_transaction()
        async with client.transaction():
            await send(client, "abort", values("kept", 1))
    same(values("kept", 1), await committed("abort", 1))


async def fencing():
    zombie = transactional("fencing")
    await zombie.start()
    await zombie.begin_transaction()
    await send(zombie, "fencing", values("lost", 1))
    async with transactional("fencing") as successor:
        async with successor.transaction():
            await send(successor, "fencing", values("kept", 1))
    try:
        await zombie.commit_transaction()
    except (ProducerFenced, InvalidProducerEpoch):
        same(values("kept", 1), await committed("fencing", 1))
    else:
        raise AssertionError("the zombie's commit was taken")
    finally:
        await asyncio.gather(zombie.stop(), return_exceptions=True)


async def committed(name, count):
    consumer = AIOKafkaConsumer(
        bootstrap_servers=BOOTSTRAP, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    async with consumer:
        consumer.assign([TopicPartition(topic(name), 0)])
        return await read(consumer, count)


async def read(consumer, count):
    return [(await asyncio.wait_for(consumer.getone(), DEADLINE)).value.decode() for _ in range(count)]


async def group():
    """Reads all, commits, leaves; a second member of the group begins where the first ended."""
    name = topic("classic")
    for turn in ("first", "second"):
        async with producer() as client:
            await send(client, "classic", values(turn, 10))
        settings = {"group_id": name, "auto_offset_reset": "earliest", "enable_auto_commit": False}
        async with AIOKafkaConsumer(name, bootstrap_servers=BOOTSTRAP, **settings) as consumer:
            same(values(turn, 10), sorted(await read(consumer, 10)))
            await consumer.commit()


async def topics():
    name = topic("admin")
    async with Admin() as admin:
        created = await admin.create_topics([NewTopic(name, 2, 1)])
        same([0], [error for _, error, *_ in created.topic_errors])
        # A broker shows what the controller was told only a moment later.
        while len((await admin.describe_topics([name]))[0]["partitions"]) != 2:
            await asyncio.sleep(0.05)
        change = ConfigResource(ConfigResourceType.TOPIC, name, configs={"retention.ms": "1234567"})
        await admin.alter_configs([change])
        while await setting(admin, name, "retention.ms") != "1234567":
            await asyncio.sleep(0.05)
        again = await admin.create_topics([NewTopic(name, 2, 1)])
        same([36], [error for _, error, *_ in again.topic_errors])
        await admin.delete_topics([name])


async def setting(admin, name, key):
    described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return next(value for found, value, *_ in described[0].resources[0][4] if found == key)


async def groups():
    """The group that `classic group` left behind."""
    name = topic("classic")
    async with Admin() as admin:
        same(True, name in [group for group, _ in await admin.list_consumer_groups()])
        described = await admin.describe_consumer_groups([name])
        same([(0, name, "Empty")], [one[:3] for one in described[0].groups])
        offsets = await admin.list_consumer_group_offsets(name)
        same(20, sum(one.offset for one in offsets.values()))


class Admin:
    async def __aenter__(self):
        self.client = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await self.client.close()


async def main():
    for acks in ACKS:
        for codec in CODECS:
            settings = {
                "acks": "all" if acks == "all" else int(acks),
                "compression_type": None if codec == "none" else codec,
            }
            to = "unacknowledged" if acks == "0" else codec
            await test(f"acks={acks} {codec}", lambda: produce(to, f"acks={acks}", **settings))
    await test("idempotent", lambda: produce("idempotent", "value", enable_idempotence=True))
    await test("commit", commit)
    await test("abort", abort)
    await test("fencing", fencing)
    await test("classic group", group)
    await test("topics", topics)
    await test("groups", groups)


asyncio.run(main())
