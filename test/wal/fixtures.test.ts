// What an earlier Millrace has left on disks decodes forever. test/fixtures/wal/make.ts says how these bytes were made; a test
// that fails here is answered by a change of the code, never of the fixture.
import { cp, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Header, KafkaRecord } from '../../src/kafka/records.ts'
import type { BatchRecord } from '../../src/wal/frame.ts'
import { WalRecord } from '../../src/wal/frame.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { Wal } from '../../src/wal/wal.ts'
import { tempFolder } from '../support/temp.ts'

const fixtures = fileURLToPath(new URL('../fixtures/wal/', import.meta.url))
const bytesOf = (name: string) => readFile(join(fixtures, name))
const jsonOf = async (name: string) => JSON.parse(await readFile(join(fixtures, `${name}.json`), 'utf8'))

/** As the expectations have it: bytes in hex. */
const inHex = (value: unknown) =>
  JSON.parse(
    JSON.stringify(value, (_, part) => (part?.type === 'Buffer' ? Buffer.from(part.data).toString('hex') : part))
  )

test.for(['frame-v1', 'frame-v2'])('%s decodes as it did, and is encoded to the same bytes', async name => {
  const frame = await bytesOf(`${name}.bin`)
  const { records, ...expected } = await jsonOf(name)
  expect(WalRecord.verifyChecksum(frame)).toBe(true)
  const record = WalRecord.decode(frame)
  expect(inHex(record)).toEqual(expected)
  expect(WalRecord.encode(record).equals(frame)).toBe(true)
})

test('the batch of frame-v2 holds the records that kafka-dump-log found in it', async () => {
  const record = WalRecord.decode(await bytesOf('frame-v2.bin')) as BatchRecord
  const { records } = await jsonOf('frame-v2')
  const text = (bytes: Buffer | null) => bytes?.toString() ?? null
  const header = ([key, value]: Header) => `${key}:${text(value) ?? '<null>'}`
  const line = ({ offset, timestamp, key, value, headers }: KafkaRecord) => [
    offset - record.baseOffset,
    timestamp,
    text(key),
    text(value),
    headers.map(header).join()
  ]
  expect([...WalRecord.toCanonical(record).records()].map(line)).toEqual(records)
})

test('a folder of two files is read as it was written, and a worker goes on with it', async () => {
  await using folder = await tempFolder('wal')
  await cp(join(fixtures, 'folder-v1'), folder.path, { recursive: true })
  const expected = await jsonOf('folder-v1')
  const entries = readFolder(folder.path) as { leaderEpoch: number }[]
  expect(entries).toMatchObject(expected)
  expect(entries.map(({ leaderEpoch }) => leaderEpoch)).toEqual([0, -1, 0, 0, -1])

  await using wal = await Wal.open({ directory: folder.path, maxBytes: 2 ** 30 })
  expect(wal.streams()).toMatchObject([
    { key: { topic: 'orders' }, firstOffset: 10, lastOffset: 24, unreleasedBatches: 3 },
    { key: { topic: 'посылки' }, firstOffset: 0, lastOffset: 5, unreleasedBatches: 2 }
  ])
  expect(readFolder(folder.path)).toMatchObject(expected)
  expect((await readdir(folder.path)).filter(name => name.endsWith('.wal')).sort()).toEqual(['1.wal', '2.wal', '3.wal'])
  for (const name of await readdir(join(fixtures, 'folder-v1'))) {
    expect((await readFile(join(folder.path, name))).equals(await bytesOf(join('folder-v1', name))), name).toBe(true)
  }
})

function readFolder(directory: string): unknown {
  using reader = WalReader.open(directory)
  return [...reader.verifyAll()].map(({ key, entry, error }) => {
    expect(error).toBeUndefined()
    return inHex({ stream: key, ...entry, frame: reader.read(entry!) })
  })
}
