// How fast a batch's header is parsed and its CRC checked, and how fast its records are decoded, beside the decoders of kafkajs
// and @platformatic/kafka on the same bytes. What each decodes is compared with what was encoded before any figure counts.
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Reader, readRecordsBatch } from '@platformatic/kafka'
import { CanonicalBatch, encodeBatch, parseBatchHeader } from '../src/kafka/batch.ts'
import type { KafkaRecord } from '../src/kafka/records.ts'
import type { Figure } from './figures.ts'
import { figure } from './figures.ts'

const BATCH_BYTES = 64 * 1024
const RECORD_BYTES = 1024
const ROUNDS = 3
/** A round gives each decoder this many turns, so that whatever else the machine does falls on all of them alike. */
const TURNS = 10
const TURN_MS = 100
/** Different batches, together larger than a processor's cache. */
const BATCHES = 256
const START = 1_764_072_000_000

export async function run(): Promise<Figure[]> {
  return [...(await headers()), ...(await records())]
}

async function headers(): Promise<Figure[]> {
  const wires = Array.from({ length: BATCHES }, () => {
    const value = randomBytes(BATCH_BYTES - 75)
    return encodeBatch([{ offset: 0, timestamp: START, key: null, value, headers: [] }]).toWire()
  })
  const read = (wire: Buffer) => CanonicalBatch.fromWire(wire).bytesConsumed
  for (const [i, wire] of wires.entries()) check(read(wire) === wire.length, i)
  const [rounds] = await measure(wires, [read])
  return [figure('header and CRC, batches of 64 KiB', 'MB/s', rounds!)]
}

interface Decoder {
  readonly name: string
  readonly isOther: boolean
  /** Decodes all records of a batch. */
  decode(wire: Buffer): unknown
  /** What it decoded, in our form. */
  records(decoded: any): KafkaRecord[]
}

/** Batches whose CRC was checked before the clock runs: kafkajs and @platformatic/kafka check none. */
const checked = new Map<Buffer, CanonicalBatch>()

function opened(wire: Buffer): CanonicalBatch {
  return checked.get(wire) ?? checked.set(wire, CanonicalBatch.fromWire(wire).batch).get(wire)!
}

function collect(batch: CanonicalBatch): KafkaRecord[] {
  const records: KafkaRecord[] = []
  for (const record of batch.records()) records.push(record)
  return records
}

const require = createRequire(import.meta.url)
const kafkajsBatch = require('kafkajs/src/protocol/recordBatch/v0/decoder')
const KafkajsDecoder = require('kafkajs/src/protocol/decoder')

const decoders: readonly Decoder[] = [
  {
    name: 'millrace',
    isOther: false,
    decode(wire) {
      parseBatchHeader(wire)
      return collect(opened(wire))
    },
    records: decoded => decoded
  },
  {
    name: 'millrace with the CRC',
    isOther: false,
    decode: wire => collect(CanonicalBatch.fromWire(wire).batch),
    records: decoded => decoded
  },
  {
    name: 'kafkajs',
    isOther: true,
    decode: wire => kafkajsBatch(new KafkajsDecoder(wire)),
    records: ({ records }) =>
      records.map(({ offset, timestamp, key, value, headers }: any) => ({
        offset: Number(offset),
        timestamp: Number(timestamp),
        key,
        value,
        headers: Object.entries(headers)
      }))
  },
  {
    name: '@platformatic/kafka',
    isOther: true,
    decode: wire => readRecordsBatch(Reader.from(wire)),
    records: ({ firstOffset, firstTimestamp, records }) =>
      records.map(({ offsetDelta, timestampDelta, key, value, headers }: any) => ({
        offset: Number(firstOffset) + offsetDelta,
        timestamp: Number(firstTimestamp + timestampDelta),
        key,
        value,
        headers
      }))
  }
]

async function records(): Promise<Figure[]> {
  const batches = Array.from({ length: BATCHES }, (_, batch) =>
    Array.from({ length: BATCH_BYTES / RECORD_BYTES }, (_, i): KafkaRecord => {
      const offset = (batch * BATCH_BYTES) / RECORD_BYTES + i
      const key = Buffer.from(`order-${offset}`)
      return { offset, timestamp: START + offset, key, value: randomBytes(RECORD_BYTES), headers: [] }
    })
  )
  const wires = batches.map(records => encodeBatch(records).toWire())
  for (const { decode, records } of decoders) {
    for (const [i, wire] of wires.entries()) check(isSame(records(await decode(wire)), batches[i]!), i)
  }
  const rounds = await measure(
    wires,
    decoders.map(({ decode }) => decode)
  )
  const [ours] = rounds
  return decoders.flatMap(({ name, isOther }, i) => {
    const rates = rounds[i]!
    const rate = figure(`records of 1 KiB, ${name}`, 'MB/s', rates)
    const ratios = ours!.map((rate, round) => rate / rates[round]!)
    return isOther ? [rate, figure(`records of 1 KiB, millrace / ${name}`, 'x', ratios)] : [rate]
  })
}

type Read = (wire: Buffer) => unknown

/** Of each reader its rounds, in megabytes per second. The first round only warms up. */
async function measure(wires: readonly Buffer[], readers: readonly Read[]): Promise<number[][]> {
  const rounds = readers.map((): number[] => [])
  for (let round = 0; round <= ROUNDS; round++) {
    const totals = readers.map(() => ({ bytes: 0, ms: 0 }))
    for (let turn = 0; turn < TURNS; turn++) {
      for (const [i, read] of readers.entries()) {
        const { bytes, ms } = await takeTurn(wires, read)
        totals[i]!.bytes += bytes
        totals[i]!.ms += ms
      }
    }
    if (round > 0) for (const [i, { bytes, ms }] of totals.entries()) rounds[i]!.push(bytes / 1000 / ms)
  }
  return rounds
}

async function takeTurn(wires: readonly Buffer[], read: Read): Promise<{ bytes: number; ms: number }> {
  let bytes = 0
  const start = performance.now()
  for (;;) {
    for (const wire of wires) {
      const result = read(wire)
      // Only kafkajs is asynchronous: the others shall not pay for it.
      if (result instanceof Promise) await result
      bytes += wire.length
    }
    const ms = performance.now() - start
    if (ms >= TURN_MS) return { bytes, ms }
  }
}

function isSame(got: readonly KafkaRecord[], wanted: readonly KafkaRecord[]): boolean {
  return got.length === wanted.length && got.every((record, i) => isSameRecord(record, wanted[i]!))
}

function isSameRecord(got: KafkaRecord, wanted: KafkaRecord): boolean {
  return (
    got.offset === wanted.offset &&
    got.timestamp === wanted.timestamp &&
    got.key!.equals(wanted.key!) &&
    got.value!.equals(wanted.value!) &&
    got.headers.length === 0
  )
}

function check(isRight: boolean, batch: number): void {
  if (!isRight) throw new Error(`batch ${batch} was decoded to something else`)
}
