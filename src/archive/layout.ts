// Where things are in an archive: the keys of one partition's objects, and what a key says.
import type { StreamKey } from '../wal/stream.ts'

const DIGITS = 20

/** An offset as it stands in names, so that they sort by it. */
export function offsetName(offset: number): string {
  return String(offset).padStart(DIGITS, '0')
}

/** The common prefix of a partition's objects. */
export function partitionPrefix({ clusterId, topic, topicId, partition }: StreamKey): string {
  return `${clusterId}/${topic}/${topicId}/${partition}/`
}

export function rootKey(stream: StreamKey): string {
  return `${partitionPrefix(stream)}root.json`
}

export function segmentKey(stream: StreamKey, baseOffset: number): string {
  return `${partitionPrefix(stream)}${offsetName(baseOffset)}.tar.gz`
}

/** A batch that the archive's main line does not have, beside it. */
export function extraKey(stream: StreamKey, baseOffset: number, crc: number): string {
  return `${partitionPrefix(stream)}extra/${offsetName(baseOffset)}-${crc.toString(16).padStart(8, '0')}.tar.gz`
}

/** What the name of an object inside a partition stands for; null for anything else. */
export type ObjectName =
  | { readonly kind: 'root' }
  | { readonly kind: 'segment' | 'merged' | 'trim' | 'extra'; readonly offset: number }

const patterns = [
  ['segment', /^(\d{20})\.tar\.gz$/],
  ['merged', /^(\d{20})\.merged\.tar\.gz$/],
  ['trim', /^trim\/(\d{20})\.json$/],
  ['extra', /^extra\/(\d{20})-[0-9a-f]{8}\.tar\.gz$/]
] as const

export function parseObjectName(name: string): ObjectName | null {
  if (name === 'root.json') return { kind: 'root' }
  for (const [kind, pattern] of patterns) {
    const match = pattern.exec(name)
    if (match) return { kind, offset: Number(match[1]) }
  }
  return null
}

/** The partition that a key belongs to, and the rest of the key; null for a key of another kind. */
export function parseKey(key: string): { stream: StreamKey; name: string } | null {
  const match = /^([^/]+)\/([^/]+)\/([\w-]{22})\/(\d+)\/(.+)$/.exec(key)
  if (!match) return null
  const [, clusterId, topic, topicId, partition, name] = match
  return {
    stream: { clusterId: clusterId!, topic: topic!, topicId: topicId!, partition: Number(partition) },
    name: name!
  }
}
