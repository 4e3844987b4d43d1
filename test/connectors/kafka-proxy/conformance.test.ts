// What other proxies got wrong, or test for good reason, on this one: a client and a broker whose every byte the test decides.
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../../src/errors.ts'
import type { ResponseOf } from '../../../src/kafka/api.ts'
import * as messages from '../../../src/kafka/messages.ts'
import { until } from '../../support/until.ts'
import { answerTo, produceFrame, read, request } from './frames.ts'
import type { End, Harness } from './harness.ts'
import { startHarness, topicIds } from './harness.ts'

const { apiVersions, fetch, listOffsets, metadata, produce, shareFetch } = messages

/** A request that passes undecoded. */
const ask = (correlationId: number) => request(listOffsets, 3, correlationId, { topics: [] })
const answerAsk = (frame: Buffer) => answerTo(listOffsets, frame, { topics: [] })
const idOf = (frame: Buffer) => frame.readInt32BE(4)

/** A request or an answer of which nothing is known but its head. */
function opaque(correlationId: number, body: Buffer, head: { key: number; version: number } | null): Buffer {
  const start = Buffer.alloc(head ? 12 : 8)
  start.writeInt32BE(start.length - 4 + body.length)
  if (head) start.writeInt16BE(head.key, 4)
  if (head) start.writeInt16BE(head.version, 6)
  start.writeInt32BE(correlationId, start.length - 4)
  return Buffer.concat([start, body])
}

/** Sends a request and has the broker answer it. */
async function exchange({ client, broker }: { client: End; broker: End }, sent: Buffer, answer: Buffer) {
  client.send(sent)
  expect(await broker.next()).toEqual(sent)
  broker.send(answer)
  return client.next()
}

describe('ApiVersions', () => {
  const asked = (version: number, correlationId: number) => {
    const frame = request(apiVersions, Math.min(version, 4), correlationId, {
      clientSoftwareName: 'future',
      clientSoftwareVersion: '9'
    })
    frame.writeInt16BE(version, 6)
    return frame
  }

  test('of a client ahead of the proxy, which is ahead of the broker: two refusals in a row, then an answer', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(asked(5, 1))
    const byProxy = await client.next()
    expect(read(apiVersions, 0, byProxy)).toEqual({
      errorCode: 35,
      apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }]
    })
    expect(broker.bytes).toBe(0)
    const apiKeys = [{ apiKey: 18, minVersion: 0, maxVersion: 2 }]
    const fallback = answerTo(apiVersions, asked(4, 2), { errorCode: 35, apiKeys }, 0)
    expect(await exchange({ client, broker }, asked(4, 2), fallback)).toEqual(fallback)
    const third = request(apiVersions, 2, 3, {})
    const offered = [
      ...apiKeys,
      { apiKey: 0, minVersion: 3, maxVersion: 9 },
      { apiKey: 55, minVersion: 0, maxVersion: 2 }
    ]
    const answer = await exchange(
      { client, broker },
      third,
      answerTo(apiVersions, third, { errorCode: 0, apiKeys: offered })
    )
    // With the Produce 0 by which librdkafka finds compression, though this broker does not say so.
    expect(read(apiVersions, 2, answer).apiKeys).toEqual([...apiKeys, { apiKey: 0, minVersion: 0, maxVersion: 9 }])
  })

  test.each([10_001, 32_767, -1, 250])('a key that only the broker knows passes both ways: %d', async key => {
    const harness = await startHarness()
    const ends = await harness.connect()
    const apiKeys = [{ apiKey: key, minVersion: 0, maxVersion: 7 }]
    const question = asked(3, 1)
    const offered = await exchange(ends, question, answerTo(apiVersions, question, { errorCode: 0, apiKeys }))
    expect(read(apiVersions, 3, offered).apiKeys).toEqual(apiKeys)
    const sent = opaque(2, Buffer.from('what nobody else reads'), { key, version: 7 })
    const answer = opaque(2, Buffer.from('nor this'), null)
    expect(await exchange(ends, sent, answer)).toEqual(answer)
  })

  test('a key that the broker does not know either costs that connection, and no other', async () => {
    const harness = await startHarness()
    const [one, other] = [await harness.connect(), await harness.connect()]
    one.client.send(opaque(1, Buffer.alloc(10), { key: 19_999, version: 0 }))
    await one.broker.next()
    one.broker.socket.destroy()
    await one.client.end()
    expect(idOf(await exchange(other, ask(2), answerAsk(ask(2))))).toBe(2)
  })
})

test('correlation ids may be equal, negative or the lowest number', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  const ids = [7, 7, -1, -2147483648, 7, 0]
  const sent = ids.map((id, at) => (at === 4 ? produceFrame({ correlationId: id, topics: { other: [0] } }) : ask(id)))
  client.send(...sent)
  for (const frame of sent) expect(await broker.next()).toEqual(frame)
  const answers = sent.map((frame, at) => {
    if (at === 4) return answerTo(produce, frame, { responses: [] })
    // Each with another throttle time, so that none can be taken for another.
    return answerTo(listOffsets, frame, { throttleTimeMs: at, topics: [] })
  })
  broker.send(...answers)
  for (const answer of answers) expect(await client.next()).toEqual(answer)
})

test('acks=0 while the WAL takes nothing gets no answer and leaves the others theirs', async () => {
  const harness = await startHarness()
  harness.fault = new MillraceError('WAL_FULL', 'wal.max.bytes is reached')
  const { client, broker } = await harness.connect()
  const silent = produceFrame({ correlationId: 2, acks: 0 })
  client.send(ask(1), silent, produceFrame({ correlationId: 3 }), ask(4))
  const [first, second, fourth] = [await broker.next(), await broker.next(), await broker.next()]
  expect([first, second, fourth]).toEqual([ask(1), silent, ask(4)])
  broker.send(answerAsk(first), answerAsk(fourth))
  expect([idOf(await client.next()), idOf(await client.next()), idOf(await client.next())]).toEqual([1, 3, 4])
})

test('of two topic ids, one that nobody knows fails alone', async () => {
  const harness = await startHarness()
  const { client, broker } = await harness.connect()
  const ids = { ...topicIds, strange: 'ICEiIyQlJicoKSorLC0uLw' }
  client.send(produceFrame({ version: 13, topics: { strange: [0], orders: [0] }, ids }))
  const partitionResponses = [{ index: 0, errorCode: 0, baseOffset: 5 }]
  const responses = [ids.strange, ids.orders].map(topicId => ({ topicId, partitionResponses }))
  broker.send(answerTo(produce, await broker.next(), { responses }))
  await until(() => harness.captures.length > 0, { what: 'a capture', interval: 1 })
  expect(harness.captures[0]!.batches.map(({ stream }) => stream.topic)).toEqual(['orders'])
  harness.captures[0]!.resolve()
  const answer = read(produce, 13, await client.next())
  expect(answer.responses.map(({ topicId, partitionResponses: [one] }) => [topicId, one!.errorCode])).toEqual([
    [ids.strange, 20],
    [ids.orders, 0]
  ])
})

/** An answer to Fetch 18 with records, which names a broker. */
const fetched = (correlationId: number, records: Buffer): Buffer => {
  const partition = { partitionIndex: 0, errorCode: 0, highWatermark: 1, abortedTransactions: null, records }
  const body: ResponseOf<typeof fetch> = {
    responses: [{ topicId: topicIds.orders, partitions: [partition, { ...partition, errorCode: 6, records: null }] }],
    nodeEndpoints: [{ nodeId: 2, host: 'broker-2.internal', port: 9092, rack: null }]
  }
  return answerTo(fetch, request(fetch, 18, correlationId, { maxWaitMs: 0, minBytes: 0, topics: [] }), body)
}
const fetching = (correlationId: number) => request(fetch, 18, correlationId, { maxWaitMs: 0, minBytes: 0, topics: [] })

describe('Fetch', () => {
  test('goes out as it comes in, but for its end, in which the proxy’s listener is named', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    const records = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => i % 251))
    const answer = fetched(1, records)
    client.send(fetching(1), ask(2))
    await broker.next()
    await broker.next()
    broker.send(answer.subarray(0, 2_000_000))
    await until(() => client.bytes === 2_000_000, { what: 'the bytes that have come', interval: 1 })
    broker.send(answer.subarray(2_000_000), answerAsk(ask(2)))
    const got = await client.next()
    expect(got.length).toBe(answer.length)
    const { responses, nodeEndpoints } = read(fetch, 18, got)
    expect(responses[0]!.partitions[0]!.records!.equals(records)).toBe(true)
    const [node] = nodeEndpoints!
    expect(`${node!.host}:${node!.port}`).toBe(harness.proxy.addresses['node 2'])
    expect(idOf(await client.next())).toBe(2)
  })

  test('that cannot be walked through ends the connection', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    client.send(fetching(1))
    await broker.next()
    broker.send(opaque(1, Buffer.alloc(20, 0xff), null))
    await client.end()
    await broker.end()
  })

  test('ShareFetch names the proxy’s listener, too', async () => {
    const harness = await startHarness()
    const { client, broker } = await harness.connect()
    const sizes = { maxWaitMs: 0, minBytes: 0, maxRecords: 1, batchSize: 1, shareSessionEpoch: 0 }
    const asked = { groupId: 'g', memberId: 'm', ...sizes, topics: [], forgottenTopicsData: [] }
    const sent = request(shareFetch, 2, 1, asked)
    const nodeEndpoints = [{ nodeId: 3, host: 'broker-3.internal', port: 9092, rack: 'r' }]
    const body = { throttleTimeMs: 0, errorCode: 0, errorMessage: null, acquisitionLockTimeoutMs: 1, responses: [] }
    const got = await exchange({ client, broker }, sent, answerTo(shareFetch, sent, { ...body, nodeEndpoints }))
    const [node] = read(shareFetch, 2, got).nodeEndpoints
    expect(`${node!.host}:${node!.port}`).toBe(harness.proxy.addresses['node 3'])
    expect(node!.rack).toBe('r')
  })
})

describe('fragments', () => {
  // Not node 1: the proxy believes where a broker is said to be.
  const brokers = [{ nodeId: 2, host: 'broker.internal', port: 9092, rack: null }]
  const sent = [
    request(apiVersions, 3, 1, { clientSoftwareName: 'a', clientSoftwareVersion: '1' }),
    request(metadata, 12, 2, { topics: null }),
    produceFrame({ correlationId: 3 }),
    produceFrame({ correlationId: 4, acks: 0 }),
    fetching(5),
    ask(6)
  ]
  const answers = [
    answerTo(apiVersions, sent[0]!, { errorCode: 0, apiKeys: [{ apiKey: 0, minVersion: 0, maxVersion: 99 }] }),
    answerTo(metadata, sent[1]!, { brokers, topics: [] }),
    answerTo(produce, sent[2]!, {
      responses: [{ name: 'orders', partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 5 }] }]
    }),
    fetched(5, Buffer.from('records')),
    answerAsk(sent[5]!)
  ]

  /** What a client gets, its requests and the broker's answers coming in the pieces that `pieces` makes of them. */
  async function dialog(harness: Harness, pieces: (whole: Buffer) => Buffer[]): Promise<Buffer[]> {
    const { client, broker } = await harness.connect()
    await trickle(client, pieces(Buffer.concat(sent)))
    for (const frame of sent) expect(await broker.next()).toEqual(frame)
    await trickle(broker, pieces(Buffer.concat(answers)))
    await until(() => harness.captures.length > 0, { what: 'a capture', interval: 1 })
    harness.captures.shift()!.resolve()
    const got: Buffer[] = []
    for (const _ of answers) got.push(await client.next())
    client.socket.destroy()
    return got
  }

  async function trickle({ socket }: End, pieces: readonly Buffer[]): Promise<void> {
    for (const piece of pieces) {
      socket.write(piece)
      await setImmediate()
    }
  }

  test('change nothing: each byte alone, and a cut at every byte, of requests and of answers', async () => {
    const harness = await startHarness()
    const whole = await dialog(harness, bytes => [bytes])
    expect(whole.map(idOf)).toEqual([1, 2, 3, 5, 6])
    expect(read(metadata, 12, whole[1]!).brokers[0]!.host).toBe('127.0.0.1')
    expect(read(fetch, 18, whole[3]!).nodeEndpoints![0]!.host).toBe('127.0.0.1')
    const single = (bytes: Buffer) => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
    expect(await dialog(harness, single)).toEqual(whole)
    const longest = Math.max(Buffer.concat(sent).length, Buffer.concat(answers).length)
    for (let cut = 1; cut < longest; cut++) {
      const got = await dialog(harness, bytes => [bytes.subarray(0, cut), bytes.subarray(cut)])
      expect(got, `cut at ${cut}`).toEqual(whole)
    }
  })
})

test('a client that reads slowly stops its own broker connection only, and gets every byte in the end', async () => {
  const harness = await startHarness()
  const [slow, quick] = [await harness.connect(), await harness.connect()]
  const { socket } = slow.client
  socket.pause()
  socket.removeAllListeners('data')
  const answer = opaque(1, Buffer.alloc(48 * 1024 * 1024, 'x'), null)
  slow.client.send(opaque(1, Buffer.alloc(4), { key: 10_001, version: 0 }))
  await slow.broker.next()
  slow.broker.send(answer)
  // The kernel's buffers and the proxy's are full: nothing more leaves the broker while others come and go.
  let left = -1
  await until(
    async () => {
      const before = left
      left = slow.broker.socket.writableLength
      for (let id = 0; id < 20; id++) expect(idOf(await exchange(quick, ask(id), answerAsk(ask(id))))).toBe(id)
      return left > 0 && left === before
    },
    { what: 'the broker has to wait', interval: 50 }
  )
  expect(left).toBeGreaterThan(16 * 1024 * 1024)
  const got: Buffer[] = []
  let bytes = 0
  socket.on('data', (data: Buffer) => {
    got.push(data)
    bytes += data.length
  })
  socket.resume()
  await until(() => bytes === answer.length, { what: 'all of the answer', interval: 1 })
  expect(Buffer.concat(got).equals(answer)).toBe(true)
})
