// Looks at an archive from outside: unpacks segments with tar and compares them with the broker's own files.
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { tempFolder } from './temp.ts'

const run = promisify(execFile)

/** The segment files of an archive folder (or a bucket's folder), by topic and partition, in offset order. */
export async function segmentObjects(folder: string, topic: string, partition: number): Promise<string[]> {
  const names = await readdir(folder, { recursive: true })
  const pattern = new RegExp(`(^|/)${topic}/[\\w-]{22}/${partition}/\\d{20}\\.tar\\.gz$`)
  return names
    .filter(name => pattern.test(name))
    .sort()
    .map(name => join(folder, name))
}

/** Unpacks a segment with tar into a new folder and gives its files' names, in tar's order. */
export async function untar(segment: string, into: string): Promise<string[]> {
  await mkdir(into, { recursive: true })
  await run('tar', ['xzf', segment, '-C', into])
  const { stdout } = await run('tar', ['tzf', segment])
  return stdout.trim().split('\n')
}

/** A log's bytes with the leader epoch of every batch zeroed: the broker stamps it after a batch was captured. */
export async function logWithoutEpochs(file: string): Promise<Buffer> {
  const log = await readFile(file)
  for (let at = 0; at + 12 <= log.length; at += log.readInt32BE(at + 8) + 12) log.fill(0, at + 12, at + 16)
  return log
}

/** The logs of all of a partition's segments one after the other, without epochs. */
export async function archivedLog(folder: string, topic: string, partition: number): Promise<Buffer> {
  await using temp = await tempFolder('log')
  const logs: Buffer[] = []
  for (const segment of await segmentObjects(folder, topic, partition)) {
    const files = await untar(segment, temp.path)
    logs.push(await logWithoutEpochs(join(temp.path, files.find(name => name.endsWith('.log'))!)))
  }
  return Buffer.concat(logs)
}

/** The `segment.json` of each of a partition's segments, in offset order. */
export async function manifests(folder: string, topic: string, partition: number): Promise<SegmentManifest[]> {
  const segments = await segmentObjects(folder, topic, partition)
  return await Promise.all(
    segments.map(async segment => {
      const { stdout } = await run('tar', ['xzOf', segment, 'segment.json'])
      return JSON.parse(stdout) as SegmentManifest
    })
  )
}

/** Where two logs differ first: null when they are equal, else what stands there in each, for the message of a test. */
export function logDifference(archived: Buffer, brokers: Buffer): object | null {
  if (archived.equals(brokers)) return null
  const [ours, theirs] = [batchesAt(archived), batchesAt(brokers)]
  const place = ours.findIndex((batch, i) => batch !== theirs[i])
  const at = place < 0 ? ours.length : place
  return { batch: at, archived: ours.slice(at, at + 3), brokers: theirs.slice(at, at + 3) }
}

/** One text for each batch of a log: its offsets, size and CRC. */
function batchesAt(log: Buffer): string[] {
  const batches: string[] = []
  for (let at = 0; at + 27 <= log.length; at += log.readInt32BE(at + 8) + 12) {
    const base = Number(log.readBigInt64BE(at))
    const crc = log.readUInt32BE(at + 17).toString(16)
    batches.push(`${base}-${base + log.readInt32BE(at + 23)}, ${log.readInt32BE(at + 8) + 12} bytes, CRC ${crc}`)
  }
  return batches
}
