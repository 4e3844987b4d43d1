// Clients that mean harm, or are no clients: they are cut off, the log says why, and the others notice nothing.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { proxyOptions } from '../../../connectors/kafka-proxy/options.ts'
import { parseOptions } from '../../../src/connect/options.ts'
import { apiVersions, listOffsets } from '../../../src/kafka/messages.ts'
import { saslHandshake } from '../../../src/kafka/messages-sasl.ts'
import { until } from '../../support/until.ts'
import { answerTo, produceFrame, request } from './frames.ts'
import type { End, Harness, HarnessOptions, LogLine } from './harness.ts'
import { startHarness } from './harness.ts'

const MiB = 1024 * 1024
const ask = (correlationId: number) => request(listOffsets, 3, correlationId, { topics: [] })
const answerAsk = (frame: Buffer) => answerTo(listOffsets, frame, { topics: [] })

/** A proxy with a client that was there before and must not notice anything. */
async function besideOthers(options: HarnessOptions = {}) {
  const harness = await startHarness(options)
  const other = await harness.connect()
  let asked = 0
  const othersAreWell = async () => {
    const frame = ask(++asked)
    other.client.send(frame)
    expect(await other.broker.next()).toEqual(frame)
    other.broker.send(answerAsk(frame))
    expect((await other.client.next()).readInt32BE(4)).toBe(asked)
  }
  await othersAreWell()
  return { harness, othersAreWell }
}

/** The one line that the log has of a client, apart from debugging. */
async function saidOf({ logs }: Harness): Promise<LogLine> {
  const lines = () => logs.filter(({ level }) => Number(level) >= 40)
  await until(() => lines().length > 0, { what: 'a line in the log', interval: 1 })
  expect(lines()).toHaveLength(1)
  return lines()[0]!
}

const cuts = ({ metric }: Harness, reason: string) =>
  metric('millrace_proxy_connections_cut_total', `,reason="${reason}"`)

/** Longer than what is set as a timeout here. */
async function muchLater(): Promise<void> {
  const before = performance.now()
  await until(() => performance.now() - before > 500, { what: 'some time', interval: 20 })
}

/** None of the budget is held. */
const wholeBudget = ({ metric }: Harness) =>
  until(async () => (await metric('millrace_proxy_inflight_bytes')) === 0, { what: 'the whole budget', interval: 1 })

describe('bytes that are no request', () => {
  const sized = (size: number) => {
    const frame = Buffer.alloc(64)
    frame.writeInt32BE(size)
    return frame
  }
  const random = randomBytes(5000)
  random[0] = 0x7f

  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), '1195725856 bytes', undefined],
    ['random bytes', random, `${random.readInt32BE(0)} bytes`, undefined],
    ['a negative size', sized(-2), '-2 bytes', undefined],
    ['a size below any head', sized(7), '7 bytes', undefined],
    ['a size above frame.max.bytes', sized(104_857_601), '104857601 bytes (limit 104857600)', undefined],
    // A ClientHello and an alert (RFC 8446, section 5.1).
    ['TLS', Buffer.from('16030100c8010000c40303000000000000', 'hex'), '369295616 bytes', 'listener.security.protocol'],
    ['a TLS alert', Buffer.from('15030300020228000000000000', 'hex'), '352518912 bytes', 'listener.security.protocol']
  ])('%s', async (_, bytes, named, hint) => {
    const { harness, othersAreWell } = await besideOthers({ budget: MiB })
    const client = harness.connectWith(bytes)
    await once(client.socket, 'connect')
    const { localPort } = client.socket
    await client.end()
    expect(client.bytes).toBe(0)
    const said = await saidOf(harness)
    expect(said.err).toMatchObject({ code: 'WIRE_CORRUPT', message: expect.stringContaining(named) })
    if (hint) expect(said.err!.hint).toContain(hint)
    else expect(said.err!.hint).toBeUndefined()
    expect(said['client']).toBe(`127.0.0.1:${localPort}`)
    expect(await cuts(harness, 'not_kafka')).toBe(1)
    await (await harness.accepted()).end()
    await wholeBudget(harness)
    await othersAreWell()
  })

  test('frame.max.bytes counts as brokers count: a frame of that size passes, a byte more does not', async () => {
    const frame = produceFrame({ size: 100_000 })
    const { harness } = await besideOthers({ options: { 'frame.max.bytes': String(frame.length - 4) } })
    const { client, broker } = await harness.connect()
    client.send(frame)
    expect((await broker.next()).equals(frame)).toBe(true)
    client.send(produceFrame({ size: 100_001 }))
    await client.end()
    await broker.end()
    expect((await saidOf(harness)).err!.message).toContain(`${frame.length - 3} bytes (limit ${frame.length - 4})`)
  })

  test('a request larger than capture.inflight.bytes gets through, alone', async () => {
    const { harness, othersAreWell } = await besideOthers({ budget: MiB })
    const [one, two] = [await harness.connect(), await harness.connect()]
    const large = produceFrame({ size: 3 * MiB, acks: 1 })
    one.client.send(large)
    expect((await one.broker.next()).equals(large)).toBe(true)
    two.client.send(produceFrame({ correlationId: 2 }))
    await othersAreWell()
    expect(two.broker.bytes).toBe(0)
    one.broker.socket.destroy()
    expect((await two.broker.next()).readInt32BE(8)).toBe(2)
  })
})

describe('a request that does not come to its end', () => {
  const options = { 'request.read.timeout.ms': '150' }
  const large = produceFrame({ size: 900 * 1024 })

  test.each([
    ['its size alone', 4],
    ['a part of its head', 9],
    ['its head', 12],
    ['half of it', large.length / 2],
    ['all but a byte', large.length - 1]
  ])('%s, and then silence', async (_, bytes) => {
    const { harness, othersAreWell } = await besideOthers({ budget: MiB, options })
    const client = harness.connectWith(large.subarray(0, bytes))
    await client.end()
    expect(client.bytes).toBe(0)
    expect((await saidOf(harness)).err!.message).toContain('request.read.timeout.ms')
    expect(await cuts(harness, 'too_slow')).toBe(1)
    await (await harness.accepted()).end()
    await wholeBudget(harness)
    await othersAreWell()
  })

  test('a byte now and then', async () => {
    const { harness, othersAreWell } = await besideOthers({ budget: MiB, options })
    const client = harness.connectWith(large.subarray(0, 12))
    let sent = 12
    await until(
      () => {
        if (!client.ended) client.send(large.subarray(sent, ++sent))
        return client.ended
      },
      { what: 'the end of the connection', interval: 5 }
    )
    await wholeBudget(harness)
    await othersAreWell()
  })

  test('does not mean one that came while we were held up', async () => {
    const { harness } = await besideOthers({ budget: MiB, options })
    const { client, broker } = await harness.connect()
    const frame = produceFrame({ size: 10 * 1024, acks: 1 })
    client.send(frame.subarray(0, 100))
    await until(() => broker.bytes === 100, { what: 'the beginning', interval: 1 })
    await setImmediate() // behind the reading of this turn
    client.send(frame.subarray(100))
    // Nothing of this process runs. Then its timers do, and only after them is read what has come.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
    expect((await broker.next()).equals(frame)).toBe(true)
  })

  test('does not mean one that comes slowly, nor many', async () => {
    const { harness } = await besideOthers({ budget: 64 * MiB, options })
    const [one, two] = [await harness.connect(), await harness.connect()]
    const huge = produceFrame({ size: 6 * MiB, acks: 0 })
    const many = Buffer.concat(Array.from({ length: 200 }, (_, id) => ask(id)))
    const began = performance.now()
    for (let at = 0, done = 0; at < huge.length || done < many.length; at += MiB / 4, done += 333) {
      one.client.send(huge.subarray(at, at + MiB / 4))
      two.client.send(many.subarray(done, done + 333))
      const next = performance.now() + 15
      await until(() => performance.now() > next, { what: 'a moment', interval: 5 })
    }
    expect(performance.now() - began).toBeGreaterThan(300)
    expect((await one.broker.next()).equals(huge)).toBe(true)
    await until(() => two.broker.bytes === many.length, { what: 'all requests', interval: 1 })
  })

  test('does not mean one that waits for the budget', async () => {
    const { harness, othersAreWell } = await besideOthers({ budget: MiB, options })
    const [one, two] = [await harness.connect(), await harness.connect()]
    one.client.send(large)
    await one.broker.next()
    two.client.send(large)
    await muchLater()
    expect(await harness.metric('millrace_proxy_reads_paused_total', ',waiting_for="budget"')).toBe(1)
    one.broker.socket.destroy()
    expect((await two.broker.next()).equals(large)).toBe(true)
    await othersAreWell()
  })

  test('does not mean one that waits for a slow broker', async () => {
    const { harness, othersAreWell } = await besideOthers({ options })
    const { client, broker } = await harness.connect()
    broker.socket.pause()
    const huge = produceFrame({ size: 16 * MiB, acks: 0 })
    client.send(huge)
    await muchLater()
    expect(client.socket.writableLength).toBeGreaterThan(0)
    broker.socket.resume()
    expect((await broker.next()).equals(huge)).toBe(true)
    await othersAreWell()
  })
})

describe('connections.max.idle.ms', () => {
  const options = { 'connections.max.idle.ms': '150' }

  test('ends a client that asks nothing, without a word above debug, and its broker connection', async () => {
    const harness = await startHarness({ options })
    const { client, broker } = await harness.connect()
    client.send(ask(1))
    broker.send(answerAsk(await broker.next()))
    await client.next()
    await client.end()
    await broker.end()
    expect(await cuts(harness, 'idle')).toBe(1)
    expect(harness.logs.filter(({ level }) => Number(level) > 20)).toEqual([])
  })

  test('does not end one that waits for its answer, but then when it has asked nothing for so long', async () => {
    const harness = await startHarness({ options })
    const { client, broker } = await harness.connect()
    client.send(ask(1))
    const asked = await broker.next()
    await muchLater()
    broker.send(answerAsk(asked))
    expect((await client.next()).readInt32BE(4)).toBe(1)
    await client.end()
    expect(await cuts(harness, 'idle')).toBe(1)
  })

  test('ends one that asks on and on and takes no answers, which pile up nowhere', async () => {
    const harness = await startHarness({ options })
    const { client } = await harness.connect()
    client.socket.pause()
    const newer = request(apiVersions, 4, 1, { clientSoftwareName: 'future', clientSoftwareVersion: '9' })
    newer.writeInt16BE(99, 6)
    const flood = Buffer.concat(Array.from({ length: 2000 }, () => newer))
    let sent = 0
    // On a slow machine it may be cut off before.
    while (!client.socket.destroyed && (!client.socket.writableNeedDrain || client.socket.writableLength < 8 * MiB)) {
      client.send(flood)
      sent += flood.length
      expect(sent, 'the proxy stops reading').toBeLessThan(256 * MiB)
      await setImmediate()
    }
    expect(await harness.metric('millrace_proxy_reads_paused_total', ',waiting_for="client"')).toBeGreaterThan(0)
    await until(async () => (await harness.metric('millrace_proxy_connections')) === 0, { what: 'it is cut off' })
    expect(await cuts(harness, 'idle')).toBe(1)
  })
})

test.each(['request.read.timeout.ms', 'connections.max.idle.ms'])('%s is no longer than timers take', key => {
  const faultsOf = (text: string) =>
    parseOptions(proxyOptions, new Map([[key, { text, source: 'proxy.yaml' }]]), '').faults
  expect(faultsOf('24d')).toEqual([])
  for (const text of ['30d', '9223372036854775807']) {
    const rule = 'must be a duration of 1 ms to 2147483647 ms (24 days), such as 500ms, 10m or 1h'
    expect(faultsOf(text)).toEqual([{ source: 'proxy.yaml', key, rule, got: text }])
  }
})

describe('limits of connections', () => {
  const opened = async (harness: Harness, count: number) => {
    const ends: { client: End; broker: End }[] = []
    for (let i = 0; i < count; i++) ends.push(await harness.connect())
    return ends
  }

  test.each([['connections.max'], ['connections.max.per.ip']])('%s', async key => {
    const harness = await startHarness({ options: { [key]: '3' } })
    const [one] = await opened(harness, 3)
    for (let i = 0; i < 5; i++) await harness.connectWith().end()
    const { [key]: limit, client, refused, msg } = await saidOf(harness)
    expect([limit, client, refused, msg]).toEqual([3, '127.0.0.1', 1, `${key} is reached`])
    expect(await cuts(harness, 'limit')).toBe(5)
    one!.client.socket.destroy()
    await one!.broker.end()
    await until(async () => (await harness.metric('millrace_proxy_connections')) === 2, { what: 'one has gone' })
    await harness.connect()
  })
})

describe('SaslHandshake 0', () => {
  test('is answered with error 35, and that is the end', async () => {
    const { harness, othersAreWell } = await besideOthers()
    const { client, broker } = await harness.connect()
    const handshake = request(saslHandshake, 1, 7, { mechanism: 'PLAIN' })
    handshake.writeInt16BE(0, 6)
    client.send(handshake)
    const answer = await client.next()
    // Correlation id, error code, no mechanisms.
    expect(answer.toString('hex')).toBe('0000000a00000007002300000000')
    await client.end()
    await broker.end()
    expect(broker.bytes).toBe(0)
    await othersAreWell()
  })

  test('version 1 passes', async () => {
    const { harness } = await besideOthers()
    const { client, broker } = await harness.connect()
    const handshake = request(saslHandshake, 1, 7, { mechanism: 'PLAIN' })
    client.send(handshake)
    expect(await broker.next()).toEqual(handshake)
    const answer = answerTo(saslHandshake, handshake, { errorCode: 0, mechanisms: ['PLAIN'] })
    broker.send(answer)
    expect(await client.next()).toEqual(answer)
  })
})
