// The answers of the search thread: JSON as HTTP sends it, and no more of it at once than fits in memory beside the produce
// path.

import type { FollowState } from '../search/follow.ts'
import { look } from '../search/follow.ts'
import { selectPartitions } from '../search/partitions.ts'
import { endOf, readPartition } from '../search/read.ts'
import type { FoundRecord } from '../search/record-json.ts'
import { recordJson } from '../search/record-json.ts'
import { count, search } from '../search/search.ts'
import type { Selection } from '../search/selection.ts'
import { parseSelection } from '../search/selection.ts'
import type { SearchPlaces } from '../search/sources.ts'
import { Vocabulary } from '../search/suggest.ts'
import type { RecordsParameters, SuggestParameters } from './parameters.ts'

/** An answer ends with the record that brings it to so many bytes, and says where to go on. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024
/** The same for one part of an answer that goes on and on. */
const MAX_PART_BYTES = 1024 * 1024

export interface Asked {
  readonly query: string
  readonly selection: Selection
}

/** Records as JSON, one after the other, until there are enough bytes of them. */
class Lines {
  readonly lines: string[] = []
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get isFull(): boolean {
    return this.#bytes >= this.#maxBytes
  }

  add(record: FoundRecord): void {
    const line = JSON.stringify(recordJson(record))
    this.lines.push(line)
    this.#bytes += Buffer.byteLength(line)
  }
}

/** What `millrace search --json` prints, in one object. */
export async function searchAnswer(places: SearchPlaces, { query, selection }: Asked): Promise<Uint8Array> {
  const result = await search(places, selection, query)
  const page = new Lines(MAX_ANSWER_BYTES)
  for await (const record of result.records) {
    page.add(record)
    if (page.isFull) break
  }
  const { unknownTopics } = result
  return json(page, { cursor: result.next(), notSearched: result.notSearched(), unknownTopics })
}

/** New matches as lines, and what the next look at them begins with. */
export interface FollowAnswer {
  readonly lines: Uint8Array
  readonly state: FollowState
}

/** What `millrace search --follow` prints, part by part; state null begins. */
export async function followAnswer(
  places: SearchPlaces,
  { query, selection, state }: Asked & { readonly state: FollowState | null }
): Promise<FollowAnswer> {
  const looking = await look(places, selection, query, state)
  const part = new Lines(MAX_PART_BYTES)
  for await (const record of looking.records) {
    part.add(record)
    if (part.isFull) break
  }
  return { lines: encoded(part.lines.map(line => `${line}\n`).join('')), state: looking.state() }
}

export async function countAnswer(places: SearchPlaces, { query, selection }: Asked): Promise<Uint8Array> {
  const { count: found, notSearched, unknownTopics } = await count(places, selection, query)
  return encoded(JSON.stringify({ count: found, notSearched, unknownTopics }))
}

/** What `millrace read` prints, in one object; null where there is no such partition. */
export async function recordsAnswer(places: SearchPlaces, parameters: RecordsParameters): Promise<Uint8Array | null> {
  const { topic, partition, offset, count, isolation, 'topic-id': topicId } = parameters
  const { partitions } = await selectPartitions(places, parseSelection({ topic: [topic], partition, topicId }))
  const [found] = partitions
  if (found === undefined) return null
  const end = endOf(found)
  const from = offset < 0 ? Math.max(0, end + offset) : offset
  const page = new Lines(MAX_ANSWER_BYTES)
  const gaps: object[] = []
  const unreadable: object[] = []
  let next: number | null = null
  for await (const step of readPartition(places, found, { from, isolation })) {
    places.checkWanted?.()
    if (page.lines.length === count || page.isFull) {
      next = 'record' in step ? step.record.offset : ('gap' in step ? step.gap : step.unreadable).from
      break
    }
    if ('record' in step) page.add(step.record)
    else if ('gap' in step) gaps.push(step.gap)
    else unreadable.push(step.unreadable)
  }
  return json(page, { gaps, unreadable, next, end })
}

/** How long what is suggested is taken from what was there: people ask with every letter that they type. */
const VOCABULARY_MS = 10_000

/** Answers what a query may have meant; it remembers the vocabulary that it was asked about last. */
export function suggesting(): (places: SearchPlaces, asked: SuggestParameters) => Promise<Uint8Array> {
  let last: { readonly topics: string; readonly gatheredAt: number; readonly vocabulary: Vocabulary } | null = null
  return async (places, { q: query, topic }) => {
    const topics = topic.join()
    if (last?.topics !== topics || performance.now() - last.gatheredAt > VOCABULARY_MS) {
      const vocabulary = await Vocabulary.gather(places, parseSelection({ topic }))
      last = { topics, gatheredAt: performance.now(), vocabulary }
    }
    return encoded(JSON.stringify({ suggestions: last.vocabulary.queriesLike(query) }))
  }
}

function json({ lines }: Lines, rest: object): Uint8Array {
  return encoded(`{"records":[${lines.join()}],${JSON.stringify(rest).slice(1)}`)
}

/** In memory of its own, so that it can be handed to another thread. */
function encoded(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
