// Records of the kinds that Kafka carries, in partitions with transactions and a topic that was made twice; and beside each what
// only whoever wrote it knows: the texts in a binary value, and whether its transaction was committed.
import type { CanonicalBatch } from '../../src/kafka/batch.ts'
import { encodeBatch } from '../../src/kafka/batch.ts'
import type { KafkaRecord } from '../../src/kafka/records.ts'
import type { StreamKey } from '../../src/wal/stream.ts'
import { marker, withAttributes } from '../segment/segments.ts'
import { EVENTS, numbers, ORDERS, RENEWED, START, streamOf } from './world.ts'

export const MINUTE = 60_000

/** The topic that was deleted and made again: the older one. */
export const OLD = 'b2xkLW9sZC1vbGQtb2xkLQ'
const PAYMENTS = 'cGF5bWVudHMtcGF5bWVudA'

export interface WrittenRecord extends KafkaRecord {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  /** Seen by readers with read_committed. */
  readonly isCommitted: boolean
}

export interface WrittenLog {
  readonly stream: StreamKey
  readonly batches: readonly CanonicalBatch[]
  readonly records: readonly WrittenRecord[]
}

/** Of bytes that are not just a text, in hex: the texts that were put into them. */
const textsInside = new Map<string, readonly string[]>()

/** The texts that whoever wrote these bytes put there: bytes that are text are one. */
export function textsOf(bytes: Buffer): readonly string[] {
  return textsInside.get(bytes.toString('hex')) ?? [bytes.toString('utf8')]
}

function noted(bytes: Buffer, texts: readonly string[]): Buffer {
  textsInside.set(bytes.toString('hex'), texts)
  return bytes
}

const schemaId = Buffer.of(0, 0, 0, 0, 7)

/** Some as Python writes JSON, in ASCII alone; some behind the head of a schema registry. */
function json(content: object, n: number): Buffer {
  const text = JSON.stringify(content)
  const ascii = text.replace(/[^ -~]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  const bytes = Buffer.from(n % 2 === 0 ? ascii : text)
  // What else is escaped parts words: a backslash and the ends of lines.
  const read = text.replace(/\\[nt\\]/g, ' ')
  return noted(n % 10 < 2 ? Buffer.concat([schemaId, bytes]) : bytes, [read])
}

/** As Avro writes strings, behind the head of a schema registry: twice its length, then the string. */
function avro(...texts: string[]): Buffer {
  const parts = texts.flatMap(text => [Buffer.of(2 * Buffer.byteLength(text)), Buffer.from(text)])
  return noted(Buffer.concat([schemaId, ...parts, Buffer.of(0)]), texts)
}

/** As Protobuf writes them: the field's tag, the length, the string. */
function protobuf(...texts: string[]): Buffer {
  const parts = texts.flatMap((text, i) => [Buffer.of((i + 1) * 8 + 2, Buffer.byteLength(text)), Buffer.from(text)])
  return noted(Buffer.concat([...parts, Buffer.of(0x78, 0x00)]), texts)
}

const names = ['Anna Émile', 'Björn Ågren', 'Chloë O’Neill', 'Dmitri', 'Zoë', '田中']
const mails = ['anna.emile@example.com', 'bjorn@mail.example.org', 'c.oneill+kafka@example.com', 'dmitri@example.net']
const states = ['new', 'paid', 'shipped', 'returned']
const colours = ['red', 'green', 'dark blue', 'Éclair', 'NOT', 'naïve café']
const hosts = ['web-1.internal', 'web-2.internal', 'db-1.internal']

export const uuidOf = (n: number): string => `f47ac10b-58cc-4372-a567-${String(n).padStart(12, '0')}`
export const orderOf = (n: number): string => `ord-2026-${String(n).padStart(6, '0')}`

type Below = (limit: number) => number

function contentOf(n: number, below: Below): Buffer | null {
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
  switch (below(9)) {
    case 0:
      return null
    case 1: {
      const message = `msg="${pick(['disk almost full', 'request done', 'almost done'])}" host=${pick(hosts)}`
      return Buffer.from(`level=${pick(['info', 'warn', 'error'])} ${message} took=${n}ms trace=${uuidOf(n)}`)
    }
    case 2:
      return avro(orderOf(n), pick(states), uuidOf(n), pick(colours))
    case 3:
      return protobuf(uuidOf(n), pick(names), pick(states))
    case 4:
      return Buffer.from(`${pick(colours)} ${pick(colours)} / ${pick(names)}: straße, x${below(20)}`)
    default: {
      const items = Array.from({ length: below(3) }, () => ({
        sku: `${pick(['AB', 'CD'])}-${below(4)}.x`,
        qty: below(5),
        tags: [pick(colours), pick(states)]
      }))
      const customer = { name: pick(names), email: pick(mails), id: below(40) }
      const rest = { total: below(100) + 0.5, paid: below(2) === 0, note: below(3) === 0 ? null : pick(colours) }
      const error = `no stock 𠮷野\n\tat Shop.take (C:\\shop\\new.ts:${n % 9})\n\tat Shop.run`
      const failure = n % 6 < 2 ? { error } : {}
      return json({ order: orderOf(n), customer, items, status: pick(states), ...rest, ...failure }, n)
    }
  }
}

function keyOf(n: number, below: Below): Buffer | null {
  const keys = [
    () => null,
    () => Buffer.alloc(0),
    () => noted(Buffer.from([0, 0xff, 0, n % 7]), []),
    () => Buffer.from(`customer ${n % 5}`),
    () => Buffer.from(`say "${n % 3}"`)
  ]
  return (keys[below(12)] ?? (() => Buffer.from(orderOf(n % 50))))()
}

function headersOf(n: number, below: Below): [string, Buffer | null][] {
  const headers: [string, Buffer | null][] = []
  if (below(2) === 0) headers.push(['source', Buffer.from(['web', 'mobile app', 'batch'][below(3)]!)])
  if (below(3) === 0) headers.push(['trace-id', Buffer.from(uuidOf(n))])
  if (below(4) === 0) headers.push(['retries', Buffer.from(String(below(4)))], ['retries', Buffer.from('last')])
  if (below(5) === 0) headers.push(['odd name: 1', Buffer.from(colours[below(6)]!)])
  if (below(6) === 0) headers.push(['shipped', null], ['hop', avro('web', 'edge proxy')])
  if (n % 7 < 2) headers.push(['context', json({ user: 'Zoë Ågren', path: 'C:\\temp', via: 'edge\nproxy' }, n)])
  return headers
}

interface LogShape {
  readonly stream: StreamKey
  readonly seed: number
  readonly batches: number
  /** Every so many batches one has the broker's time. */
  readonly appendTimeEach?: number
  readonly hasTransactions?: boolean
}

/** Whose transactions, how each ends: the last is open until the end of the log. */
const producers = [
  { id: 7_001, first: 4, last: 9, outcome: 'abort' },
  { id: 7_002, first: 7, last: 15, outcome: 'commit' },
  { id: 7_003, first: 17, last: 18, outcome: 'abort' },
  { id: 7_004, first: 26, last: Number.POSITIVE_INFINITY, outcome: 'open' }
] as const

function writeLog({
  stream,
  seed,
  batches: count,
  appendTimeEach = Number.POSITIVE_INFINITY,
  hasTransactions
}: LogShape): WrittenLog {
  const { topic, topicId, partition } = stream
  const random = numbers(seed)
  const below: Below = limit => random.next().value! % limit
  const batches: CanonicalBatch[] = []
  const records: WrittenRecord[] = []
  let offset = below(3)
  let openFrom = Number.POSITIVE_INFINITY
  for (let i = 0; i < count; i++) {
    const transaction = hasTransactions
      ? producers.find(({ first, last }) => i >= first && i < last && (i - first) % 2 === 0)
      : undefined
    const list: KafkaRecord[] = []
    for (let left = 1 + below(8); left > 0; left--) {
      const n = seed * 1_000 + records.length + list.length
      // Late and early ones, and many of the same minute.
      const timestamp = START + (i * 4 + below(12) - (below(9) === 0 ? 40 : 0)) * MINUTE
      list.push({ offset, timestamp, key: keyOf(n, below), value: contentOf(n, below), headers: headersOf(n, below) })
      offset += below(7) === 0 ? 3 : 1
    }
    const codec = (['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)[i % 5]!
    const identity = transaction && { producerId: transaction.id, producerEpoch: 0, baseSequence: i }
    let batch = encodeBatch(list, { codec, ...identity })
    if (transaction !== undefined) batch = withAttributes(batch, 0x10)
    const isAppendTime = i % appendTimeEach === 1
    if (isAppendTime) batch = withAttributes(batch, 0x08)
    if (transaction?.outcome === 'open') openFrom = Math.min(openFrom, batch.header.baseOffset)
    batches.push(batch)
    for (const record of list) {
      records.push({
        ...record,
        ...{ topic, topicId, partition },
        ...(isAppendTime
          ? { timestampType: 'LogAppendTime', timestamp: batch.header.maxTimestamp }
          : { timestampType: 'CreateTime' }),
        isCommitted: transaction?.outcome !== 'abort' && record.offset < openFrom
      })
    }
    offset = batch.header.lastOffset + 1
    for (const { id, last, outcome } of hasTransactions ? producers : []) {
      if (last === i + 1 && outcome !== 'open') batches.push(marker(offset++, id, outcome))
    }
  }
  return { stream, batches, records }
}

/** In the order in which they came to be: the second `renewed` is the newer. */
export const corpus: readonly WrittenLog[] = [
  writeLog({ stream: streamOf('renewed', OLD, 0), seed: 11, batches: 8 }),
  writeLog({ stream: streamOf('orders', ORDERS, 0), seed: 12, batches: 40 }),
  writeLog({ stream: streamOf('orders', ORDERS, 1), seed: 13, batches: 34 }),
  writeLog({ stream: streamOf('events', EVENTS, 0), seed: 14, batches: 30, appendTimeEach: 4 }),
  writeLog({ stream: streamOf('payments', PAYMENTS, 0), seed: 15, batches: 34, hasTransactions: true }),
  writeLog({ stream: streamOf('renewed', RENEWED, 0), seed: 16, batches: 9 })
]
