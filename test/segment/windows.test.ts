// What a segment gives of any window of offsets and times: every field of every record and batch, in order, for few reads.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { CanonicalBatch as Batch, encodeBatch } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import type { RecordWindow } from '../../src/segment/reader.ts'
import { fileSource, SegmentReader } from '../../src/segment/reader.ts'
import { batchFixtures } from '../fixtures/load.ts'
import { anyOptions, anyRecords } from '../kafka/batch-arbitraries.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { expectFewReads, large, small, write } from './few-reads.ts'
import { bytesSource, collect, counted, digest, START } from './segments.ts'

describe.each([
  ['a small segment', small],
  ['a large segment', large]
])('%s', (_, batches) => {
  let folder: TempFolder
  let file: string
  const records = batches.flatMap(batch => [...batch.records()])
  const [base, end] = [records[0]!.offset, records.at(-1)!.offset + 1]

  beforeAll(async () => {
    folder = await tempFolder('segment')
    file = join(folder.path, 'segment.tar.gz')
    write(batches, file)
  })
  afterAll(() => folder.dispose())

  const open = async () => {
    const source = counted(fileSource(file))
    return { reader: await SegmentReader.open(source), source }
  }

  test('gives any offset, time or chunk for three reads', async () => {
    await expectFewReads(batches, async () => {
      const { reader, source } = await open()
      return { reader, reads: () => source.reads.length }
    })
  })

  test('loses none of a window of times, though some records are late', async () => {
    const times = records.map(({ timestamp }) => timestamp)
    const [earliest, latest] = [Math.min(...times), Math.max(...times)]
    const { reader } = await open()
    const read = async (window: RecordWindow) => (await collect(reader.records(window))).map(digest)
    for (let part = 0; part <= 5; part++) {
      const fromTime = earliest + Math.floor(((latest - earliest) * part) / 5)
      for (const toTime of [undefined, fromTime + 1, fromTime + 3_600_000]) {
        const expected = records.filter(
          ({ timestamp }) => timestamp >= fromTime && timestamp < (toTime ?? Number.POSITIVE_INFINITY)
        )
        expect(await read({ fromTime, toTime }), `${fromTime} to ${toTime}`).toEqual(expected.map(digest))
        const some = { from: base + 3, to: end - 3, fromTime, toTime }
        const inside = expected.filter(({ offset }) => offset >= some.from && offset < some.to)
        expect(await read(some)).toEqual(inside.map(digest))
      }
    }
    expect(await read({ toTime: earliest })).toEqual([])
  })

  test('is not read at all for a time after all that it holds', async () => {
    const { reader, source } = await open()
    expect(await collect(reader.records({ fromTime: START + 86_400_000_000 }))).toEqual([])
    expect(source.reads).toHaveLength(2)
  })
})

test('whoever stops after one record has read little of the log', async () => {
  await using folder = await tempFolder('segment')
  const file = join(folder.path, 'segment.tar.gz')
  const batches = large.slice(1, 60) // none of the huge ones
  const { manifest } = write(batches, file)
  const source = counted(fileSource(file))
  const reader = await SegmentReader.open(source, manifest)
  const pieces = reader.logPieces().map(({ start, end }) => end - start)
  expect(pieces.length).toBeGreaterThan(5)
  for (const window of [{}, { from: manifest.baseOffset + 7 }, { fromTime: START }]) {
    source.reads.length = 0
    for await (const { offset } of reader.records(window)) {
      expect(offset).toBeGreaterThanOrEqual(manifest.baseOffset)
      break
    }
    const whole = (await SegmentReader.open(fileSource(file))).file('log')
    const logBytes = (await whole).length
    // At most one MiB of the log at a time, and what shares its last chunk.
    expect(logBytes).toBeGreaterThan(1.5 * 2 ** 20)
    expect(source.reads.length).toBeLessThanOrEqual(2)
  }
})

/** Batches one behind the other, each of records with any content, in any codec; offsets have holes inside a batch. */
const anyLog = fc.array(fc.tuple(anyRecords, anyOptions), { minLength: 1, maxLength: 6 }).map(list => {
  let next = list[0]![0][0]!.offset
  return list.map(([records, options]) => {
    const shift = next - records[0]!.offset
    const moved = records.map((record): KafkaRecord => ({ ...record, offset: record.offset + shift }))
    next = moved.at(-1)!.offset + 1
    return { records: moved, batch: encodeBatch(moved, options) }
  })
})

test('all fields of every record and batch survive, in any window of offsets and times', async () => {
  await using folder = await tempFolder('segment')
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      anyLog,
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 }),
      async (log, at) => {
        const file = join(folder.path, `${run++}.tar.gz`)
        const batches = log.map(({ batch }) => batch)
        const { manifest } = write(batches, file)
        const reader = await SegmentReader.open(bytesSource(await readFile(file)))
        expect(wires(await collect(reader.batches()))).toEqual(wires(batches))
        const records = log.flatMap(one => one.records)
        expect((await collect(reader.records())).map(digest)).toEqual(records.map(digest))

        const offsets = at
          .slice(0, 2)
          .map(part => manifest.baseOffset + Math.floor(part * (manifest.nextOffset - manifest.baseOffset)))
        const [from, to] = offsets.sort((a, b) => a - b) as [number, number]
        const sorted = records.map(({ timestamp }) => timestamp).sort((a, b) => a - b)
        const [fromTime, toTime] = at
          .slice(2)
          .map(part => sorted[Math.floor(part * (sorted.length - 1))]!)
          .sort((a, b) => a - b) as [number, number]
        const holding = batches.filter(({ header }) => header.baseOffset < to && header.lastOffset >= from)
        expect(wires(await collect(reader.batches({ from, to })))).toEqual(wires(holding))
        const inside = records.filter(({ offset }) => offset >= from && offset < to)
        expect((await collect(reader.records({ from, to }))).map(digest)).toEqual(inside.map(digest))
        const timely = records.filter(({ timestamp }) => timestamp >= fromTime && timestamp < toTime)
        expect((await collect(reader.records({ fromTime, toTime }))).map(digest)).toEqual(timely.map(digest))
        expect(await reader.verify(null)).toEqual([])
      }
    ),
    { numRuns: 60 }
  )
})

test.each(batchFixtures())('a batch of $name survives', async ({ wire, oracle }) => {
  await using folder = await tempFolder('segment')
  const file = join(folder.path, 'segment.tar.gz')
  const { batch } = Batch.fromWire(wire)
  write([batch], file)
  const reader = await SegmentReader.open(fileSource(file))
  expect(wires(await collect(reader.batches()))).toEqual([wire.toString('hex')])
  const records = await collect(reader.records())
  expect(records.map(digest)).toEqual(oracle.batch.isControl ? [] : [...batch.records()].map(digest))
  expect(records.map(({ offset, timestamp }) => [offset, timestamp])).toEqual(
    oracle.records.map(([offset, timestamp]) => [offset, timestamp])
  )
  expect(await reader.verify(null)).toEqual([])
})

function wires(batches: readonly CanonicalBatch[]): string[] {
  return batches.map(batch => batch.toWire().toString('hex'))
}
