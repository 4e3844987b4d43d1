// Where a page of matches ended, as text that the next page is asked for with.
import { z } from 'zod'
import { MillraceError } from '../errors.ts'
import type { Order, Place } from './order.ts'
import { orders } from './order.ts'

/** Where to go on. */
export interface Cursor extends Place {
  /** With the order rank: what each of the query's operands counts. The first page's, so that new records change no order. */
  readonly weights: readonly number[]
}

const whole = z.number().int()
const ranking = z.tuple([z.number(), z.array(z.number())])
const cursorSchema = z.tuple([
  z.enum(orders),
  whole,
  z.string(),
  whole,
  z.string(),
  z.string(),
  whole,
  ranking.optional()
])

export function encodeCursor({ stream, timestamp, offset, rank, weights }: Cursor, order: Order): string {
  const { topic, partition, clusterId, topicId } = stream
  const fields: z.infer<typeof cursorSchema> = [order, timestamp, topic, partition, clusterId, topicId, offset]
  if (order === 'rank') fields.push([rank, [...weights]])
  return Buffer.from(JSON.stringify(fields)).toString('base64url')
}

/** Throws USAGE for what is no cursor, or one of a search in another order. */
export function decodeCursor(text: string, order: Order): Cursor {
  const parsed = cursorSchema.safeParse(parse(text))
  if (!parsed.success) throw new MillraceError('USAGE', `--cursor: must be one that a search has given (got ${text})`)
  const [ofOrder, timestamp, topic, partition, clusterId, topicId, offset, [rank, weights] = [0, []]] = parsed.data
  if (ofOrder !== order) throw new MillraceError('USAGE', `--cursor: is of a search with --order ${ofOrder}`)
  return { stream: { clusterId, topic, topicId, partition }, timestamp, offset, rank, weights }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString())
  } catch {
    return undefined
  }
}
