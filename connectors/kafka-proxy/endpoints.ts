// Puts the proxy's addresses into the end of a Fetch or share group answer, of which everything before has gone out already.

import type { AnswerTail } from 'millrace/kafka'
import { writeTail } from 'millrace/kafka'
import type { NodeMap } from './rewrite.ts'
import { relocate } from './rewrite.ts'

/**
 * Numbers of the tagged field that fills what our addresses leave over. Every client skips tagged fields that it does not
 * know (KIP-482), and Kafka counts its own up from 0. One number takes a byte and the other two, so that any gap from two
 * bytes on can be filled, whatever its length takes.
 */
const PADDING_TAGS = [127, 16_383]

/**
 * The tail with our addresses in it, as long as it was: the frame's size went out with its first bytes. What our addresses
 * need less is padding. Where they need more, the last brokers are left out: they are hints, which spare clients a
 * request for metadata and which brokers give only beside NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH; a client finds
 * the leader, whose id it is told all the same, by the metadata that it has or asks for. To keep whole answers back until it
 * is known whether they name somebody would cost 50 MiB a connection.
 */
export async function relocateTail(
  key: number,
  version: number,
  { bytes, tail }: { bytes: Buffer; tail: AnswerTail },
  nodes: NodeMap
): Promise<Buffer> {
  const ours = await relocate(tail.nodeEndpoints ?? [], node => node.nodeId, nodes)
  for (let count = ours.length; count > 0; count--) {
    const fitting = padded(key, version, { ...tail, nodeEndpoints: ours.slice(0, count) }, bytes.length)
    if (fitting !== null) return fitting
  }
  // An empty list takes less than any that named somebody, by more than padding needs.
  return padded(key, version, { ...tail, nodeEndpoints: [] }, bytes.length)!
}

/** The tail in exactly `size` bytes, or null if there is no such. */
function padded(key: number, version: number, tail: AnswerTail, size: number): Buffer | null {
  const plain = writeTail(key, version, tail)
  if (plain.length === size) return plain
  for (const tag of PADDING_TAGS) {
    const withPadding = (length: number) => {
      const unknownTags = [...(tail.unknownTags ?? []), { tag, data: Buffer.alloc(length) }]
      return writeTail(key, version, { ...tail, unknownTags })
    }
    const spare = size - withPadding(0).length
    // A length of 128 and more takes further bytes.
    for (let length = spare; length >= 0 && length > spare - 4; length--) {
      const filled = withPadding(length)
      if (filled.length === size) return filled
    }
  }
  return null
}
