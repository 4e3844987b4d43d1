// The parameters of calls that search and read: declared once, as options are, under the names that the flags of `millrace
// search` and `millrace read` have.
import { z } from 'zod'
import type { Fault, Options, RawValue, Values } from '../connect/options.ts'
import * as option from '../connect/options.ts'
import { formatFault, parseOptions } from '../connect/options.ts'
import { isMillraceError, MillraceError } from '../errors.ts'
import type { Selection } from '../search/selection.ts'
import { parseSelection } from '../search/selection.ts'

const query = { schema: z.string(), default: '', doc: 'what to find' } as const
const topics = { schema: option.list, default: '', doc: 'only these topics' } as const
const partition = { schema: option.integer(0, 2 ** 31 - 1), optional: true, doc: 'a partition' } as const
const topicId = { schema: option.text, optional: true, doc: 'the topic with this id' } as const
const isolation = {
  schema: option.oneOf('read_uncommitted', 'read_committed'),
  default: 'read_uncommitted',
  doc: 'read_committed: nothing of transactions that were aborted or are still open'
} as const
const whether = { schema: option.boolean, default: 'false' } as const

export const searchParameters = {
  q: query,
  topic: topics,
  partition,
  from: { schema: option.text, optional: true, doc: 'from this timestamp on' },
  to: { schema: option.text, optional: true, doc: 'before this timestamp' },
  offsets: { schema: option.text, optional: true, doc: 'a..b' },
  order: { schema: option.oneOf('newest', 'oldest', 'rank'), optional: true, doc: 'which records come first' },
  limit: { schema: option.integer(1, Number.MAX_SAFE_INTEGER), default: '100', doc: 'so many records at most' },
  cursor: { schema: option.text, optional: true, doc: 'go on behind the records of an earlier answer' },
  'topic-id': topicId,
  'all-incarnations': { ...whether, doc: 'also deleted topics of the same name' },
  isolation,
  count: { ...whether, doc: 'only how many records match' },
  follow: { ...whether, doc: 'go on with what is captured from now on' }
} as const satisfies Options

export const recordsParameters = {
  topic: { schema: option.text, doc: 'the topic' },
  partition: { ...partition, default: '0' },
  offset: {
    schema: option.integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    default: '0',
    doc: 'from this offset on, or from so many before the end: -10'
  },
  count: { schema: option.integer(1, Number.MAX_SAFE_INTEGER), default: '10', doc: 'so many records at most' },
  isolation,
  'topic-id': topicId
} as const satisfies Options

export const suggestParameters = {
  q: { schema: option.text, doc: 'what was typed' },
  topic: topics
} as const satisfies Options

export type SearchParameters = Values<typeof searchParameters>
export type RecordsParameters = Values<typeof recordsParameters>
export type SuggestParameters = Values<typeof suggestParameters>

/** Checks the parameters of a URL. Throws USAGE with what is wrong with each. */
export function readParameters<D extends Options>(declared: D, given: unknown): Values<D> {
  const raw = new Map<string, RawValue>()
  for (const [name, value] of Object.entries(given as Record<string, string | string[]>)) {
    const isOnce = typeof value === 'string' || declared[name]?.schema === option.list
    const text = typeof value === 'string' ? value : value.join()
    raw.set(name, { text, source: '', ...(!isOnce && { broken: 'must be given once' }) })
  }
  const { values, faults } = parseOptions(declared, raw, '')
  if (faults.length > 0) throw new MillraceError('USAGE', faults.map(shown).join('; '), { hint: known(declared) })
  return values
}

function shown(fault: Fault): string {
  return formatFault(fault).replace(/^: /, '')
}

function known(declared: Options): string {
  return `The parameters are ${Object.keys(declared).join(', ')}.`
}

/** Which records are meant. Throws USAGE that names the parameter. */
export function selectionOf(parameters: SearchParameters): Selection {
  const { topic, partition, from, to, offsets, order, limit, cursor, isolation } = parameters
  const [topicId, allIncarnations] = [parameters['topic-id'], parameters['all-incarnations']]
  try {
    return parseSelection({
      topic,
      partition,
      from,
      to,
      offsets,
      order,
      limit,
      cursor,
      topicId,
      allIncarnations,
      isolation
    })
  } catch (error) {
    if (!isMillraceError(error, 'USAGE')) throw error
    // Flags of the command line are parameters here.
    const flags = new RegExp(`--(?=(?:${Object.keys(searchParameters).join('|')})\\b)`, 'g')
    throw new MillraceError('USAGE', error.message.replaceAll(flags, ''), { hint: error.hint, cause: error })
  }
}
