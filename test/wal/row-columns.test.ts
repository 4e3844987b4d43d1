import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { Ledger } from '../../src/wal/ledger.ts'
import type { Columns, StoredRow } from '../../src/wal/row-columns.ts'
import { buffersOf, RowColumns } from '../../src/wal/row-columns.ts'

const MOST = Number.MAX_SAFE_INTEGER

function row(id: number, more: Partial<StoredRow> = {}): StoredRow {
  const facts = { stream: id % 3, baseOffset: 10 * id, lastOffset: 10 * id + 9, bytes: 100 + (id % 50) }
  return { id, ...facts, appendedMs: 1_764_000_000_000 + id, ...more }
}

/** More than the columns begin with, every seventh id missing, and at its ends what only just fits. */
const rows: StoredRow[] = [
  row(2, { baseOffset: 0, lastOffset: 2 ** 32 + 5 }),
  ...Array.from({ length: 1000 }, (_, i) => row(i + 3)).filter(({ id }) => id % 7 !== 0),
  row(2 ** 31, { stream: 2 ** 31, bytes: 2 ** 31 }),
  row(2 ** 32 - 1, {
    stream: 2 ** 32 - 1,
    bytes: 2 ** 32 - 1,
    baseOffset: MOST - 1,
    lastOffset: MOST,
    appendedMs: MOST
  })
]

function columnsOf(all: readonly StoredRow[]): RowColumns {
  const columns = new RowColumns()
  for (const one of all) columns.push(one)
  return columns
}

function rowsOf(columns: RowColumns): StoredRow[] {
  return Array.from({ length: columns.length }, (_, place) => columns.at(place))
}

test('rows come back as they were added, however many, and whatever their offsets cover', () => {
  const columns = new RowColumns()
  rows.forEach((one, i) => {
    expect(columns.length).toBe(i)
    columns.push(one)
    expect(columns.at(0)).toEqual(rows[0])
    expect(columns.at(i)).toEqual(one)
  })
  expect(rowsOf(columns)).toEqual(rows)
})

test('a row is found by its id, and none by an id that is missing', () => {
  const columns = columnsOf(rows)
  const ids = [
    0,
    ...Array.from({ length: 1100 }, (_, i) => i + 1),
    2 ** 31 - 1,
    2 ** 31,
    2 ** 31 + 1,
    2 ** 32 - 1,
    2 ** 32
  ]
  for (const id of ids) expect([id, columns.placeOf(id)]).toEqual([id, rows.findIndex(one => one.id === id)])
  expect([0, 1].map(id => new RowColumns().placeOf(id))).toEqual([-1, -1])
  const dense = columnsOf(Array.from({ length: 3 }, (_, i) => row(i + 1)))
  expect([0, 1, 2, 3, 4].map(id => dense.placeOf(id))).toEqual([-1, 0, 1, 2, -1]) // what is behind the rows is no row
})

test.each([
  ['many', rows.slice(0, -1)],
  ['no', []]
])('%s rows handed to another thread are not cloned, and more can be added there', async (_, all) => {
  const { port1, port2 } = new MessageChannel()
  const sent = columnsOf(all).full()
  expect(sent.ids).toHaveLength(all.length)
  port1.postMessage(sent, buffersOf(sent))
  expect(buffersOf(sent).map(({ detached }) => detached)).toEqual(Array(6).fill(true))
  const [received] = (await once(port2, 'message')) as [Columns]
  port1.close()
  const columns = new RowColumns(received)
  expect(rowsOf(columns)).toEqual(all)
  columns.push(row(2 ** 32 - 1))
  expect(rowsOf(columns)).toEqual([...all, row(2 ** 32 - 1)])
})

test('a ledger counts rows that it adopts as it counts rows that are added', () => {
  const held = rows.slice(0, -2) // a stream's number is a place in a list
  const keys = Array.from({ length: 3 }, (_, partition) => ({ clusterId: 'c', topic: 't', topicId: '', partition }))
  const [added, adopting] = [new Ledger(), new Ledger()]
  for (const ledger of [added, adopting]) ledger.sawFile({ file: 1, bytesOnDisk: 1_000_000 })
  added.add(1, held)
  adopting.adopt(1, columnsOf(held).full())
  for (const release of [
    () => undefined,
    (ledger: Ledger) => ledger.release([2, 2, 7, 12, 500].map(id => ({ file: 1, id }))),
    (ledger: Ledger) => ledger.releaseStreams(new Set([1])),
    (ledger: Ledger) => ledger.releaseFile(1)
  ]) {
    for (const ledger of [added, adopting]) release(ledger)
    expect(adopting.states(keys)).toEqual(added.states(keys))
    expect(adopting.needed(0, MOST)).toEqual(added.needed(0, MOST))
    expect(adopting.lastOffsets(1)).toEqual(added.lastOffsets(1))
    const released = held.filter(({ id }) => adopting.isReleased({ file: 1, id })).length
    const states = adopting.states(keys)
    expect(states.reduce((sum, { unreleasedBatches }) => sum + unreleasedBatches, 0)).toBe(held.length - released)
  }
  expect(adopting.states(keys)).toEqual([])
})
