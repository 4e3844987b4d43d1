// What a query that finds nothing may have meant, from the archive and the WAL.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { encodeBatch } from '../../src/kafka/batch.ts'
import { parseSelection } from '../../src/search/selection.ts'
import type { SearchPlaces } from '../../src/search/sources.ts'
import { Vocabulary } from '../../src/search/suggest.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { EVENTS, ORDERS, START, streamOf, World } from './world.ts'

const orders = streamOf('orders.eu', ORDERS, 0)
const events = streamOf('audit-events', EVENTS, 0)

function batchOf(baseOffset: number, values: readonly string[], header: string) {
  return encodeBatch(
    values.map((value, i) => ({
      offset: baseOffset + i,
      timestamp: START + baseOffset + i,
      key: Buffer.from(`customer-${i}`),
      value: Buffer.from(value),
      headers: [[header, Buffer.from('4711')]]
    }))
  )
}

let world: World
let reader: WalReader
let vocabulary: Vocabulary
const gather = (topic: readonly string[] = [], hidden: Partial<SearchPlaces> = {}) => {
  const places = { archive: world.archive, warm: world.warm, indexes: world.indexes, wal: reader, ...hidden }
  return Vocabulary.gather(places, parseSelection({ topic }))
}

beforeAll(async () => {
  world = await World.make()
  reader = WalReader.open(world.walFolder)
  const archived = [
    'shipped',
    'shipped at noon',
    'shaped',
    '{"status":"Déferré"}',
    'shipping order-77',
    'sku4711',
    'granule'
  ]
  await world.ship(orders, [batchOf(0, archived, 'trace-parent')], false)
  await world.capture(events, [
    batchOf(0, ['loginFailed', 'delivered', 'delivered', 'granary', 'granary', 'granary'], 'tenant')
  ])
  vocabulary = await gather()
})

afterAll(async () => {
  reader[Symbol.dispose]()
  await world[Symbol.asyncDispose]()
})

test.each([
  ['shiped', ['shipped', 'shaped']],
  ['SHIPED', ['shipped', 'shaped']],
  ['shipp', ['shipped', 'shipping']],
  ['delivred', ['delivered']],
  ['loginfaild', ['loginfailed']],
  ['deferre', []],
  ['defere', ['deferre']],
  ['trace-parnt', ['trace-parent']],
  ['tenent', ['tenant']],
  ['order.eu', ['orders.eu']],
  ['adit-events', ['audit-events']]
])('%s may mean %j', (query, meant) => {
  expect(vocabulary.queriesLike(query)).toEqual(meant)
})

test.each([
  ['shipped AND delivred', ['shipped AND delivered']],
  ['value:(shiped OR noon*)', ['value:(shipped OR noon*)', 'value:(shaped OR noon*)']],
  ['header.shiped:4711 delivred', ['header.shiped:4711 delivered']],
  ['key=shiped', ['key=shipped', 'key=shaped']],
  ['"shiped', ['"shipped', '"shaped']],
  ['shiped NOT delivred', ['shipped NOT delivered']],
  ['shiped qqqqqqqq', ['shipped qqqqqqqq']]
])('in %s only the words change that nothing has', (query, meant) => {
  expect(vocabulary.queriesLike(query)).toEqual(meant)
})

test('what is known is completed, and what is like nothing gives nothing', () => {
  expect(vocabulary.queriesLike('order')).toEqual(['orders.eu'])
  expect(vocabulary.queriesLike('noon')).toEqual([])
  for (const query of ['', '*', '(', 'AND', 'qqqqqqqq', 'value:', '東京'])
    expect(vocabulary.queriesLike(query)).toEqual([])
})

test('a number is not taken for another one', () => {
  expect(vocabulary.queriesLike('4712')).toEqual([])
  expect(vocabulary.queriesLike('order-78')).toEqual([])
  expect(vocabulary.queriesLike('sku4712')).toEqual([])
})

test('what many records have comes first, wherever they are', () => {
  expect(vocabulary.queriesLike('gran')).toEqual(['granary', 'granule'])
})

test('only so many are given, and topics only to those who want them', () => {
  expect(vocabulary.queriesLike('shi', { limit: 1 })).toEqual(['shipped'])
  expect(vocabulary.queriesLike('adit-events', { kinds: ['term', 'header'] })).toEqual([])
  expect(vocabulary.topicsLike('order.eu')).toEqual(['orders.eu'])
  expect(vocabulary.topicsLike('shiped')).toEqual([])
})

test('the words are those of the selected topics, of the archive alone where there is no WAL', async () => {
  const ofEvents = await gather(['audit-events'])
  expect(ofEvents.queriesLike('shiped')).toEqual([])
  expect(ofEvents.queriesLike('delivred')).toEqual(['delivered'])
  const archived = await gather([], { wal: null })
  expect(archived.queriesLike('shiped')).toEqual(['shipped', 'shaped'])
  expect(archived.queriesLike('delivred')).toEqual([])
  expect((await gather(['never-heard-of'])).topicsLike('audit-event')).toEqual(['audit-events'])
})
