// Which records a command is asked for, beside any query: from flags as they are written to values that are checked.
import { MillraceError } from '../errors.ts'
import type { Cursor } from './cursor.ts'
import { decodeCursor } from './cursor.ts'
import type { Order } from './order.ts'
import { orders } from './order.ts'

export const isolations = ['read_uncommitted', 'read_committed'] as const

export type Isolation = (typeof isolations)[number]

/** What a user wrote; absent means not restricted. */
export interface SelectionFlags {
  readonly topic?: readonly string[] | undefined
  readonly partition?: number | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly offsets?: string | undefined
  readonly order?: string | undefined
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
  readonly isolation?: string | undefined
  readonly topicId?: string | undefined
  readonly allIncarnations?: boolean | undefined
}

export interface Selection {
  /** None: all topics. */
  readonly topics: readonly string[]
  readonly partition: number | undefined
  /** Milliseconds since the epoch, from inclusive, to exclusive. */
  readonly fromTime: number | undefined
  readonly toTime: number | undefined
  /** From inclusive, to exclusive. */
  readonly fromOffset: number
  readonly toOffset: number
  readonly order: Order
  readonly limit: number
  /** Only what comes behind this place in the order. */
  readonly after: Cursor | undefined
  readonly isolation: Isolation
  /** Only this incarnation of a topic; else the newest of each name, or all. */
  readonly topicId: string | undefined
  readonly allIncarnations: boolean
}

/** Checks flags. `now` is what relative times count from. Throws USAGE that names the flag, the rule and what was written. */
export function parseSelection(flags: SelectionFlags, now: number = Date.now()): Selection {
  const { topic = [], partition, from, to, offsets, order = 'newest', limit = 100, cursor, topicId } = flags
  const { isolation = 'read_uncommitted' } = flags
  if (partition !== undefined) wholeNumber('--partition', partition, 0)
  if (!isOneOf(orders, order)) throw usage('--order', 'must be newest, oldest or rank', order)
  if (!isOneOf(isolations, isolation)) {
    throw usage('--isolation', 'must be read_uncommitted or read_committed', isolation)
  }
  const selection: Selection = {
    topics: topic,
    partition,
    fromTime: from === undefined ? undefined : parseTime('--from', from, now),
    toTime: to === undefined ? undefined : parseTime('--to', to, now),
    ...(offsets === undefined ? ALL_OFFSETS : parseOffsets(offsets)),
    order,
    limit: wholeNumber('--limit', limit, 1),
    after: cursor === undefined ? undefined : decodeCursor(cursor, order),
    isolation,
    topicId,
    allIncarnations: flags.allIncarnations ?? false
  }
  const { fromTime, toTime } = selection
  if (fromTime !== undefined && toTime !== undefined && fromTime >= toTime) {
    throw usage('--from', `must be before --to ${to}`, from)
  }
  if (topicId !== undefined && selection.allIncarnations) {
    throw usage('--topic-id', 'cannot be used with --all-incarnations', topicId)
  }
  return selection
}

const ALL_OFFSETS = { fromOffset: 0, toOffset: Number.MAX_SAFE_INTEGER } as const

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** A time in UTC unless it says otherwise, or how long ago. */
function parseTime(flag: string, text: string, now: number): number {
  const ago = /^-(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  if (ago) return Math.round(now - Number(ago[1]) * units[ago[2] as keyof typeof units])
  const iso = /^(\d{4}-\d\d-(\d\d))(T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/.exec(text)
  const time = iso ? Date.parse(iso[3] !== undefined && iso[4] === undefined ? `${text}Z` : text) : Number.NaN
  // Date.parse takes February 30th for March 2nd.
  const isDay = iso !== null && new Date(`${iso[1]}T00:00Z`).getUTCDate() === Number(iso[2])
  if (Number.isNaN(time) || !isDay) {
    throw usage(flag, 'must be an ISO time, such as 2026-11-24T10:15:00Z, or how long ago, such as -2h', text)
  }
  return time
}

function parseOffsets(text: string): Pick<Selection, 'fromOffset' | 'toOffset'> {
  const match = /^(\d*)\.\.(\d*)$/.exec(text)
  const fromOffset = Number(match?.[1] || ALL_OFFSETS.fromOffset)
  const toOffset = Number(match?.[2] || ALL_OFFSETS.toOffset)
  if (match === null || text === '..' || fromOffset >= toOffset) {
    throw usage('--offsets', 'must be a..b, from offset a up to, not including, b; either may be left out', text)
  }
  return { fromOffset, toOffset }
}

function isOneOf<T extends string>(values: readonly T[], text: string): text is T {
  return (values as readonly string[]).includes(text)
}

function wholeNumber(flag: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw usage(flag, `must be a whole number of ${least} or more`, value)
}

function usage(flag: string, rule: string, got: unknown): MillraceError {
  return new MillraceError('USAGE', `${flag}: ${rule} (got ${got})`)
}
