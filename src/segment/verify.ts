// Re-reads a segment: every CRC, every count and hash, both indexes and the search index, against its manifest.
import { isMillraceError, messageOf } from '../errors.ts'
import { CanonicalBatch } from '../kafka/batch.ts'
import type { SegmentManifest } from './manifest.ts'
import type { SearchIndex } from './search-index.ts'
import { Tally } from './tally.ts'

export interface SegmentFault {
  /** The offset that it concerns, where it concerns one. */
  readonly offset?: number
  readonly message: string
}

/** What is verified; a SegmentReader is one. */
export interface VerifiableSegment {
  readonly manifest: SegmentManifest
  rawBatches(): AsyncGenerator<{ bytes: Buffer; position: number }>
  file(kind: 'index' | 'timeindex' | 'txnindex'): Promise<Buffer>
  searchIndex(): Promise<SearchIndex>
}

/** What cannot be computed from a segment alone. */
const fromPredecessor: ReadonlySet<string> = new Set(['chainSha256', 'openTransactions', 'abortedTransactions'])

/** What a segment continues: the manifest of the one before it, null for the first of a partition. */
export type Predecessor = Pick<SegmentManifest, 'chainSha256' | 'openTransactions'> | null

/**
 * All faults of a segment; none when it is whole. Without `predecessor`, what follows from the segments before it as well
 * (chain hash, transactions) is not compared.
 */
export async function verifySegment(segment: VerifiableSegment, predecessor?: Predecessor): Promise<SegmentFault[]> {
  const faults: SegmentFault[] = []
  const { manifest } = segment
  const tally = new Tally({
    ...manifest,
    previousChainSha256: predecessor?.chainSha256 ?? null,
    openTransactions: predecessor?.openTransactions ?? []
  })
  let whole = true
  const attempt = async (work: () => Promise<void> | void, offset?: number): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (!isMillraceError(error)) throw error
      whole = false
      faults.push({ ...(offset === undefined ? {} : { offset }), message: messageOf(error) })
    }
  }

  await attempt(async () => {
    for await (const { bytes } of segment.rawBatches()) {
      // A batch with a wrong CRC is reported with its offset, and what follows is still read.
      const offset = bytes.readInt32BE(0) * 2 ** 32 + bytes.readUInt32BE(4)
      await attempt(() => {
        const { batch } = CanonicalBatch.fromWire(bytes)
        const records = [...batch.records()]
        if (whole) tally.add(batch, batch.header.isControl ? [] : records)
      }, offset)
    }
  })

  if (whole) {
    await attempt(async () => {
      const { counted, ...indexes } = tally.finish()
      for (const [key, value] of Object.entries(counted)) {
        if (predecessor === undefined && fromPredecessor.has(key)) continue
        const stated = manifest[key as keyof typeof counted]
        if (JSON.stringify(stated) !== JSON.stringify(value)) {
          faults.push({
            message: `segment.json says ${key} ${JSON.stringify(stated)}, the log gives ${JSON.stringify(value)}`
          })
        }
      }
      for (const kind of ['index', 'timeindex'] as const) {
        if (!indexes[kind].equals(await segment.file(kind)))
          faults.push({ message: `the .${kind} does not belong to the log` })
      }
    })
  }
  await attempt(async () => {
    using search = await segment.searchIndex()
    if (search.size !== manifest.records) {
      faults.push({ message: `search.db indexes ${search.size} records, segment.json says ${manifest.records}` })
    }
  })
  return faults
}
