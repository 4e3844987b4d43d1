// Batches and segments for the tests of src/segment: made of records by the codec, or by hand where a producer would need
// a transaction.
import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import type { EncodeOptions } from '../../src/kafka/batch.ts'
import { CanonicalBatch, encodeBatch } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import { GzipTarWriter } from '../../src/segment/gzip-tar.ts'
import type { RangeSource } from '../../src/segment/reader.ts'
import type { SegmentBatch, SegmentPlan } from '../../src/segment/writer.ts'
import { tempFolder } from '../support/temp.ts'

export const START = 1_764_000_000_000

export const plan: SegmentPlan = {
  clusterId: 'test-cluster',
  topic: 'orders',
  topicId: 'AAECAwQFBgcICQoLDA0ODw',
  partition: 0,
  baseOffset: 0,
  nextOffset: 0,
  gaps: [],
  previousChainSha256: null,
  openTransactions: [],
  createdBy: 'test'
}

export function record(offset: number, fields: Partial<KafkaRecord> = {}): KafkaRecord {
  return {
    offset,
    timestamp: START + offset,
    key: Buffer.from(`key-${offset}`),
    value: Buffer.from(`{"order":${offset},"note":"grain number${offset}"}`),
    headers: [['trace', Buffer.from(`t${offset}`)]],
    ...fields
  }
}

/** A batch of `count` records from `baseOffset` on. */
export function batch(baseOffset: number, count: number, options: EncodeOptions = {}): CanonicalBatch {
  return encodeBatch(
    Array.from({ length: count }, (_, i) => record(baseOffset + i)),
    options
  )
}

export const captured = (...batches: CanonicalBatch[]): SegmentBatch[] =>
  batches.map(batch => ({ batch, fromBroker: false }))

export const fetched = (...batches: CanonicalBatch[]): SegmentBatch[] =>
  batches.map(batch => ({ batch, fromBroker: true }))

const TRANSACTIONAL = 0x10
const CONTROL = 0x20

/** A batch of a transaction. */
export function transactional(baseOffset: number, count: number, producerId: number): CanonicalBatch {
  return withAttributes(batch(baseOffset, count, { producerId, producerEpoch: 0, baseSequence: 0 }), TRANSACTIONAL)
}

/** The control batch that ends a transaction. */
export function marker(offset: number, producerId: number, outcome: 'abort' | 'commit'): CanonicalBatch {
  const key = Buffer.from([0, 0, 0, outcome === 'abort' ? 0 : 1])
  const end = encodeBatch([record(offset, { key, value: Buffer.alloc(6), headers: [] })], {
    producerId,
    producerEpoch: 0
  })
  return withAttributes(end, TRANSACTIONAL | CONTROL)
}

/** The batch with bits set in its attributes, signed anew. */
export function withAttributes(batch: CanonicalBatch, bits: number): CanonicalBatch {
  return changed(batch, wire => wire.writeInt16BE(wire.readInt16BE(21) | bits, 21))
}

/** The batch with other bytes, signed anew. */
export function changed(batch: CanonicalBatch, change: (wire: Buffer) => void): CanonicalBatch {
  const wire = Buffer.from(batch.toWire())
  change(wire)
  wire.writeUInt32BE(crc32c(wire.subarray(21)), 17)
  return CanonicalBatch.fromWire(wire).batch
}

/** A segment in memory, which notes what is read of it. */
export function bytesSource(bytes: Buffer, name = 'segment-under-test'): RangeSource & { readonly reads: number[] } {
  const reads: number[] = []
  return {
    name,
    reads,
    async get(start, end) {
      reads.push(end - start)
      return bytes.subarray(start, end)
    },
    async tail(length) {
      reads.push(length)
      return { data: bytes.subarray(Math.max(0, bytes.length - length)), size: bytes.length }
    }
  }
}

/** A segment elsewhere, of which is noted how many bytes are read at a time. */
export function counted(source: RangeSource): RangeSource & { readonly reads: number[] } {
  const reads: number[] = []
  const noted = (data: Buffer): Buffer => {
    reads.push(data.length)
    return data
  }
  return {
    name: source.name,
    reads,
    get: async (start, end) => noted(await source.get(start, end)),
    async tail(bytes) {
      const { data, size } = await source.tail(bytes)
      return { data: noted(data), size }
    }
  }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** All of a record, in a short text: comparing a thousand large buffers takes minutes. */
export function digest({ offset, timestamp, key, value, headers }: KafkaRecord): string {
  const [ofKey, ofValue] = [key, value].map(digestOf)
  return JSON.stringify({
    offset,
    timestamp,
    ofKey,
    ofValue,
    headers: headers.map(([name, part]) => [name, digestOf(part)])
  })
}

function digestOf(bytes: Buffer | null): string | null {
  return bytes === null ? null : hash('sha256', bytes)
}

/** A segment file with these contents in place of its own, in a well-formed container. */
export async function forged(contents: Record<string, Buffer>, original: string): Promise<Buffer> {
  await using folder = await tempFolder('forged')
  const tar = gunzipSync(await readFile(original))
  const writer = new GzipTarWriter(join(folder.path, 'f.tar.gz'))
  for (let at = 0; tar[at] !== 0; ) {
    const name = tar.toString('latin1', at, at + 100).replace(/\0.*/, '')
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8)
    const kind = name.replace(/^\d+\./, '')
    writer.add(name, contents[kind] ?? tar.subarray(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  writer.finish()
  return await readFile(join(folder.path, 'f.tar.gz'))
}
