// Where a page of matches ended, as text that the next page is asked for with.
import { z } from 'zod'
import { MillraceError } from '../errors.ts'
import type { StreamKey } from '../wal/stream.ts'

/** A record's place in the order of matches. */
export interface Place {
  readonly stream: StreamKey
  readonly timestamp: number
  readonly offset: number
}

type Order = 'newest' | 'oldest'

const whole = z.number().int()
const cursorSchema = z.tuple([z.enum(['newest', 'oldest']), whole, z.string(), whole, z.string(), z.string(), whole])

export function encodeCursor({ stream, timestamp, offset }: Place, order: Order): string {
  const { topic, partition, clusterId, topicId } = stream
  const fields: z.infer<typeof cursorSchema> = [order, timestamp, topic, partition, clusterId, topicId, offset]
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/** Throws USAGE for what is no cursor, or one of a search in another order. */
export function decodeCursor(text: string, order: Order): Place {
  const parsed = cursorSchema.safeParse(parse(text))
  if (!parsed.success) throw new MillraceError('USAGE', `--cursor: must be one that a search has given (got ${text})`)
  const [ofOrder, timestamp, topic, partition, clusterId, topicId, offset] = parsed.data
  if (ofOrder !== order) throw new MillraceError('USAGE', `--cursor: is of a search with --order ${ofOrder}`)
  return { stream: { clusterId, topic, topicId, partition }, timestamp, offset }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString())
  } catch {
    return undefined
  }
}
