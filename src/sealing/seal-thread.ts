// The thread that builds segments: it reads the WAL's files and writes segment files, away from the produce path.
import { parentPort, workerData } from 'node:worker_threads'
import { isMillraceError, MillraceError } from '../errors.ts'
import { watchHeap } from '../heap-watch.ts'
import { CanonicalBatch } from '../kafka/batch.ts'
import { readRecords } from '../kafka/read-records.ts'
import { lowerThreadPriority, ThreadPriority } from '../low-priority.ts'
import { withTrueMaxTimestamp } from '../segment/max-timestamp.ts'
import type { SegmentBatch, SegmentPlan, SegmentResult } from '../segment/writer.ts'
import { writeSegment } from '../segment/writer.ts'
import { FrameFlag, WalRecord } from '../wal/frame.ts'
import type { WalEntry } from '../wal/reader.ts'
import { WalReader } from '../wal/reader.ts'
import type { TakeMemory } from '../wal/reused-memory.ts'
import { reusedMemory } from '../wal/reused-memory.ts'
import type { StreamKey } from '../wal/stream.ts'
import type { BatchIdentity } from './identity.ts'
import { identityOf } from './identity.ts'

/** What a captured batch is known by. */
export interface IdentifiedRow {
  /** The CRC after the max timestamp was set as a broker sets it. */
  readonly correctedCrc: number
  /** Null where that CRC is the one that was asked for, or the batch cannot be read. */
  readonly identity: BatchIdentity | null
}

/** The calls that the thread answers, one after the other. */
export interface SealCalls {
  /** A stream's batches in the WAL that hold offsets of [from, to), by base offset, and no more than some `bytes` of them. */
  entries(stream: StreamKey, from: number, to: number, bytes: number): WalEntry[]
  build(plan: SegmentPlan, rows: readonly WalEntry[], file: string): SegmentResult
  /** What is known of a row, up to what tells it from a batch with this CRC. */
  identify(row: WalEntry, crc: number): IdentifiedRow
  /** The same of a batch that is stored elsewhere; null where it cannot be read. */
  identifyStored(wire: Uint8Array): BatchIdentity | null
  /** Those of some rows that cannot be read, and why. */
  unreadable(rows: readonly WalEntry[]): UnreadableRow[]
}

export interface UnreadableRow {
  readonly row: WalEntry
  readonly reason: string
}

/** What the thread is started with. */
export interface SealThreadData {
  readonly walDirectory: string
  /** What one batch may grow to; one that would grow further is archived, and not indexed. */
  readonly maxDecompressedBytes: number
}

/** A deleted file takes its space for as long as it is open, and a full disk may wait for just that space. */
const CLOSE_DELETED_MS = 1000

lowerThreadPriority(ThreadPriority.BELOW_NORMAL)
watchHeap()
const { walDirectory, maxDecompressedBytes } = workerData as SealThreadData
const reader = WalReader.open(walDirectory)
const batchMemory = reusedMemory()
setInterval(() => reader.closeDeleted(), CLOSE_DELETED_MS)

const calls: SealCalls = {
  entries: (stream, from, to, bytes) => reader.entries(stream, from, to, bytes),

  build: (plan, rows, file) =>
    writeSegment(plan, { [Symbol.iterator]: () => batches(rows) }, file, maxDecompressedBytes),

  identify(row, crc) {
    const batch = readBatch(row)
    const read = readRecords(batch, maxDecompressedBytes)
    const correctedCrc = withTrueMaxTimestamp(batch, read).header.crc
    return { correctedCrc, identity: correctedCrc === crc ? null : identityOf(batch, read) }
  },

  identifyStored(wire) {
    const { batch } = CanonicalBatch.fromWire(Buffer.from(wire.buffer, wire.byteOffset, wire.length))
    return identityOf(batch, readRecords(batch, maxDecompressedBytes))
  },

  unreadable: rows =>
    rows.flatMap(row => {
      try {
        readBatch(row)
        return []
      } catch (error) {
        return isMillraceError(error, 'WAL_CORRUPT') ? { row, reason: error.message } : []
      }
    })
}

/** Each batch is done with when the next is asked for. */
function* batches(rows: readonly WalEntry[]): Generator<SegmentBatch> {
  for (const row of rows) {
    yield { batch: readBatch(row, batchMemory), fromBroker: (row.flags & FrameFlag.FETCHED) !== 0 }
  }
}

/** Throws WAL_CORRUPT, BATCH_CORRUPT. */
function readBatch(row: WalEntry, memory?: TakeMemory): CanonicalBatch {
  const batch = WalRecord.toCanonical(reader.read(row, memory))
  if (batch === null) throw new MillraceError('WAL_CORRUPT', `a single record lies among batches, at ${row.baseOffset}`)
  return batch
}

export interface SealRequest {
  readonly id: number
  readonly call: keyof SealCalls
  readonly args: readonly unknown[]
}

export interface SealAnswer {
  readonly id: number
  readonly result?: unknown
  readonly error?: { readonly code: string | undefined; readonly message: string; readonly hint: string | undefined }
}

parentPort!.on('message', ({ id, call, args }: SealRequest) => {
  let answer: SealAnswer
  try {
    answer = { id, result: (calls[call] as (...args: readonly unknown[]) => unknown)(...args) }
  } catch (error) {
    const { code, message, hint } = error as { code?: string; message: string; hint?: string }
    answer = { id, error: { code, message, hint } }
  }
  parentPort!.postMessage(answer)
})
