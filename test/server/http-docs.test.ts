// docs/http.md names every parameter and every field that there is, and no others.
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { IndexCache } from '../../src/archive/index-cache.ts'
import { replayJson } from '../../src/cli/replay-report.ts'
import type { FlushReport } from '../../src/pipeline/flush.ts'
import { planReplay } from '../../src/replay/plan.ts'
import { replay } from '../../src/replay/replay.ts'
import { findSource } from '../../src/replay/source.ts'
import { parseSelection } from '../../src/search/selection.ts'
import type { SearchPlaces } from '../../src/search/sources.ts'
import { SegmentReader } from '../../src/segment/reader.ts'
import { countAnswer, recordsAnswer, searchAnswer, suggesting } from '../../src/server/answers.ts'
import { readParameters, recordsParameters, searchParameters, suggestParameters } from '../../src/server/parameters.ts'
import type { SmallArchive } from '../archive/small-archive.ts'
import { batchAt, smallArchive } from '../archive/small-archive.ts'
import { LIMIT, unreadable } from '../kafka/unreadable.ts'
import { ORDERS, streamOf } from '../search/world.ts'
import { millrace } from '../support/millrace.ts'

const text = await readFile(new URL('../../docs/http.md', import.meta.url), 'utf8')

/** A partition with two records, a batch that cannot be read, and a gap. */
let small: SmallArchive
let places: SearchPlaces
beforeAll(async () => {
  small = await smallArchive()
  await small.append(streamOf('orders', ORDERS, 0), {
    nextOffset: 5,
    batches: [batchAt(0, 1), unreadable[0]![1](2)],
    gaps: [{ from: 4, to: 5, reason: 'retention', foundAt: '2026-11-24T10:15:00.000Z' }],
    maxDecompressedBytes: LIMIT
  })
  const { archive } = small
  places = {
    archive,
    warm: null,
    wal: null,
    indexes: new IndexCache(null, 0),
    hotIndexes: null,
    maxDecompressedBytes: LIMIT
  }
})
afterAll(() => small?.[Symbol.asyncDispose]())

/** The words in backticks of a piece of text, sorted. */
const words = (piece: string): string[] =>
  [...new Set([...piece.matchAll(/`([\w-]+)`/g)].map(([, word]) => word!))].sort()

/** The cells of a call's row. */
function row(call: string): { parameters: string; answer: string } {
  const [, , parameters, answer] = text
    .split('\n')
    .find(line => line.startsWith(`| ${call} |`))!
    .split('|')
  return { parameters: parameters!.replace(/: \[search.*/, ''), answer: answer! }
}

/** From its first words up to the next empty line. */
const paragraph = (start: string): string =>
  text
    .slice(text.indexOf(`\n${start}`))
    .trimStart()
    .split('\n\n')[0]!

const parsed = (answer: Uint8Array | null) => JSON.parse(Buffer.from(answer!).toString())

/** The names of an object's fields and of all below it, but for those of `known` things, which are told of elsewhere. */
function fields(value: unknown, known: readonly string[] = []): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap(one => fields(one, known)))].sort()
  if (typeof value !== 'object' || value === null) return []
  const found = Object.entries(value).flatMap(([name, below]) => [
    name,
    ...(known.includes(name) ? [] : fields(below, known))
  ])
  return [...new Set(found)].sort()
}

test('the parameters of each call', () => {
  expect(words(row('`GET /v1/search`').parameters)).toEqual(Object.keys(searchParameters).sort())
  expect(words(row('`GET /v1/records`').parameters)).toEqual(Object.keys(recordsParameters).sort())
  expect(words(row('`GET /v1/search/suggest`').parameters)).toEqual(Object.keys(suggestParameters).sort())
})

test('the answers of each call', async () => {
  const asked = { query: 'record', selection: parseSelection({}) }
  const known = ['records', 'gaps', 'unreadable']
  expect(words(row('`GET /v1/search`').answer)).toEqual(fields(parsed(await searchAnswer(places, asked)), known))
  expect(words(row('the same with `count=true`').answer)).toEqual(fields(parsed(await countAnswer(places, asked))))
  const suggested = await suggesting()(places, readParameters(suggestParameters, { q: 'recrd' }))
  expect(words(row('`GET /v1/search/suggest`').answer)).toEqual(fields(parsed(suggested)))
  const records = parsed(await recordsAnswer(places, readParameters(recordsParameters, { topic: 'orders' })))
  expect(words(row('`GET /v1/records`').answer)).toEqual(fields(records, known))
  const { tier, timestampType } = records.records[0]
  const values = ['hot', 'warm', 'cold', 'CreateTime', 'LogAppendTime']
  expect(values).toEqual(expect.arrayContaining([tier, timestampType]))
  const record = words(paragraph('**A record**')).filter(word => !values.includes(word))
  expect(record).toEqual(fields(records.records))
  expect(words(paragraph('**A gap**'))).toEqual(fields(records.gaps))
  expect(fields(records.unreadable)).toEqual(['from', 'reason', 'to'])
  const flushed = { partitions: [{ topic: 'orders', partition: 0, archivedThrough: 1 }] } satisfies FlushReport
  expect(words(row('`POST /v1/flush`').answer)).toEqual(fields(flushed))
})

test('what verify and replay print', async () => {
  const { stdout } = await millrace(['verify', '--archive', small.url, '--json'])
  const verified = fields(JSON.parse(stdout), ['gaps'])
  const ofFaults = ['object', 'offset', 'message']
  const ofWal = ['wal', 'frames', 'bytes', 'faults']
  expect(words(paragraph('**`verify`**'))).toEqual([...new Set([...verified, ...ofFaults, ...ofWal, 'verify'])].sort())

  const plan = planReplay(await findSource(small.archive, { topic: 'orders' }), parseSelection({}))
  const outcome = await replay(plan, {
    open: ({ key }) => SegmentReader.open(small.archive.source(key)),
    sendTo: () => async () => {},
    concurrency: 1,
    signal: new AbortController().signal
  })
  const printed = replayJson(plan, outcome, { topic: 'orders', dryRun: true, ms: 1, complete: true })
  expect(words(paragraph('**`replay`**'))).toEqual([...fields(printed, ['gaps']), 'replay'].sort())
})
