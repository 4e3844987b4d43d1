// A BrokerLog over a cluster that is a list of batches.
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import type { Cluster } from '../../src/kafka/cluster.ts'
import { EARLIEST } from '../../src/kafka/cluster.ts'
import { LeaderEpochs } from '../../src/kafka/leader-epochs.ts'
import { BrokerLog } from '../../src/sealing/broker-log.ts'
import { orders } from '../wal/batches.ts'

export interface FakeBroker {
  readonly broker: BrokerLog
  /** The offsets that were fetched from. */
  readonly fetches: readonly number[]
  /** How many bytes they brought together. */
  readonly fetchedBytes: () => number
}

interface Options {
  readonly start?: number
  readonly topicId?: string
  /** What the log has before the batches. */
  readonly before?: Buffer
  readonly isKnownElsewhere?: boolean
  /** The topic's compression.type. */
  readonly compressionType?: () => string
  /** Where each leader epoch ends; without them the broker has none, and captures of tests, which do not know theirs, are kept. */
  readonly epochEnds?: ReadonlyMap<number, number>
}

/** A broker whose log has these batches and begins at `start`. */
export function fakeBroker(
  batches: readonly CanonicalBatch[],
  {
    start = 0,
    topicId = orders.topicId,
    before = Buffer.alloc(0),
    isKnownElsewhere = false,
    compressionType = () => 'producer',
    epochEnds
  }: Options = {}
): FakeBroker {
  const epochs = new LeaderEpochs()
  const fetches: number[] = []
  let fetchedBytes = 0
  const end = (batches.at(-1)?.header.lastOffset ?? -1) + 1
  const cluster: Pick<
    Cluster,
    | 'epochs'
    | 'clusterId'
    | 'refresh'
    | 'namedAt'
    | 'topicSettings'
    | 'knows'
    | 'listOffset'
    | 'endOfEpoch'
    | 'fetchLog'
  > = {
    epochs,
    clusterId: async () => orders.clusterId,
    endOfEpoch: async (_, epoch) => (epochEnds === undefined ? null : (epochEnds.get(epoch) ?? 0)),
    async refresh() {
      epochs.hear(topicId, 0, Math.max(-1, ...(epochEnds?.keys() ?? [])), 1)
      return [{ name: orders.topic, topicId, isInternal: false, leaders: new Map([[0, 1]]) }]
    },
    namedAt: () => 0,
    topicSettings: async () => ({ timestampType: 'CreateTime', compressionType: compressionType() }) as never,
    knows: async asked => isKnownElsewhere && asked.topicId === orders.topicId,
    listOffset: async (_, timestamp) => (timestamp === EARLIEST ? start : end),
    async fetchLog(_, offset, maxBytes = 2 ** 20) {
      fetches.push(offset)
      const following = batches.filter(({ header }) => header.lastOffset >= offset).map(batch => batch.toWire())
      const wires = offset < (batches[0]?.header.baseOffset ?? 0) ? [before, ...following] : following
      // Like Kafka: the first batch whole, then as many bytes as fit.
      const records = Buffer.concat(wires).subarray(0, Math.max(maxBytes, wires[0]?.length ?? 0))
      fetchedBytes += records.length
      return { records, highWatermark: end, logStartOffset: start }
    }
  }
  const broker = new BrokerLog(cluster as Cluster)
  if (epochEnds === undefined) Object.assign(broker, { epochEnds: async () => undefined })
  return { broker, fetches, fetchedBytes: () => fetchedBytes }
}
