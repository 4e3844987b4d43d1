// A BrokerLog over a cluster that is a list of batches.
import type { Logger } from 'pino'
import pino from 'pino'
import { assignLeaderEpoch, CanonicalBatch } from '../../src/kafka/batch.ts'
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
  readonly logger?: Logger
  /** Called with the number of each fetch, from 1, before it is answered. */
  readonly onFetch?: (count: number) => void
  /** How many partitions have this log, 1 unless told. */
  readonly partitions?: number
  /** The partitions that nobody leads. */
  readonly leaderless?: ReadonlySet<number>
}

/** A batch of a broker's log, and its header as the broker takes it. */
export type LoggedBatch = Pick<CanonicalBatch, 'header' | 'toWire'>

/** A batch with a change on the disk of the broker, which finds it by `header`. */
export function changed(batch: CanonicalBatch, change: (wire: Buffer) => void, header = batch.header): LoggedBatch {
  const wire = Buffer.from(batch.toWire())
  change(wire)
  return { header, toWire: () => wire }
}

/** A batch with a flipped bit in its records. */
export const flipped = (batch: CanonicalBatch): LoggedBatch =>
  changed(batch, wire => wire.writeUInt8(wire.at(-3)! ^ 1, wire.length - 3))

export function inEpoch(epoch: number, batch: CanonicalBatch): CanonicalBatch {
  const wire = batch.toWire()
  assignLeaderEpoch(wire, 0, epoch)
  return CanonicalBatch.fromWire(wire).batch
}

/** A broker whose log has these batches and begins at `start`. */
export function fakeBroker(
  batches: readonly LoggedBatch[],
  {
    start = 0,
    topicId = orders.topicId,
    before = Buffer.alloc(0),
    isKnownElsewhere = false,
    compressionType = () => 'producer',
    epochEnds,
    logger = pino({ level: 'silent' }),
    onFetch = () => {},
    partitions = 1,
    leaderless = new Set()
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
      const leaders = Array.from({ length: partitions }, (_, i) => [i, leaderless.has(i) ? -1 : 1] as const)
      return [{ name: orders.topic, topicId, isInternal: false, leaders: new Map(leaders) }]
    },
    namedAt: () => 0,
    topicSettings: async () => ({ timestampType: 'CreateTime', compressionType: compressionType() }) as never,
    knows: async asked => isKnownElsewhere && asked.topicId === orders.topicId,
    listOffset: async (_, timestamp) => (timestamp === EARLIEST ? start : end),
    async fetchLog(_, offset, maxBytes = 2 ** 20) {
      onFetch(fetches.push(offset))
      const following = batches.filter(({ header }) => header.lastOffset >= offset).map(batch => batch.toWire())
      const wires = offset < (batches[0]?.header.baseOffset ?? 0) ? [before, ...following] : following
      // Like Kafka: the first batch whole, then as many bytes as fit.
      const records = Buffer.concat(wires).subarray(0, Math.max(maxBytes, wires[0]?.length ?? 0))
      fetchedBytes += records.length
      return { records, highWatermark: end, logStartOffset: start }
    }
  }
  const broker = new BrokerLog(cluster as Cluster, logger)
  if (epochEnds === undefined) Object.assign(broker, { epochEnds: async () => undefined })
  return { broker, fetches, fetchedBytes: () => fetchedBytes }
}
