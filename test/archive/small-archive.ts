// An archive in a folder of its own, filled through the real writer and the real store.
import { join } from 'node:path'
import { Archive } from '../../src/archive/archive.ts'
import { Catalog } from '../../src/archive/catalog.ts'
import { openObjectStore } from '../../src/archive/object-store.ts'
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import type { SegmentPlan, SegmentResult } from '../../src/segment/writer.ts'
import { writeSegment } from '../../src/segment/writer.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { tempFolder } from '../support/temp.ts'

/** A batch of records at these offsets. */
export function batchAt(...offsets: number[]): CanonicalBatch {
  return encodeBatch(
    offsets.map(offset => ({
      offset,
      timestamp: 1_764_072_000_000 + offset,
      key: null,
      value: Buffer.from(`record ${offset}`),
      headers: []
    }))
  )
}

export interface SegmentContents extends Partial<SegmentPlan> {
  readonly nextOffset: number
  readonly batches: readonly CanonicalBatch[]
  /** False for batches as producers sent them. */
  readonly fromBroker?: boolean
  /** What one of them may grow to, for it to be indexed. */
  readonly maxDecompressedBytes?: number
}

export interface SmallArchive extends AsyncDisposable {
  readonly archive: Archive
  readonly url: string
  /** The folder of the store. */
  readonly folder: string
  /** The same archive, opened by another with an empty catalog. */
  reopen(): Promise<Archive>
  /** Builds the segment that goes on where the chain ends, and puts it there; begins the chain if need be, at `baseOffset` or 0. */
  append(stream: StreamKey, contents: SegmentContents): Promise<SegmentManifest>
  putExtra(stream: StreamKey, batch: CanonicalBatch): Promise<void>
}

export async function smallArchive(): Promise<SmallArchive> {
  const temp = await tempFolder('archive')
  const folder = join(temp.path, 'archive')
  const url = `file:${folder}`
  const open = async () => new Archive(await openObjectStore(url), Catalog.open(null, url))
  const archive = await open()
  type Source = Pick<SegmentContents, 'batches' | 'fromBroker' | 'maxDecompressedBytes'>
  const build = (plan: SegmentPlan, { batches, fromBroker = true, maxDecompressedBytes }: Source) =>
    writeSegment(
      plan,
      batches.map(batch => ({ batch, fromBroker })),
      join(temp.path, 'segment.tar.gz'),
      maxDecompressedBytes
    )
  const none = { gaps: [], previousChainSha256: null, openTransactions: [], createdBy: 'test' }
  return {
    archive,
    url,
    folder,
    reopen: open,
    async append(stream, { batches, fromBroker = true, maxDecompressedBytes, ...contents }) {
      const { root, links, end } = await archive.walk(stream)
      const baseOffset = root === null ? (contents.baseOffset ?? 0) : end
      if (root === null) await archive.createRoot(stream, baseOffset, 'test')
      const last = links.at(-1)?.manifest
      const continued = {
        previousChainSha256: last?.chainSha256 ?? null,
        openTransactions: last?.openTransactions ?? []
      }
      const segment: SegmentResult = build(
        { ...stream, ...none, ...continued, baseOffset, ...contents },
        { batches, fromBroker, ...(maxDecompressedBytes !== undefined && { maxDecompressedBytes }) }
      )
      if ((await archive.append(stream, segment)) === null) throw new Error(`${stream.topic} has a segment at ${end}`)
      return segment.manifest
    },
    async putExtra(stream, batch) {
      const { baseOffset, lastOffset } = batch.header
      const plan = { ...stream, ...none, baseOffset, nextOffset: lastOffset + 1 }
      await archive.putExtra(stream, build(plan, { batches: [batch] }))
    },
    async [Symbol.asyncDispose]() {
      await archive[Symbol.asyncDispose]()
      await temp.dispose()
    }
  }
}
