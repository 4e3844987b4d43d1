// The table of queries that test/search/fifty-queries.test.ts asks everywhere.
import type { SelectionFlags } from '../../src/search/selection.ts'
import { corpus, MINUTE, OLD, orderOf } from './corpus.ts'
import type { Meaning } from './oracle.ts'
import { all, any, every, not, prefix, wholeKey, words } from './oracle.ts'
import { ORDERS, RENEWED, START } from './world.ts'

const records = corpus.flatMap(log => log.records)

const at = (minutes: number): string => new Date(START + minutes * MINUTE).toISOString()
const path = (...steps: string[]) => ({ path: steps })
const header = (name: string) => ({ header: name })
/** Ids that are really there. */
const anOrder = found(/"order":"(ord-2026-\d{6})"/)
const someUuid = found(/trace=(f47ac10b[\w-]*)/)

function found(pattern: RegExp): string {
  const values = records.filter(({ topic }) => topic === 'orders').map(({ value }) => String(value))
  return values.map(value => pattern.exec(value)?.[1]).find(id => id !== undefined)!
}

/** What is written, what it means, and the flags beside it. */
export const queries: [query: string, meaning: Meaning, flags?: SelectionFlags][] = [
  // Everything, and what only flags leave of it.
  ['*', every],
  ['', every, { topic: ['orders'], partition: 1 }],
  ['*', every, { order: 'oldest', from: at(30), to: at(31) }],
  ['*', every, { isolation: 'read_committed', topic: ['payments'] }],
  // Words: in any case, with or without accents, of any script.
  ['shipped', words('shipped')],
  ['SHIPPED', words('shipped'), { order: 'oldest' }],
  ['emile', words('émile')],
  ['Ågren', words('agren')],
  ['田中', words('田中')],
  ['straße', words('straße')],
  ['nowhere', words('nowhere')],
  ['x12', words('x12')],
  ['level=warn', words('level warn')],
  ['took', words('took'), { topic: ['orders', 'events'] }],
  // Ids and addresses, whole and by part.
  [anOrder, words(anOrder)],
  ['ord-2026', words('ord 2026')],
  [someUuid, words(someUuid)],
  ['58cc-4372', words('58cc 4372')],
  ['anna.emile@example.com', words('anna.emile@example.com')],
  ['example.org', words('example.org')],
  ['c.oneill+kafka@example.com', words('c oneill kafka example com')],
  ['web-1.internal', words('web-1.internal')],
  // Phrases and prefixes.
  ['"disk almost full"', words('disk almost full')],
  ['"almost done"', words('almost done')],
  ['"full almost"', words('full almost')],
  ['"dark blue"*', prefix('dark blue')],
  ['ship*', prefix('ship')],
  ['ord-2026-0120*', prefix('ord-2026-0120')],
  ['f47ac10b-58cc-4372-a567-00000001200*', prefix('f47ac10b-58cc-4372-a567-00000001200')],
  ['"NOT"', words('not')],
  // Both, either, not, and all of it together.
  ['red shipped', all(words('red'), words('shipped'))],
  ['red AND green', all(words('red'), words('green'))],
  ['red OR green', any(words('red'), words('green'))],
  ['shipped NOT red', all(words('shipped'), not(words('red')))],
  ['shipped NOT red NOT green', all(words('shipped'), not(words('red')), not(words('green')))],
  [
    '(paid OR returned) (red OR "dark blue") NOT bjorn',
    all(any(words('paid'), words('returned')), any(words('red'), words('dark blue')), not(words('bjorn')))
  ],
  ['new OR paid shipped', any(words('new'), all(words('paid'), words('shipped')))],
  ['shipped NOT (red OR green)', all(words('shipped'), not(any(words('red'), words('green'))))],
  // In a column.
  ['key:customer', words('customer', 'key')],
  ['value:paid', words('paid', 'value')],
  ['header:web', words('web', 'headers')],
  ['header:"mobile app"', words('mobile app', 'headers')],
  ['header:shipped value:red', all(words('shipped', 'headers'), words('red', 'value'))],
  ['key:(customer NOT 3)', all(words('customer', 'key'), not(words('3', 'key')))],
  ['value:ord*', prefix('ord', 'value')],
  // Whole keys.
  [`key=${orderOf(7)}`, wholeKey(orderOf(7))],
  ['key="customer 3"', wholeKey('customer 3')],
  ['key="say \\"1\\""', wholeKey('say "1"')],
  ['key="customer"', wholeKey('customer')],
  ['key=""', wholeKey('')],
  ['key=0x00ff0003', wholeKey(Buffer.from([0, 0xff, 0, 3]))],
  ['key=0x00ff0003 OR key="customer 1"', any(wholeKey(Buffer.from([0, 0xff, 0, 3])), wholeKey('customer 1'))],
  [`shipped NOT key=${orderOf(7)}`, all(words('shipped'), not(wholeKey(orderOf(7))))],
  // The headers of a name.
  ['header.source:web', words('web', header('source'))],
  ['header.source:"mobile app"', words('mobile app', header('source'))],
  ['header.retries:last', words('last', header('retries'))],
  ['header.trace-id:58cc', words('58cc', header('trace-id'))],
  ['header."odd name: 1":green', words('green', header('odd name: 1'))],
  ['header.hop:"edge proxy"', words('edge proxy', header('hop'))],
  ['shipped NOT header.source:web', all(words('shipped'), not(words('web', header('source'))))],
  ['header.retries:(1 OR 2)', any(words('1', header('retries')), words('2', header('retries')))],
  // Fields of JSON values.
  ['value.status:shipped', words('shipped', path('status'))],
  ['value.customer.name:Anna', words('anna', path('customer', 'name'))],
  ['value.customer.email:anna.emile@example.com', words('anna emile example com', path('customer', 'email'))],
  ['value.customer:17', words('17', path('customer'))],
  ['value.customer.id:1*', prefix('1', path('customer', 'id'))],
  ['value.items.sku:AB-1.x', words('ab 1 x', path('items', 'sku'))],
  ['value.items.0.tags:red', words('red', path('items', '0', 'tags'))],
  ['value.items.tags.1:paid', words('paid', path('items', 'tags', '1'))],
  ['value.total:12.5', words('12 5', path('total'))],
  ['value.paid:true value.note:null', all(words('true', path('paid')), words('null', path('note')))],
  [
    'value.status:paid NOT value.items.tags:red',
    all(words('paid', path('status')), not(words('red', path('items', 'tags'))))
  ],
  [
    'value.status:new OR header.source:batch',
    any(words('new', path('status')), words('batch', header('source'))),
    { order: 'oldest' }
  ],
  ['value.note:("dark blue" OR eclair)', any(words('dark blue', path('note')), words('eclair', path('note')))],
  // What is escaped in JSON.
  ['𠮷野', words('𠮷野')],
  ['"𠮷野 at shop.take"', words('𠮷野 at shop take')],
  ['c:\\shop\\new.ts', words('c shop new ts')],
  ['stock NOT (nat OR tat OR u00e9)', all(words('stock'), not(any(words('nat'), words('tat'), words('u00e9'))))],
  ['value.error:("stock 𠮷野 at" new*)', all(words('stock 𠮷野 at', path('error')), prefix('new', path('error')))],
  [
    'value.customer.name:(Ågren OR 田中)',
    any(words('agren', path('customer', 'name')), words('田中', path('customer', 'name')))
  ],
  ['header.context:"zoë agren"', words('zoe agren', header('context'))],
  ['header:"temp via edge proxy"', words('temp via edge proxy', 'headers')],
  // Windows, topics, partitions, incarnations, isolation.
  ['shipped', words('shipped'), { from: at(20), to: at(60) }],
  ['shipped', words('shipped'), { from: at(60), order: 'oldest' }],
  ['shipped', words('shipped'), { to: at(10) }],
  ['shipped', words('shipped'), { offsets: '20..90' }],
  ['shipped OR red', any(words('shipped'), words('red')), { offsets: '..30', partition: 0 }],
  ['red', words('red'), { topic: ['orders'], partition: 1, offsets: '40..', from: at(10) }],
  ['red', words('red'), { topic: ['orders'], topicId: ORDERS }],
  ['new', words('new'), { topic: ['renewed'] }],
  ['new', words('new'), { topic: ['renewed'], topicId: OLD }],
  ['new', words('new'), { topic: ['renewed'], topicId: RENEWED, order: 'oldest' }],
  ['new', words('new'), { topic: ['renewed'], allIncarnations: true }],
  ['shipped', words('shipped'), { isolation: 'read_committed' }],
  [
    'red OR green',
    any(words('red'), words('green')),
    { topic: ['payments'], isolation: 'read_committed', order: 'oldest' }
  ],
  ['value.status:paid', words('paid', path('status')), { isolation: 'read_committed', topic: ['payments'] }],
  // What matches best first.
  ['shipped OR red OR 田中', any(words('shipped'), words('red'), words('田中')), { order: 'rank' }],
  ['red shipped', all(words('red'), words('shipped')), { order: 'rank', limit: 20 }],
  [
    'value.status:paid OR anna OR key:customer',
    any(words('paid', path('status')), words('anna'), words('customer', 'key')),
    { order: 'rank' }
  ],
  [
    'ship* OR "dark blue" NOT new',
    any(prefix('ship'), all(words('dark blue'), not(words('new')))),
    { order: 'rank', topic: ['orders'] }
  ]
]
