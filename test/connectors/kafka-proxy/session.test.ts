// Sessions of the proxy between a client and a broker whose every byte the test decides.
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import * as messages from '../../../src/kafka/messages.ts'
import { NO_TOPIC_ID } from '../../../src/kafka/wire.ts'
import { until } from '../../support/until.ts'
import type { ProduceOptions } from './frames.ts'
import { answerProduce, answerTo, produceFrame, read, request } from './frames.ts'
import type { CaptureCall, Harness } from './harness.ts'
import { startHarness, topicIds } from './harness.ts'

const { apiVersions, listOffsets, metadata, produce } = messages

/** A request that passes undecoded. */
const ask = (correlationId: number) =>
  request(listOffsets, 3, correlationId, {
    topics: [{ name: 'orders', partitions: [{ partitionIndex: 0, timestamp: -1 }] }]
  })
const answerAsk = (frame: Buffer) => answerTo(listOffsets, frame, { topics: [] })

/** Error codes by topic of an answer in version 12. */
const errorsOf = (frame: Buffer) =>
  Object.fromEntries(
    read(produce, 12, frame).responses.map(({ name, partitionResponses }) => [name, partitionResponses[0]!.errorCode])
  )

const nextCapture = async ({ captures }: Harness): Promise<CaptureCall> => {
  await until(() => captures.length > 0, { what: 'a capture', interval: 1 })
  return captures.shift()!
}

/** A round trip on a connection of its own: what was on its way through the proxy before has arrived when it is done. */
async function settle(harness: Harness): Promise<void> {
  const { client, broker } = await harness.connect()
  for (let round = 0; round < 3; round++) {
    client.send(ask(round))
    broker.send(answerAsk(await broker.next()))
    await client.next()
  }
  client.socket.destroy()
}

const idOf = (frame: Buffer) => frame.readInt32BE(4)

describe('order', () => {
  test('responses keep the order of their requests while one is held', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(ask(1), produceFrame({ correlationId: 2 }), ask(3), produceFrame({ correlationId: 4 }), ask(5))
    const answers = []
    for (let i = 1; i <= 5; i++) {
      const frame = await broker.next()
      answers.push(i % 2 === 1 ? answerAsk(frame) : answerProduce(frame))
    }
    broker.send(...answers)
    expect(await client.next()).toEqual(answers[0])
    const [second, fourth] = [await nextCapture(harness), await nextCapture(harness)]
    fourth.resolve()
    await settle(harness)
    expect(client.frames).toEqual([])
    second.resolve()
    for (const answer of answers.slice(1)) expect(await client.next()).toEqual(answer)
  })

  test('acks=0 between others is forwarded and owes nothing', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    const sent = [
      produceFrame({ correlationId: 1, acks: 0 }),
      ask(2),
      produceFrame({ correlationId: 3, acks: 0 }),
      ask(4)
    ]
    client.send(...sent)
    const got = [await broker.next(), await broker.next(), await broker.next(), await broker.next()]
    expect(got).toEqual(sent)
    broker.send(answerAsk(sent[1]!), answerAsk(sent[3]!))
    expect([idOf(await client.next()), idOf(await client.next())]).toEqual([2, 4])
    expect(harness.captures).toEqual([])
  })

  test('the first bytes may come before there is a connection to the broker, in any cut', async () => {
    const harness = await startHarness()
    const sent = [request(apiVersions, 3, 1, { clientSoftwareName: 'a', clientSoftwareVersion: '1' }), ask(2), ask(3)]
    const whole = Buffer.concat(sent)
    const client = harness.connectWith(whole.subarray(0, 9))
    client.send(whole.subarray(9, 60))
    client.send(whole.subarray(60))
    const broker = await harness.accepted()
    expect([await broker.next(), await broker.next(), await broker.next()]).toEqual(sent)
    broker.send(
      answerTo(apiVersions, sent[0]!, { errorCode: 0, apiKeys: [{ apiKey: 0, minVersion: 0, maxVersion: 99 }] })
    )
    const { apiKeys } = read(apiVersions, 3, await client.next())
    expect(apiKeys).toMatchObject([{ apiKey: 0, minVersion: 0, maxVersion: 13 }])
  })

  test('a response that belongs to no request ends the connection', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(ask(1))
    await broker.next()
    broker.send(answerAsk(ask(2)))
    await client.end()
    expect(client.bytes).toBe(0)
    expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="error"')).toBe(1)
  })
})

describe('ApiVersions in a version that we do not know', () => {
  test('is answered in version 0 with error 35, in its turn, and later requests work', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    const newer = request(apiVersions, 4, 2, { clientSoftwareName: 'future', clientSoftwareVersion: '9' })
    newer.writeInt16BE(5, 6)
    client.send(ask(1), newer)
    const first = await broker.next()
    await settle(harness)
    expect(client.frames).toEqual([])
    broker.send(answerAsk(first))
    expect(idOf(await client.next())).toBe(1)
    const answer = await client.next()
    expect(idOf(answer)).toBe(2)
    const apiKeys = [{ apiKey: 18, minVersion: 0, maxVersion: 4 }]
    expect(read(apiVersions, 0, answer)).toEqual({ errorCode: 35, apiKeys })
    // Version 0: correlation id, error, count and one entry, nothing else.
    expect(answer.length).toBe(4 + 4 + 2 + 4 + 6)
    client.send(ask(3))
    const third = await broker.next()
    expect(third).toEqual(ask(3))
    broker.send(answerAsk(third))
    expect(idOf(await client.next())).toBe(3)
  })
})

test('metadata names the proxy', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(request(metadata, 12, 1, { topics: null }))
  const asked = await broker.next()
  const brokers = [{ nodeId: 1, host: 'broker.internal', port: 9092, rack: null }]
  broker.send(answerTo(metadata, asked, { brokers, topics: [] }))
  const [place] = read(metadata, 12, await client.next()).brokers
  expect(`${place!.host}:${place!.port}`).toBe(harness.proxy.addresses['node 1'])
})

test('metadata of another cluster, to which the address leads, ends the session, and nothing of it is believed', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(request(metadata, 12, 1, { topics: null }))
  const asked = await broker.next()
  const elsewhere = { host: '127.0.0.1', port: 1, rack: null }
  const brokers = [1, 2].map(nodeId => ({ nodeId, ...elsewhere }))
  const topics = [{ errorCode: 0, name: 'orders', topicId: topicIds.other, isInternal: false, partitions: [] }]
  broker.send(answerTo(metadata, asked, { brokers, clusterId: 'another', topics }))
  await client.end()
  expect(client.frames).toEqual([])
  const said = harness.logs.filter(({ level }) => Number(level) >= 40)
  const err = {
    code: 'BROKER_ERROR',
    message: expect.stringMatching(/ is of the cluster another, not of test-cluster$/)
  }
  expect(said).toMatchObject([{ msg: 'client connection ended', err }])
  expect(harness.proxy.addresses).not.toHaveProperty('node 2')

  const next = await harness.connect() // which comes to where node 1 was before
  next.client.send(produceFrame())
  next.broker.send(answerProduce(await next.broker.next()))
  const { batches, resolve } = await nextCapture(harness)
  resolve()
  expect(batches).toMatchObject([{ stream: { topic: 'orders', topicId: topicIds.orders } }])
})

test('an id of zeros in metadata is none: a batch has the id that the cluster gives, and its own topic', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  client.send(request(metadata, 10, 1, { topics: null }))
  const topics = ['orders', 'bills'].map(name => ({ errorCode: 0, name, topicId: NO_TOPIC_ID, partitions: [] }))
  broker.send(answerTo(metadata, await broker.next(), { brokers: [], clusterId: 'test-cluster', topics }))
  await client.next()
  client.send(produceFrame())
  broker.send(answerProduce(await broker.next()))
  const { batches, resolve } = await nextCapture(harness)
  resolve()
  expect(batches).toMatchObject([{ stream: { topic: 'orders', topicId: topicIds.orders } }])
})

describe('capture', () => {
  test('gets the bytes that were sent, with the broker’s offset', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ size: 300_000 }))
    const sent = await broker.next()
    expect(sent.equals(produceFrame({ size: 300_000 }))).toBe(true)
    broker.send(answerProduce(sent, [{ topic: 'orders', baseOffset: 1234 }]))
    const call = await nextCapture(harness)
    const stream = { clusterId: 'test-cluster', topic: 'orders', topicId: topicIds.orders, partition: 0 }
    expect(call.batches).toMatchObject([{ stream, baseOffset: 1234, lastOffset: 1235, recordCount: 2, flags: 0 }])
    const batch = Buffer.concat(call.batches[0]!.chunks)
    expect(batch.length).toBe(batch.readInt32BE(8) + 12)
    expect(sent.includes(batch)).toBe(true)
    call.resolve()
    expect(await client.next()).toEqual(answerProduce(sent, [{ topic: 'orders', baseOffset: 1234 }]))
  })

  test('leaves the bytes alone that a broker which answers too early has not taken yet', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    broker.socket.pause()
    const sent: Buffer[] = []
    const counted = (name: string, label: string) => async () =>
      (await harness.metric(`millrace_proxy_${name}`, label))!
    const read = counted('requests_total', ',api="Produce",version="12"')
    const paused = counted('reads_paused_total', ',waiting_for="broker"')
    while ((await paused()) === 0) {
      const frame = produceFrame({ correlationId: sent.length, size: 60_000 }) // one read of the proxy's
      sent.push(frame)
      client.send(frame)
      await until(async () => (await read()) === sent.length, { what: 'the request to be read', interval: 1 })
    }
    broker.send(...sent.map(frame => answerProduce(frame)))
    await until(() => harness.captures.length === sent.length, { what: 'all captures', interval: 1 })
    broker.socket.resume()
    for (const frame of sent) expect((await broker.next()).equals(frame)).toBe(true)
  })

  test('that fails turns the answer of captured partitions into error 20, and no other', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ topics: { orders: [0], other: [0], refused: [0] } }))
    broker.send(
      answerProduce(await broker.next(), [
        { topic: 'orders' },
        { topic: 'other' },
        { topic: 'refused', errorCode: 10, baseOffset: -1 }
      ])
    )
    const call = await nextCapture(harness)
    expect(call.batches.map(({ stream }) => stream.topic)).toEqual(['orders'])
    call.reject(new MillraceError('WAL_FAILED', 'the disk is gone'))
    const answer = await client.next()
    expect(errorsOf(answer)).toEqual({ orders: 20, other: 0, refused: 10 })
    const [orders] = read(produce, 12, answer).responses[0]!.partitionResponses
    expect(orders).toMatchObject({ errorMessage: 'millrace: the disk is gone' })
  })

  test('that takes too long is answered with error 20, and what comes after it as ever', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ timeoutMs: 60 }))
    broker.send(answerProduce(await broker.next()))
    const call = await nextCapture(harness)
    expect(errorsOf(await client.next())).toEqual({ orders: 20 })
    call.resolve()
    client.send(ask(2))
    broker.send(answerAsk(await broker.next()))
    expect(idOf(await client.next())).toBe(2)
  })

  test.for([
    ['two thirds of the request’s timeout', { timeoutMs: 60_000 }, 0, 40_000],
    ['two thirds of it since the request came, however late the broker answers', { timeoutMs: 60_000 }, 30_000, 10_000],
    ['a second, where the broker has taken all of that', { timeoutMs: 60_000 }, 50_000, 1_000],
    ['a second, where the request says less', { timeoutMs: 60 }, 0, 1_000],
    ['a second, where the request says that it waits for nothing', { timeoutMs: 0, acks: 1 }, 0, 1_000]
  ] as const)('may take %s', async ([, options, answeredAfter, mayTake]) => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const captureFor = async (ms: number) => {
      client.send(produceFrame(options))
      const sent = await broker.next()
      vi.advanceTimersByTime(answeredAfter)
      broker.send(answerProduce(sent))
      const call = await nextCapture(harness)
      vi.advanceTimersByTime(ms)
      return call
    }
    const inTime = await captureFor(mayTake - 1)
    await settle(harness)
    expect(client.frames).toEqual([])
    inTime.resolve()
    expect(errorsOf(await client.next())).toEqual({ orders: 0 })
    await captureFor(mayTake + 1)
    expect(errorsOf(await client.next())).toEqual({ orders: 20 })
  })

  test('is not asked for what is not to be captured', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ topics: { other: [0] } }))
    const sent = await broker.next()
    broker.send(answerProduce(sent, [{ topic: 'other' }]))
    expect(await client.next()).toEqual(answerProduce(sent, [{ topic: 'other' }]))
    expect(harness.captures).toEqual([])
  })

  test('goes on when the client has closed before the broker answers', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame())
    const sent = await broker.next()
    client.socket.destroy()
    await settle(harness)
    expect(broker.ended).toBe(false)
    broker.send(answerProduce(sent))
    const call = await nextCapture(harness)
    call.resolve()
    await broker.end()
  })

  test('an answer that names other brokers names the proxy’s listeners', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame())
    const partitionResponses = [
      { index: 0, errorCode: 6, baseOffset: -1, currentLeader: { leaderId: 2, leaderEpoch: 7 } }
    ]
    const nodeEndpoints = [{ nodeId: 2, host: 'broker-2.internal', port: 9092, rack: null }]
    broker.send(
      answerTo(produce, await broker.next(), { responses: [{ name: 'orders', partitionResponses }], nodeEndpoints })
    )
    const answer = read(produce, 12, await client.next())
    expect(answer.responses[0]!.partitionResponses[0]).toMatchObject(partitionResponses[0]!)
    const [node] = answer.nodeEndpoints!
    expect(`${node!.host}:${node!.port}`).toBe(harness.proxy.addresses['node 2'])
  })
})

describe('while the WAL takes nothing', () => {
  const broken = async () => {
    const harness = await startHarness()
    harness.fault = new MillraceError('WAL_FULL', 'wal.max.bytes is reached')
    return harness
  }

  test('what is to be captured is not forwarded but refused with error 19, in its turn', async () => {
    const harness = await broken()
    const { client, broker } = await harness.connect()
    client.send(ask(1), produceFrame({ correlationId: 2 }), ask(3))
    const [first, third] = [await broker.next(), await broker.next()]
    expect([first, third]).toEqual([ask(1), ask(3)])
    broker.send(answerAsk(first), answerAsk(third))
    expect(idOf(await client.next())).toBe(1)
    const refused = await client.next()
    expect([idOf(refused), errorsOf(refused)]).toEqual([2, { orders: 19 }])
    expect(idOf(await client.next())).toBe(3)
    expect(broker.frames).toEqual([])
  })

  test('topics that are not captured pass, and so does acks=0, which could not be refused', async () => {
    const harness = await broken()
    const { client, broker } = await harness.connect()
    const sent = [produceFrame({ topics: { other: [0] } }), produceFrame({ acks: 0 })]
    client.send(...sent)
    expect([await broker.next(), await broker.next()]).toEqual(sent)
  })

  test('a request that began before is answered by how its capture ends', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    const frame = produceFrame()
    client.send(frame.subarray(0, 40))
    await until(() => broker.bytes === 40, { what: 'the first bytes', interval: 1 })
    harness.fault = new MillraceError('WAL_FULL', 'wal.max.bytes is reached')
    client.send(frame.subarray(40))
    broker.send(answerProduce(await broker.next()))
    ;(await nextCapture(harness)).reject(harness.fault)
    expect(errorsOf(await client.next())).toEqual({ orders: 20 })
  })

  test('a request that began then is forwarded when the WAL has recovered at its end', async () => {
    const harness = await broken()
    const { client, broker } = await harness.connect()
    const frame = produceFrame()
    client.send(frame.subarray(0, 40))
    await settle(harness)
    expect(broker.bytes).toBe(0)
    harness.fault = null
    client.send(frame.subarray(40))
    expect(await broker.next()).toEqual(frame)
  })
})

describe('what is not Kafka', () => {
  const hugeFrame = Buffer.alloc(64)
  hugeFrame.writeInt32BE(200 * 1024 * 1024)
  const negative = Buffer.alloc(64, 0xff)
  const hidden = Buffer.from(ask(1))
  hidden.writeInt16BE(55, 4)
  const tooNew = Buffer.from(produceFrame())
  tooNew.writeInt16BE(14, 6)
  const unreadable = Buffer.from(produceFrame())
  unreadable.fill(0xff, 26) // from the compact count of topics on

  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['TLS', Buffer.from('16030100c8010000c40303000000000000', 'hex')],
    ['a frame beyond the limit', hugeFrame],
    ['a negative size', negative],
    ['an API that is not offered', hidden],
    ['a Produce version that is not offered', tooNew],
    ['a Produce request that cannot be read', unreadable]
  ])('is cut off: %s', async (_, bytes) => {
    const harness = await startHarness({ budget: 1024 * 1024 })
    const { client, broker } = await harness.connect()
    client.send(bytes)
    await client.end()
    await broker.end()
    expect(client.bytes).toBe(0)
    await expectWholeBudget(harness)
  })

  test('from the broker: the client is cut off', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(ask(1))
    await broker.next()
    broker.send(hugeFrame)
    await client.end()
    await broker.end()
  })
})

describe('ends', () => {
  test('a client that closes right after acks=0 has had all its bytes forwarded', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    broker.socket.pause()
    const frames = [1, 2, 3].map(correlationId => produceFrame({ correlationId, acks: 0, size: 3_000_000 }))
    client.send(...frames)
    client.socket.end()
    await settle(harness)
    broker.socket.resume()
    for (const frame of frames) expect((await broker.next()).equals(frame)).toBe(true)
    await broker.end()
    await client.end()
  })

  test('a client that only stops sending gets what it is owed', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ correlationId: 1 }), ask(2))
    client.socket.end()
    broker.send(answerProduce(await broker.next()), answerAsk(await broker.next()))
    ;(await nextCapture(harness)).resolve()
    expect([idOf(await client.next()), idOf(await client.next())]).toEqual([1, 2])
    await broker.end()
    await client.end()
  })

  test.each([
    ['closes', 'end'],
    ['breaks off', 'destroy'],
    ['resets', 'resetAndDestroy']
  ] as const)('a broker that %s in mid-response ends the client', async (_, how) => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(ask(1))
    const answer = answerAsk(await broker.next())
    broker.send(answer.subarray(0, 10))
    await until(() => client.bytes === 10, { what: 'the first bytes', interval: 1 })
    broker.socket[how]()
    await client.end()
  })

  test('a broker that closes while idle, or before it answers, ends the client', async () => {
    const harness = await startHarness()
    for (const sent of [[], [ask(1)], [produceFrame()]]) {
      const { client, broker } = await harness.connect()
      if (sent.length > 0) {
        client.send(...sent)
        await broker.next()
      }
      broker.socket.end()
      await client.end()
      await broker.end()
      client.socket.destroy()
    }
    await harness.proxy.stop()
  })

  test('a broker that closes while a response is held: it still comes, what was not answered does not', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ correlationId: 1 }), ask(2))
    broker.send(answerProduce(await broker.next()))
    const call = await nextCapture(harness)
    broker.socket.end()
    await settle(harness)
    client.send(ask(3))
    await settle(harness)
    call.resolve()
    expect(idOf(await client.next())).toBe(1)
    await client.end()
    expect(client.frames).toEqual([])
    await harness.proxy.stop()
  })
})

describe('drain', () => {
  const quickly = async (work: Promise<void>) => {
    const before = performance.now()
    await work
    expect(performance.now() - before).toBeLessThan(2_000)
  }

  test('with acks=0 outstanding ends at once', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ acks: 0 }))
    await broker.next()
    await quickly(harness.proxy.stop())
    await client.end()
  })

  test('waits for what is owed, and takes nothing more', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(produceFrame({ correlationId: 1 }), ask(2))
    const [first, second] = [await broker.next(), await broker.next()]
    let stopped = false
    const stop = harness.proxy.stop().then(() => {
      stopped = true
    })
    client.send(ask(3))
    broker.send(answerProduce(first))
    const call = await nextCapture(harness)
    expect(stopped).toBe(false)
    call.resolve()
    expect(idOf(await client.next())).toBe(1)
    expect(stopped).toBe(false)
    broker.send(answerAsk(second))
    expect(idOf(await client.next())).toBe(2)
    await quickly(stop)
    await client.end()
    expect(broker.frames).toEqual([])
  })
})

describe('the budget', () => {
  const budget = 1024 * 1024
  const large: ProduceOptions = { size: 700 * 1024 }

  test('exhausted makes other Produce requests wait, nothing else, until a response has gone', async () => {
    const harness = await startHarness({ budget })
    const [one, two, three] = [await harness.connect(), await harness.connect(), await harness.connect()]
    one.client.send(produceFrame({ ...large, correlationId: 1 }))
    const first = await one.broker.next()
    two.client.send(ask(7), produceFrame({ ...large, correlationId: 2 }), ask(8))
    two.broker.send(answerAsk(await two.broker.next()))
    expect(idOf(await two.client.next())).toBe(7)
    three.client.send(ask(9))
    three.broker.send(answerAsk(await three.broker.next()))
    expect(idOf(await three.client.next())).toBe(9)
    await settle(harness)
    expect(two.broker.frames).toEqual([])
    one.broker.send(answerProduce(first))
    ;(await nextCapture(harness)).resolve()
    expect(idOf(await one.client.next())).toBe(1)
    expect((await two.broker.next()).equals(produceFrame({ ...large, correlationId: 2 }))).toBe(true)
    expect(await two.broker.next()).toEqual(ask(8))
  })

  test('is given back by acks=0 at once', async () => {
    const harness = await startHarness({ budget })
    const { client, broker } = await harness.connect()
    for (let i = 0; i < 4; i++) {
      client.send(produceFrame({ ...large, acks: 0, correlationId: i }))
      expect((await broker.next()).readInt32BE(8)).toBe(i)
    }
    await expectWholeBudget(harness)
  })

  test('is given back when a client goes in the middle of its request', async () => {
    const harness = await startHarness({ budget })
    for (let i = 0; i < 3; i++) {
      const { client, broker } = await harness.connect()
      client.send(produceFrame(large).subarray(0, 1000))
      await until(() => broker.bytes === 1000, { what: 'the first bytes', interval: 1 })
      if (i === 0) client.socket.destroy()
      else if (i === 1) client.socket.resetAndDestroy()
      else client.socket.end()
      await broker.end()
      await client.end()
    }
    await expectWholeBudget(harness)
  })

  test('is given back when the broker goes before it answers', async () => {
    const harness = await startHarness({ budget })
    const { client, broker } = await harness.connect()
    client.send(produceFrame(large))
    await broker.next()
    broker.socket.destroy()
    await client.end()
    await expectWholeBudget(harness)
  })
})

/** A request of nearly the whole budget is forwarded at once. */
async function expectWholeBudget(harness: Harness): Promise<void> {
  const { client, broker } = await harness.connect()
  // Something small is held first, since a frame that is alone always gets through.
  client.send(produceFrame({ size: 1000 }), produceFrame({ size: 1024 * 1024 - 10_000 }))
  await broker.next()
  expect((await broker.next()).length).toBeGreaterThan(1_000_000)
}

test('a batch has the leader epoch that was told before it was sent, if it went to that leader', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  const told = async (leaderId: number, leaderEpoch: number) => {
    client.send(request(metadata, 12, 1, { topics: [], allowAutoTopicCreation: false }))
    const partition = { errorCode: 0, partitionIndex: 0, leaderId, leaderEpoch, replicaNodes: [], isrNodes: [] }
    const topics = [{ errorCode: 0, name: 'orders', topicId: topicIds.orders, partitions: [partition] }]
    broker.send(
      answerTo(metadata, await broker.next(), { brokers: [], clusterId: 'test-cluster', controllerId: 1, topics })
    )
    await client.next()
  }
  const stamped = async () => {
    client.send(produceFrame())
    broker.send(answerProduce(await broker.next()))
    const { batches, resolve } = await nextCapture(harness)
    resolve()
    await client.next()
    return batches.map(({ leaderEpoch }) => leaderEpoch)
  }
  expect(await stamped()).toEqual([-1])
  await told(1, 5)
  expect(await stamped()).toEqual([5])
  await told(2, 6)
  expect(await stamped()).toEqual([-1])
})
