// A BrokerLog over a cluster that is a list of batches.
import type { Admin } from '../../src/kafka/admin.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import type { Cluster } from '../../src/kafka/cluster.ts'
import { EARLIEST } from '../../src/kafka/cluster.ts'
import { BrokerLog } from '../../src/sealing/broker-log.ts'
import { orders } from '../wal/batches.ts'

export interface FakeBroker {
  readonly broker: BrokerLog
  /** The offsets that were fetched from. */
  readonly fetches: readonly number[]
}

/** A broker whose log has `before` and then these batches, and begins at `start`; it has no leader epochs. */
export function fakeBroker(
  batches: readonly CanonicalBatch[],
  { start = 0, topicId = orders.topicId, before = Buffer.alloc(0), isKnownElsewhere = false } = {}
): FakeBroker {
  const fetches: number[] = []
  const end = (batches.at(-1)?.header.lastOffset ?? -1) + 1
  const cluster: Pick<Cluster, 'refresh' | 'knows' | 'listOffset' | 'fetchLog'> = {
    refresh: async () => [{ name: orders.topic, topicId, isInternal: false, leaders: new Map([[0, 1]]) }],
    knows: async asked => isKnownElsewhere && asked.topicId === orders.topicId,
    listOffset: async (_, timestamp) => (timestamp === EARLIEST ? start : end),
    async fetchLog(_, offset, maxBytes = 2 ** 20) {
      fetches.push(offset)
      const following = batches.filter(({ header }) => header.lastOffset >= offset).map(batch => batch.toWire())
      const wires = offset < (batches[0]?.header.baseOffset ?? 0) ? [before, ...following] : following
      // Like Kafka: the first batch whole, then as many bytes as fit.
      const records = Buffer.concat(wires).subarray(0, Math.max(maxBytes, wires[0]?.length ?? 0))
      return { records, highWatermark: end, logStartOffset: start }
    }
  }
  const admin: Pick<Admin, 'topicSettings'> = {
    topicSettings: async () => ({ timestampType: 'CreateTime', compressionType: 'producer' }) as never
  }
  const broker = new BrokerLog(cluster as Cluster, admin as Admin)
  // Captures of tests do not know theirs either, and yet are kept.
  return { broker: Object.assign(broker, { epochEnds: async () => undefined }), fetches }
}
