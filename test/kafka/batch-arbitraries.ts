// Any records, and any batch of them, for property tests.
import fc from 'fast-check'
import type { EncodeOptions } from '../../src/kafka/batch.ts'
import type { CodecName } from '../../src/kafka/compression.ts'
import { Codec } from '../../src/kafka/compression.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'

export const codecs = Object.keys(Codec) as CodecName[]

const small = fc.uint8Array({ maxLength: 64 }).map(array => Buffer.from(array))
/** Some are larger than a block of lz4 or snappy, and do not shrink. */
const large = fc
  .tuple(fc.integer({ min: 20_000, max: 100_000 }), fc.integer({ min: 0, max: 2 ** 31 - 1 }))
  .map(([length, seed]) => {
    const bytes = Buffer.alloc(length)
    for (let i = 0, state = seed; i < length; i++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      bytes[i] = state >>> (16 + (seed % 8))
    }
    return bytes
  })
const bytes = fc.oneof({ weight: 40, arbitrary: small }, { weight: 1, arbitrary: large })
const nullable = fc.option(bytes)
const header = fc.tuple(fc.string({ unit: 'grapheme', maxLength: 10 }), nullable)
const timestamp = fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 2 ** 45 }))
const shape = { step: fc.integer({ min: 1, max: 2 ** 20 }), timestamp, key: nullable, value: nullable, headers: fc.array(header, { maxLength: 4 }) } // biome-ignore format: one thing

export const anyRecords: fc.Arbitrary<KafkaRecord[]> = fc
  .tuple(fc.integer({ min: 0, max: 2 ** 50 }), fc.array(fc.record(shape), { minLength: 1, maxLength: 20 }))
  .map(([base, list]) => {
    let offset = base
    return list.map(({ step, ...rest }): KafkaRecord => ({ offset: (offset += step), ...rest }))
  })

export const anyOptions: fc.Arbitrary<EncodeOptions> = fc.record({
  codec: fc.constantFrom(...codecs),
  producerId: fc.integer({ min: -1, max: 2 ** 50 }),
  producerEpoch: fc.integer({ min: -1, max: 32767 }),
  baseSequence: fc.integer({ min: -1, max: 0x7fffffff }),
  partitionLeaderEpoch: fc.integer({ min: -1, max: 0x7fffffff })
})
