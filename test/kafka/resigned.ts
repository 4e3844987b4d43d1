// Batches whose length and CRC are right and whose contents are not, as only a hostile or broken client makes them.
import { crc32c } from '@node-rs/crc32'
import { CanonicalBatch } from '../../src/kafka/batch.ts'
import { batchFixture } from '../fixtures/load.ts'

/** The batch in `bytes` with a length and a CRC that fit it. */
export function resigned(bytes: Buffer): CanonicalBatch {
  const wire = Buffer.from(bytes)
  wire.writeInt32BE(wire.length - 12, 8)
  wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
  return CanonicalBatch.fromWire(wire).batch
}

/** The header of a fixture before another body. */
export function withBody(name: string, body: Buffer, count?: number): CanonicalBatch {
  const head = Buffer.from(batchFixture(name).wire.subarray(0, 61))
  if (count !== undefined) head.writeInt32BE(count, 57)
  return resigned(Buffer.concat([head, body]))
}
