// The frequent words of what came last: what suggestions are made of.
import { segmentSource } from '../archive/segment-source.ts'
import { isMillraceError, MillraceError } from '../errors.ts'
import { readRecords } from '../kafka/read-records.ts'
import type { KafkaRecord } from '../kafka/records.ts'
import { HeaderNames } from '../segment/header-names.ts'
import { SegmentReader } from '../segment/reader.ts'
import type { FrequentWord } from '../segment/search-index.ts'
import { indexedText, KEY_MARK } from '../segment/search-text.ts'
import { FREQUENT_WORD_LENGTH } from '../segment/vocabulary.ts'
import { wordsOf } from '../segment/words.ts'
import { WalRecord } from '../wal/frame.ts'
import type { WalEntry, WalReader } from '../wal/reader.ts'
import { ArchivedSource } from './archived-source.ts'
import type { Partition } from './partitions.ts'
import type { Selection } from './selection.ts'
import type { SearchPlaces } from './sources.ts'

/** Search indexes of archived segments that are looked into, the newest: each may have to be fetched. */
const SEGMENTS = 4

/** Of what is captured the newest batches are looked into: so many bytes of them, and of a partition so many. */
const HOT_BYTES = 1024 * 1024
const HOT_BATCHES = 256
/** What one of these may grow to. */
const HOT_DECOMPRESSED_BYTES = 16 * 1024 * 1024
const HOT_WORDS = 1_000

/** Words and header names of the newest segments and captures; one may be in it several times. Throws what the store throws. */
export async function newestWords(
  places: SearchPlaces,
  partitions: readonly Partition[],
  selection: Selection
): Promise<FrequentWord[]> {
  return [...hotWords(places, partitions), ...(await archivedWords(places, partitions, selection))]
}

/** A segment that is damaged, or gone, suggests nothing. */
async function archivedWords(
  places: SearchPlaces,
  partitions: readonly Partition[],
  selection: Selection
): Promise<FrequentWord[]> {
  const links = partitions.flatMap(({ chain }) => chain.links.filter(link => ArchivedSource.mayHold(link, selection)))
  links.sort((a, b) => (b.manifest.maxTimestamp ?? 0) - (a.manifest.maxTimestamp ?? 0))
  const found: FrequentWord[] = []
  for (const link of links.slice(0, SEGMENTS)) {
    try {
      const open = () => SegmentReader.open(segmentSource(places, link).source, link.manifest)
      using lease = await places.indexes.index(link, open)
      found.push(...lease.index.words())
    } catch (error) {
      if (!isMillraceError(error, 'SEGMENT_CORRUPT') && !isMillraceError(error, 'OBJECT_MISSING')) throw error
    }
  }
  return found
}

/** The words of what was captured last. */
function hotWords({ wal }: SearchPlaces, partitions: readonly Partition[]): FrequentWord[] {
  const rows = partitions.flatMap(({ hot }) => hot.slice(-HOT_BATCHES)).sort((a, b) => b.appendedMs - a.appendedMs)
  const terms = new Map<string, number>()
  const names = new HeaderNames()
  let bytes = 0
  for (const row of rows) {
    if (bytes >= HOT_BYTES) break
    bytes += row.bytes
    for (const record of recordsOf(wal!, row)) {
      const text = indexedText(record).join(' ')
      for (const word of new Set(wordsOf(text))) if (isTerm(word)) terms.set(word, (terms.get(word) ?? 0) + 1)
      names.add(record.headers)
    }
  }
  const frequent = [...terms].sort(([, a], [, b]) => b - a).slice(0, HOT_WORDS)
  return [
    ...frequent.map(([word, records]) => ({ kind: 'term', word, records }) as const),
    ...names.frequent().map(([word, records]) => ({ kind: 'header', word, records }) as const)
  ]
}

/** As segments have it: not too long, no number, no key's token. */
function isTerm(word: string): boolean {
  return word.length <= FREQUENT_WORD_LENGTH && /[^0-9]/.test(word) && !word.startsWith(KEY_MARK)
}

/** None where they cannot be read. */
function recordsOf(wal: WalReader, row: WalEntry): Iterable<KafkaRecord> {
  try {
    const frame = wal.read(row)
    if (frame.version === 1) return [frame]
    const batch = WalRecord.toCanonical(frame)
    const records = batch.header.isControl ? [] : readRecords(batch, HOT_DECOMPRESSED_BYTES)
    return records instanceof MillraceError ? [] : records
  } catch (error) {
    if (isMillraceError(error)) return []
    throw error
  }
}
