// Builds a segment file from batches in one pass. Memory does not grow with the segment: log and search index go to files.
import { closeSync, fstatSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import { MillraceError } from '../errors.ts'
import type { CanonicalBatch } from '../kafka/batch.ts'
import { NO_RECORDS, readRecords } from '../kafka/read-records.ts'
import { GzipTarWriter } from './gzip-tar.ts'
import type { NotIndexed, SegmentManifest } from './manifest.ts'
import { SEGMENT_FORMAT_VERSION } from './manifest.ts'
import { withTrueMaxTimestamp } from './max-timestamp.ts'
import { SearchIndexBuilder } from './search-index.ts'
import type { SegmentRange } from './tally.ts'
import { Tally } from './tally.ts'

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
 * same bytes. A batch whose records cannot be read, because it grows beyond `maxDecompressedBytes` or for another reason, is
 * stored as it is and listed as not indexed. Throws SEGMENT_CORRUPT when batches and gaps do not cover the planned range.
 */
export function writeSegment(
  plan: SegmentPlan,
  batches: Iterable<SegmentBatch>,
  file: string,
  maxDecompressedBytes?: number
): SegmentResult {
  const logFile = `${file}.log.tmp`
  const searchFile = `${file}.search.tmp`
  const tarFile = `${file}.tmp`
  const removeTemporary = (): void => {
    for (const temporary of [logFile, searchFile, tarFile]) rmSync(temporary, { force: true })
  }
  removeTemporary()
  try {
    const written = writeParts(plan, batches, { logFile, searchFile, maxDecompressedBytes })
    const stored = writeTar(plan.baseOffset, written, logFile, searchFile, tarFile)
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
}

interface PartsOptions {
  readonly logFile: string
  readonly searchFile: string
  readonly maxDecompressedBytes: number | undefined
}

function writeParts(
  plan: SegmentPlan,
  source: Iterable<SegmentBatch>,
  { logFile, searchFile, maxDecompressedBytes }: PartsOptions
): WrittenParts {
  const tally = new Tally(plan)
  using search = new SearchIndexBuilder(searchFile)
  const log = openSync(logFile, 'w')
  const batches: WrittenParts['batches'] = []
  const rewrittenByBroker: SegmentManifest['rewrittenByBroker'] = []
  const notIndexed: NotIndexed[] = []
  let filter: Buffer
  try {
    for (const { batch: given, fromBroker } of source) {
      const read = given.header.isControl ? NO_RECORDS : readRecords(given, maxDecompressedBytes)
      const batch = fromBroker ? given : withTrueMaxTimestamp(given, read)
      const { baseOffset, lastOffset, crc } = batch.header
      if (batch !== given) rewrittenByBroker.push({ baseOffset, field: 'maxTimestamp' })
      const isUnread = read instanceof MillraceError
      if (isUnread) notIndexed.push({ baseOffset, lastOffset, reason: read.message })
      const records = isUnread ? NO_RECORDS : read
      tally.add(batch, records)
      for (const record of records) search.add(record)
      const wire = batch.toWire()
      for (let at = 0; at < wire.length; ) at += writeSync(log, wire, at)
      batches.push({ baseOffset, lastOffset, crc })
    }
    filter = search.filter()
    search.finish()
  } finally {
    closeSync(log)
  }
  const { counted, ...indexes } = tally.finish()
  const { clusterId, topic, topicId, partition, baseOffset, nextOffset, gaps, createdBy } = plan
  const manifest: SegmentManifest = {
    formatVersion: SEGMENT_FORMAT_VERSION,
    ...{ clusterId, topic, topicId, partition, baseOffset, nextOffset },
    ...counted,
    gaps: [...gaps],
    rewrittenByBroker,
    ...(notIndexed.length > 0 && { notIndexed }),
    createdBy
  }
  return { manifest, ...indexes, filter, batches }
}

function writeTar(
  baseOffset: number,
  { manifest, index, timeindex, txnindex, filter }: WrittenParts,
  logFile: string,
  searchFile: string,
  tarFile: string
): { size: number; sha256: string } {
  const names = memberNames(baseOffset)
  const tar = new GzipTarWriter(tarFile)
  try {
    tar.add(names.manifest, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`))
    addFile(tar, names.log, logFile)
    tar.add(names.index, index)
    tar.add(names.timeindex, timeindex)
    tar.add(names.txnindex, txnindex)
    addFile(tar, names.search, searchFile)
    tar.add(names.filter, filter)
    return tar.finish()
  } catch (error) {
    tar.close()
    throw error
  }
}

function addFile(tar: GzipTarWriter, name: string, file: string): void {
  const fd = openSync(file, 'r')
  try {
    tar.add(name, { fd, size: fstatSync(fd).size })
  } finally {
    closeSync(fd)
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
