// Batches that brokers take, with good CRCs, and whose records Millrace cannot read under a limit of 1 MiB.
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { resigned } from './resigned.ts'

/** What a batch may grow to for the tests. */
export const LIMIT = 1024 * 1024

/** Each of two records, so that it can be cut, and how its reason begins. */
export const unreadable: readonly [what: string, batch: (baseOffset: number) => CanonicalBatch, reason: string][] = [
  [
    'a batch that grows beyond the limit',
    baseOffset => twoRecords(baseOffset, 2 * LIMIT),
    `a gzip batch grows beyond ${LIMIT} bytes`
  ],
  [
    'a batch of times beyond 2^53',
    baseOffset => changed(twoRecords(baseOffset), { baseTimestamp: 2n ** 62n, maxTimestamp: 2n ** 62n + 1n }),
    'record 0 of the batch is malformed: its timestamp is beyond 2^53'
  ],
  [
    'a batch of times before -2^53',
    baseOffset => changed(twoRecords(baseOffset), { baseTimestamp: -(2n ** 62n), maxTimestamp: -1n }),
    'record 0 of the batch is malformed: its timestamp is beyond 2^53'
  ],
  [
    'a batch with bytes after its compressed data',
    baseOffset => resigned(Buffer.concat([twoRecords(baseOffset).toWire(), Buffer.from('surplus')])),
    'the gzip data of a batch cannot be decompressed'
  ]
]

function twoRecords(baseOffset: number, bytes = 100): CanonicalBatch {
  const records = [0, 1].map(i => ({
    offset: baseOffset + i,
    timestamp: 1_764_072_000_000 + baseOffset + i,
    key: null,
    value: Buffer.alloc(bytes / 2, ' unreadable'),
    headers: []
  }))
  return encodeBatch(records, { codec: 'gzip' })
}

/** The batch at another time, its max timestamp as a broker has it, which is no less than -1. */
function changed(
  batch: CanonicalBatch,
  { baseTimestamp, maxTimestamp }: { baseTimestamp: bigint; maxTimestamp: bigint }
): CanonicalBatch {
  const wire = Buffer.from(batch.toWire())
  wire.writeBigInt64BE(baseTimestamp, 27)
  wire.writeBigInt64BE(maxTimestamp, 35)
  return resigned(wire)
}
