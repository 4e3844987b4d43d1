// A leader that metadata names and that does not answer: it is waited for once, however many partitions it leads. The brokers are
// scripted; time goes on only where a test says so.
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Cluster, LATEST } from '../../src/kafka/cluster.ts'
import { requestBodyStart, responseFrame } from '../../src/kafka/headers.ts'
import { apiVersions, listOffsets, metadata } from '../../src/kafka/messages.ts'
import { serve, versionsAnswer } from './scripted-broker.ts'

const REQUEST_TIMEOUT_MS = 30_000
const PARTITIONS = 20

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] }))
afterEach(() => void vi.useRealTimers())

const at = (partition: number) => ({ topic: 'orders', partition })
const all = Array.from({ length: PARTITIONS }, (_, partition) => at(partition))

/** Broker 1 answers and leads partition 0; broker 2 leads the others, unless `leader` says otherwise, and may freeze. */
async function openBrokers() {
  const brokers: { nodeId: number; rack: null; host: string; port: number }[] = []
  const partition = { errorCode: 0, replicaNodes: [1], isrNodes: [1], offlineReplicas: [] }
  let leader = 2
  /** Answers that the frozen broker owes. */
  let owed: (() => void)[] | null = null
  let heard = () => {}

  const answer = (frame: Buffer): Buffer => {
    const [key, version, id] = [frame.readInt16BE(4), frame.readInt16BE(6), frame.readInt32BE(8)]
    if (key === apiVersions.key) return versionsAnswer(frame)
    if (key === metadata.key) {
      const partitions = all.map(({ partition: i }) => ({
        ...partition,
        partitionIndex: i,
        leaderId: i === 0 ? 1 : leader
      }))
      const topics = [{ errorCode: 0, name: 'orders', topicId: 'AAAAAAAAAAAAAAAAAAAAAg', partitions }]
      const body = metadata.response.encode({ brokers, clusterId: 'c', topics }, version)
      return responseFrame(metadata, version, id, body)
    }
    const asked = listOffsets.request.decode(frame, version, requestBodyStart(frame, listOffsets, version))
    const topics = asked.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode: 0, offset: 7 }))
    }))
    return responseFrame(listOffsets, version, id, listOffsets.response.encode({ topics }, version))
  }
  const { address: first } = await serve(answer)
  const { address: second } = await serve((frame, socket) => {
    if (owed === null) return answer(frame)
    owed.push(() => socket.write(answer(frame)))
    heard()
    return null
  })
  brokers.push({ nodeId: 1, rack: null, ...first }, { nodeId: 2, rack: null, ...second })
  return {
    cluster: new Cluster([first], undefined, { retryForMs: 2_000 }),
    freeze: () => void (owed = []),
    thaw() {
      for (const write of owed ?? []) write()
      owed = null
    },
    moveLeaders: () => void (leader = 1),
    /** Resolves when the frozen broker is asked something. */
    asked: () => new Promise<void>(resolve => void (heard = resolve))
  }
}

const silent = { code: 'BROKER_UNREACHABLE', message: expect.stringMatching(/^broker .* does not answer$/) }

/** A cluster whose second broker has frozen, and was waited for as long as one is. */
async function openFrozen() {
  const brokers = await openBrokers()
  const { cluster } = brokers
  await cluster.refresh(null)
  expect(await cluster.listOffsets(all, LATEST)).toEqual(all.map(() => 7))
  brokers.freeze()
  const asked = brokers.asked()
  const first = expect(cluster.listOffset(at(1), LATEST)).rejects.toThrow('was not answered in 30000 ms')
  await asked
  await vi.advanceTimersByTimeAsync(REQUEST_TIMEOUT_MS + 1)
  await first
  // It is connected to once more, and that waited for no longer than brokers that are well take.
  const reconnected = brokers.asked()
  const second = expect(cluster.listOffset(at(1), LATEST)).rejects.toMatchObject(silent)
  await reconnected
  await vi.advanceTimersByTimeAsync(1_000)
  await second
  return brokers
}

test('a leader that has frozen is waited for once; what it leads costs nothing, and what others lead goes on', async () => {
  using cluster = (await openFrozen()).cluster
  /** What comes without that time goes on. */
  const atOnce = async <T>(promise: Promise<T>) => (await Promise.all([promise, vi.advanceTimersByTimeAsync(0)]))[0]
  for (const partition of all.slice(1)) {
    await cluster.refresh(['orders'])
    await atOnce(expect(cluster.listOffset(partition, LATEST)).rejects.toMatchObject(silent))
    expect(await cluster.listOffset(at(0), LATEST)).toBe(7)
  }
  const ends = await atOnce(cluster.listOffsets(all, LATEST))
  expect(ends).toEqual(all.map(({ partition }) => (partition === 0 ? 7 : undefined)))
})

test('when a leader that had frozen answers again, it is asked again', async () => {
  const { cluster, thaw } = await openFrozen()
  using _ = cluster
  thaw()
  vi.useRealTimers()
  await vi.waitUntil(() => cluster.listOffset(at(1), LATEST).catch(() => null))
  expect(await cluster.listOffsets(all, LATEST)).toEqual(all.map(() => 7))
})

test('what a leader that has frozen led is asked of the next leader', async () => {
  const { cluster, moveLeaders } = await openFrozen()
  using _ = cluster
  moveLeaders()
  await cluster.refresh(['orders'])
  expect(await cluster.listOffset(at(1), LATEST)).toBe(7)
})
