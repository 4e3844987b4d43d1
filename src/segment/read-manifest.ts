// A segment's manifest alone, from the segment's beginning, where the table of contents at its end is not needed.
import { MillraceError, messageOf } from '../errors.ts'
import { leadingMember } from './gzip-member.ts'
import type { SegmentManifest } from './manifest.ts'
import { parseManifest } from './manifest.ts'
import type { RangeSource } from './range-source.ts'
import { TAR_BLOCK, tarHeader } from './tar-format.ts'

/** What most manifests need, compressed, with room to spare. */
const MANIFEST_READ_BYTES = 16 * 1024
const MAX_MANIFEST_READ_BYTES = 64 * 1024 * 1024
/** Where the size stands in a tar header: eleven octal digits. */
const TAR_SIZE = { start: 124, end: 135 } as const

/**
 * Reads only the manifest, which is the first file of the tar and alone in its gzip members: one request for most.
 * Throws SEGMENT_CORRUPT, or what the source throws.
 */
export async function readManifest(source: RangeSource): Promise<SegmentManifest> {
  const corrupt = (reason: string, cause?: unknown): MillraceError =>
    new MillraceError('SEGMENT_CORRUPT', `${source.name}: segment.json at its start: ${reason}`, {
      cause,
      hint: 'It is cut off or damaged, or it is not a segment of Millrace.'
    })
  for (let bytes = MANIFEST_READ_BYTES; bytes <= MAX_MANIFEST_READ_BYTES; bytes *= 16) {
    const head = await source.get(0, bytes)
    let json: string | undefined
    try {
      json = firstFile(head, 'segment.json')
    } catch (cause) {
      throw corrupt(messageOf(cause), cause)
    }
    if (json !== undefined) return parseManifest(json, source.name)
    if (head.length < bytes) throw corrupt('it is cut off')
  }
  throw corrupt(`it takes more than ${MAX_MANIFEST_READ_BYTES} bytes`)
}

/** The contents of the first file of a tar.gz; undefined where `head` does not reach to its end. Throws RangeError. */
function firstFile(head: Buffer, name: string): string | undefined {
  const parts: Buffer[] = []
  let size: number | undefined
  for (let at = 0, inflated = 0; size === undefined || inflated < TAR_BLOCK + size; ) {
    const member = leadingMember(head.subarray(at), MAX_MANIFEST_READ_BYTES)
    if (member === undefined) return undefined
    parts.push(member.contents)
    at += member.bytes
    inflated += member.contents.length
    size ??= sizeIn(member.contents, name)
  }
  return Buffer.concat(parts).toString('utf8', TAR_BLOCK, TAR_BLOCK + size)
}

/** The size that a tar header states, which must be the header of this file. */
function sizeIn(tar: Buffer, name: string): number {
  const size = Number.parseInt(tar.toString('latin1', TAR_SIZE.start, TAR_SIZE.end), 8)
  if (!(size <= MAX_MANIFEST_READ_BYTES) || !tar.subarray(0, TAR_BLOCK).equals(tarHeader(name, size))) {
    throw new RangeError('there is another file, or none')
  }
  return size
}
