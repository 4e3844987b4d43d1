// Builds a segment file from batches. Memory does not grow with the segment: the search index goes to a file, and the log is
// gone through twice, first to count and index it, then to store it behind what was counted.
import { closeSync, fsyncSync, openSync, renameSync } from 'node:fs'
import path from 'node:path'
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { NO_RECORDS, readRecords } from '../kafka/read-records.ts'
import type { TarSource } from './gzip-tar.ts'
import { GzipTarWriter } from './gzip-tar.ts'
import type { NotIndexed, SegmentManifest } from './manifest.ts'
import { SEGMENT_FORMAT_VERSION } from './manifest.ts'
import { withTrueMaxTimestamp } from './max-timestamp.ts'
import { SearchIndexBuilder } from './search-index.ts'
import type { SegmentRange } from './tally.ts'
import { Tally } from './tally.ts'
import { filePieces, removePiecewise } from './temporary.ts'

/** All that a segment is made from, beside its batches. */
export interface SegmentPlan extends SegmentRange {
  readonly clusterId: string
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly createdBy: string
}

export interface SegmentBatch {
  readonly batch: CanonicalBatch
  /** The bytes are the broker's own, so nothing of them is to be corrected. */
  readonly fromBroker: boolean
}

export interface SegmentResult {
  readonly path: string
  readonly size: number
  /** SHA-256 of the file, hex. */
  readonly sha256: string
  readonly manifest: SegmentManifest
  readonly batches: readonly { readonly baseOffset: number; readonly lastOffset: number; readonly crc: number }[]
}

/** The names of a segment's files, in the order in which they lie in the tar. */
export function memberNames(baseOffset: number) {
  const base = String(baseOffset).padStart(20, '0')
  return {
    manifest: 'segment.json',
    log: `${base}.log`,
    index: `${base}.index`,
    timeindex: `${base}.timeindex`,
    txnindex: `${base}.txnindex`,
    search: 'search.db',
    filter: 'search.filter'
  } as const
}

/**
 * Writes the segment to `file`, which appears there whole and durable or not at all. The same plan, batches and limit give the
 * same bytes. The batches are gone through twice, and have to be the same both times; each is done with when the next is asked
 * for. A batch whose records cannot be read, because it grows beyond `maxDecompressedBytes` or for another reason, is stored as
 * it is and listed as not indexed. Throws SEGMENT_CORRUPT when batches and gaps do not cover the planned range.
 */
export function writeSegment(
  plan: SegmentPlan,
  batches: Iterable<SegmentBatch>,
  file: string,
  maxDecompressedBytes?: number
): SegmentResult {
  const searchFile = `${file}.search.tmp`
  const tarFile = `${file}.tmp`
  const removeTemporary = (): void => {
    for (const temporary of [searchFile, tarFile]) removePiecewise(temporary)
  }
  removeTemporary()
  try {
    const written = writeParts(plan, batches, searchFile, maxDecompressedBytes)
    const log = { size: written.manifest.logBytes, pieces: logPieces(batches, written) }
    const stored = writeTar(plan.baseOffset, written, log, searchFile, tarFile)
    renameSync(tarFile, file)
    syncFolder(path.dirname(file))
    return { path: file, ...stored, manifest: written.manifest, batches: written.batches }
  } finally {
    removeTemporary()
  }
}

interface WrittenParts {
  readonly manifest: SegmentManifest
  readonly index: Buffer
  readonly timeindex: Buffer
  readonly txnindex: Buffer
  readonly filter: Buffer
  readonly batches: { baseOffset: number; lastOffset: number; crc: number }[]
  /** Those that were wrong, by base offset. */
  readonly maxTimestamps: ReadonlyMap<number, number>
}

function writeParts(
  plan: SegmentPlan,
  source: Iterable<SegmentBatch>,
  searchFile: string,
  maxDecompressedBytes: number | undefined
): WrittenParts {
  const tally = new Tally(plan)
  using search = new SearchIndexBuilder(searchFile)
  const batches: WrittenParts['batches'] = []
  const maxTimestamps = new Map<number, number>()
  const notIndexed: NotIndexed[] = []
  for (const { batch: given, fromBroker } of source) {
    const read = given.header.isControl ? NO_RECORDS : readRecords(given, maxDecompressedBytes)
    const batch = fromBroker ? given : withTrueMaxTimestamp(given, read)
    const { baseOffset, lastOffset, crc, maxTimestamp } = batch.header
    if (batch !== given) maxTimestamps.set(baseOffset, maxTimestamp)
    const isUnread = read instanceof MillraceError
    if (isUnread) notIndexed.push({ baseOffset, lastOffset, reason: read.message })
    const records = isUnread ? NO_RECORDS : read
    tally.add(batch, records)
    for (const record of records) search.add(record)
    batches.push({ baseOffset, lastOffset, crc })
  }
  const filter = search.filter()
  search.finish()
  const { counted, ...indexes } = tally.finish()
  const { clusterId, topic, topicId, partition, baseOffset, nextOffset, gaps, createdBy } = plan
  const manifest: SegmentManifest = {
    formatVersion: SEGMENT_FORMAT_VERSION,
    ...{ clusterId, topic, topicId, partition, baseOffset, nextOffset },
    ...counted,
    gaps: [...gaps],
    rewrittenByBroker: [...maxTimestamps.keys()].map(baseOffset => ({ baseOffset, field: 'maxTimestamp' })),
    ...(notIndexed.length > 0 && { notIndexed }),
    createdBy
  }
  return { manifest, ...indexes, filter, batches, maxTimestamps }
}

/** The log's bytes, as they were counted. */
function* logPieces(source: Iterable<SegmentBatch>, { batches, maxTimestamps }: WrittenParts): Generator<Buffer> {
  let count = 0
  for (const { batch: given } of source) {
    const max = maxTimestamps.get(given.header.baseOffset)
    const batch = max === undefined ? given : given.withMaxTimestamp(max)
    const { baseOffset, crc } = batch.header
    if (batches[count++]?.crc !== crc) throw new Error(`the batch at offset ${baseOffset} is another one now`)
    yield batch.toWire()
  }
}

function writeTar(
  baseOffset: number,
  { manifest, index, timeindex, txnindex, filter }: WrittenParts,
  log: TarSource,
  searchFile: string,
  tarFile: string
): { size: number; sha256: string } {
  const names = memberNames(baseOffset)
  const tar = new GzipTarWriter(tarFile)
  try {
    tar.add(names.manifest, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`))
    tar.add(names.log, log)
    tar.add(names.index, index)
    tar.add(names.timeindex, timeindex)
    tar.add(names.txnindex, txnindex)
    tar.add(names.search, filePieces(searchFile))
    tar.add(names.filter, filter)
    return tar.finish()
  } catch (error) {
    tar.close()
    throw error
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
