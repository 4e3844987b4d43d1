// That a segment, wherever it lies, gives any offset, time or chunk for three reads at most, counted from opening it.
import { expect } from 'vitest'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import type { SegmentReader } from '../../src/segment/reader.ts'
import type { SegmentResult } from '../../src/segment/writer.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import { collect, digest, fetched, plan, START } from './segments.ts'

/** A segment just opened, and how many reads it has taken so far. */
export interface Opened {
  readonly reader: SegmentReader
  reads(): number
}

const MINUTE = 60_000
const filler = '-'.repeat(6_000)
/** More than is read at a time. */
const huge = '-'.repeat(3_000_000)

/** Batches of five records from an offset on; every seventh is late by an hour, and some are larger than one read. */
function batchesFrom(base: number, count: number): CanonicalBatch[] {
  return Array.from({ length: count }, (_, i) => {
    const offset = base + 5 * i
    const time = START + i * MINUTE - (i % 7 === 3 ? 60 * MINUTE : 0)
    const value = (at: number): string => `${count > 10 && i % 60 === 0 && at === 0 ? huge : filler} ${at}`
    return encodeBatch(
      Array.from({ length: 5 }, (_, at): KafkaRecord => {
        const timestamp = time - at * 1000 // the first is the latest
        return { offset: offset + at, timestamp, key: null, value: Buffer.from(value(at)), headers: [] }
      })
    )
  })
}

export const small = batchesFrom(1_000, 3)
/** Several MiB. */
export const large = batchesFrom(5_000_000_000, 200)

/** Writes a segment of these batches. */
export function write(batches: readonly CanonicalBatch[], file: string): SegmentResult {
  const [baseOffset, nextOffset] = [batches[0]!.header.baseOffset, batches.at(-1)!.header.lastOffset + 1]
  return writeSegment({ ...plan, baseOffset, nextOffset }, fetched(...batches), file)
}

export async function expectFewReads(batches: readonly CanonicalBatch[], open: () => Promise<Opened>): Promise<void> {
  const records = batches.flatMap(batch => [...batch.records()])
  const step = Math.max(1, Math.floor(records.length / 30))
  for (const [i, { offset, timestamp }] of records.entries()) {
    if (i % step > 0 && i < records.length - 2) continue
    expect(await firstOf(open, { from: offset }), `from offset ${offset}`).toBe(digest(records[i]!))
    const { reader, reads } = await open()
    expect((await collect(reader.records({ from: offset, to: offset + 1 }))).map(digest)).toEqual([digest(records[i]!)])
    expect(reads(), `the record at ${offset} alone`).toBeLessThanOrEqual(3)
    const first = records.find(record => record.timestamp >= timestamp)
    expect(await firstOf(open, { fromTime: timestamp }), `from time ${timestamp}`).toBe(first && digest(first))
  }
  const { reader } = await open()
  for (const [i, { start, end }] of reader.logPieces().entries()) {
    const { reader, reads } = await open()
    const [piece, ...more] = await Promise.all(reader.readLogPieces(i, i + 1))
    expect(more).toEqual([])
    expect(piece).toHaveLength(end - start)
    expect(reads(), `chunk ${i}`).toBeLessThanOrEqual(3)
  }
}

/** The first record of a window, of which no more is read. */
async function firstOf(
  open: () => Promise<Opened>,
  window: Parameters<SegmentReader['records']>[0]
): Promise<string | undefined> {
  const { reader, reads } = await open()
  for await (const record of reader.records(window)) {
    expect(reads(), JSON.stringify(window)).toBeLessThanOrEqual(3)
    return digest(record)
  }
  return undefined
}
