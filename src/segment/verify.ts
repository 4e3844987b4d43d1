// Re-reads a segment, every byte of it: every CRC, every count and hash, all indexes, against its manifest.
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import { CanonicalBatch } from '../kafka/batch.ts'
import { NO_RECORDS, readRecords } from '../kafka/read-records.ts'
import type { SegmentManifest } from './manifest.ts'
import type { SearchIndex } from './search-index.ts'
import { spansOf } from './spans.ts'
import { Tally } from './tally.ts'
import type { TermFilter } from './term-filter.ts'
import { encodeTxnIndex } from './txn-index.ts'

export interface SegmentFault {
  /** The offset that it concerns, where it concerns one. */
  readonly offset?: number
  readonly message: string
}

/** What is verified; a SegmentReader is one. */
export interface VerifiableSegment {
  manifest(): Promise<SegmentManifest>
  rawBatches(): AsyncGenerator<{ bytes: Buffer; position: number }>
  file(kind: 'index' | 'timeindex' | 'txnindex'): Promise<Buffer>
  searchIndex(): Promise<SearchIndex>
  filter(): Promise<TermFilter | null>
  /** Checks the tar around the files. */
  checkTar(): Promise<void>
}

/** What cannot be computed from a segment alone. */
const fromPredecessor: ReadonlySet<string> = new Set(['chainSha256', 'openTransactions', 'abortedTransactions'])

/** What a segment continues: the manifest of the one before it, null for the first of a partition. */
export type Predecessor = Pick<SegmentManifest, 'chainSha256' | 'openTransactions'> | null

/**
 * All faults of a segment; none when it is whole. Batches that it lists as not indexed are not decoded. Without `predecessor`,
 * what follows from the segments before it as well (chain hash, transactions) is not compared.
 */
export async function verifySegment(segment: VerifiableSegment, predecessor?: Predecessor): Promise<SegmentFault[]> {
  const faults: SegmentFault[] = []
  const manifest = await segment.manifest()
  const tally = new Tally({
    ...manifest,
    previousChainSha256: predecessor?.chainSha256 ?? null,
    openTransactions: predecessor?.openTransactions ?? []
  })
  const inLog = new Places()
  const notIndexed = new Map(manifest.notIndexed?.map(({ baseOffset, lastOffset }) => [baseOffset, lastOffset]))
  let whole = true
  let reached = manifest.baseOffset
  const attempt = async (work: () => Promise<void> | void, offset: () => number | undefined = () => undefined) => {
    try {
      await work()
    } catch (error) {
      if (!isDamage(error)) throw error
      whole = false
      const at = offset()
      faults.push({ ...(at === undefined ? {} : { offset: at }), message: messageOf(error) })
    }
  }

  await attempt(
    async () => {
      for await (const { bytes } of segment.rawBatches()) {
        // A batch with a wrong CRC is reported with its offset, and what follows is still read.
        const offset = bytes.readInt32BE(0) * 2 ** 32 + bytes.readUInt32BE(4)
        await attempt(
          () => {
            const { batch } = CanonicalBatch.fromWire(bytes)
            const { isControl, lastOffset } = batch.header
            const isNotIndexed = notIndexed.get(offset) === lastOffset && notIndexed.delete(offset)
            const read = isControl || isNotIndexed ? NO_RECORDS : readRecords(batch)
            if (read instanceof MillraceError) throw read
            if (whole) tally.add(batch, read)
            for (const record of read) inLog.add(record)
            reached = lastOffset + 1
          },
          () => offset
        )
      }
    },
    () => reached
  )

  let expected: Record<'index' | 'timeindex' | 'txnindex', Buffer> | undefined
  if (whole) {
    await attempt(async () => {
      const { counted, index, timeindex } = tally.finish()
      for (const [offset, lastOffset] of notIndexed) {
        const message = `segment.json says that a batch of offsets ${offset} to ${lastOffset} is not indexed, the log has none`
        faults.push({ offset, message })
      }
      for (const [key, value] of Object.entries(counted)) {
        if (predecessor === undefined && fromPredecessor.has(key)) continue
        const stated = manifest[key as keyof typeof counted]
        if (JSON.stringify(stated) !== JSON.stringify(value)) {
          faults.push({
            message: `segment.json says ${key} ${JSON.stringify(stated)}, the log gives ${JSON.stringify(value)}`
          })
        }
      }
      expected = { index, timeindex, txnindex: encodeTxnIndex(manifest.abortedTransactions) }
    })
  }
  for (const kind of ['index', 'timeindex', 'txnindex'] as const) {
    await attempt(async () => {
      const stored = await segment.file(kind)
      if (expected?.[kind].equals(stored) === false) faults.push({ message: `the .${kind} does not belong to the log` })
    })
  }
  await attempt(async () => {
    using search = await segment.searchIndex()
    search.check()
    const indexed = new Places()
    for (const record of search.records()) indexed.add(record)
    if (expected && !indexed.equals(inLog)) {
      faults.push({ message: `search.db is not of this log: it has ${indexed.count} records, the log ${inLog.count}` })
    }
    const filter = await segment.filter()
    if (manifest.formatVersion === 1) {
      if (filter !== null) faults.push({ message: 'search.filter: format version 1 has none' })
      return
    }
    if (!isDeepStrictEqual(search.spans(), spansOf(search.records()))) {
      faults.push({ message: 'search.db has spans that are not those of its records' })
    }
    const missing = missingWord(search, filter)
    if (missing !== undefined) faults.push({ message: `search.filter: it lacks ${missing}, which search.db has` })
  })
  await attempt(() => segment.checkTar())
  return faults
}

/** A word of an index which its filter says that no record has. */
function missingWord(search: SearchIndex, filter: TermFilter | null): string | undefined {
  if (filter === null) return 'every word'
  for (const page of search.wordPages()) {
    const missing = filter.firstMissing(page)
    if (missing !== undefined) return JSON.stringify(missing)
  }
  return undefined
}

/** Offsets and timestamps of records, of which only the digest is kept. */
class Places {
  readonly #hash = createHash('sha256')
  count = 0

  add({ offset, timestamp }: { offset: number; timestamp: number }): void {
    this.#hash.update(`${offset} ${timestamp}\n`)
    this.count++
  }

  /** Ends both. */
  equals(other: Places): boolean {
    return this.#hash.digest('hex') === other.#hash.digest('hex')
  }
}

/** False for a store that does not answer, and for an object that was merged or trimmed away: the segment is not at fault. */
function isDamage(error: unknown): boolean {
  return isMillraceError(error) && error.code !== 'STORE_FAILED' && error.code !== 'OBJECT_MISSING'
}
