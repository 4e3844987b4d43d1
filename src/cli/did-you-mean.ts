// What `millrace search` says when it has found nothing: why, where that can be told, or what may have been meant.
import { allStreams } from '../search/incarnations.ts'
import type { SearchResult } from '../search/search.ts'
import type { Selection } from '../search/selection.ts'
import type { SearchPlaces } from '../search/sources.ts'
import { printLine, say } from './common.ts'

/** As JSON a line of its own among the data. Throws what the WAL and the archive throw. */
export async function didYouMean(
  places: SearchPlaces,
  selection: Selection,
  { query, json }: { readonly query: string; readonly json: boolean },
  { unknownTopics }: Pick<SearchResult, 'unknownTopics'>
): Promise<void> {
  // Loaded here: a search that finds something does without.
  const { Vocabulary } = await import('../search/suggest.ts')
  const streams = await allStreams(places.wal?.streams() ?? [], places.archive)
  if (streams.length === 0) return say('nothing found: nothing is captured or archived yet')
  const { topicId: wanted } = selection
  if (wanted !== undefined && !streams.some(({ topicId }) => topicId === wanted)) {
    return say(`nothing found: there is no topic with the id ${wanted}`)
  }
  const vocabulary = await Vocabulary.gather(places, selection, streams)
  for (const topic of unknownTopics) {
    const topics = vocabulary.topicsLike(topic)
    if (topics.length > 0) say(`instead of the topic ${topic}, did you mean: ${topics.join(', ')}?`)
  }
  // No record has the name of its topic in it.
  const suggestions = vocabulary.queriesLike(query, { kinds: ['term', 'header'] })
  if (suggestions.length === 0) {
    // Of a topic that is nowhere, that has been said.
    if (unknownTopics.length === 0) say('nothing found')
    return
  }
  if (json) printLine(JSON.stringify({ suggestions }))
  else say(`nothing found; did you mean: ${suggestions.join(', ')}?`)
}
