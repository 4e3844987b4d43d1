// Committed offsets on disk: what is acknowledged survives a kill, scopes are apart, and another version is refused.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { expect, onTestFinished, test } from 'vitest'
import type { CommittedOffset } from '../../src/broker/groups/offset-store.ts'
import { OffsetStore } from '../../src/broker/groups/offset-store.ts'
import { tempFolder } from '../support/temp.ts'
import { thrown } from '../support/thrown.ts'
import { until } from '../support/until.ts'

const at = (offset: number, partition = 0): CommittedOffset => ({
  topic: 'orders',
  topicId: 'WJfmqNh2Sqi5uHgTOj6Rqg',
  partition,
  offset,
  leaderEpoch: 7,
  metadata: `at ${offset}`
})

test('every acknowledged commit survives kill -9', async () => {
  await using folder = await tempFolder('offsets')
  const file = join(folder.path, 'offsets.db')
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'offset-committer.ts'), file])
    const closed = once(child, 'close')
    let output = ''
    child.stdout.on('data', data => {
      output += data
    })
    await until(() => output.split('\n').length > 100, { what: 'commits', timeout: 30_000, interval: 5 })
    child.kill('SIGKILL')
    await closed

    const acknowledged = new Map<string, number>()
    const whole = output.slice(0, output.lastIndexOf('\n'))
    for (const line of whole.split('\n')) acknowledged.set(line.split(' ')[0]!, Number(line.split(' ')[1]))
    using store = OffsetStore.open(file)
    expect(store.groups('cluster')).toEqual(['a', 'b', 'c'])
    for (const [group, offset] of acknowledged) {
      const [row] = store.offsets('cluster', group)
      // The one after it may have been stored without its acknowledgement being seen.
      expect([offset, offset + 1]).toContain(row!.offset)
    }
  }
  const plain = new Database(file, { readonly: true })
  onTestFinished(() => void plain.close())
  expect(plain.pragma('integrity_check', { simple: true })).toBe('ok')
  expect(plain.pragma('journal_mode', { simple: true })).toBe('wal')
})

test('commits of one turn share a transaction, and are in order', async () => {
  await using folder = await tempFolder('offsets')
  const file = join(folder.path, 'offsets.db')
  using store = OffsetStore.open(file)
  await store.put('s', 'h', [at(1)])
  const before = statSync(`${file}-wal`).size

  const first = store.put('s', 'g', [at(1), at(5, 1)])
  const second = store.put('s', 'g', [at(2)])
  const third = store.put('s', 'h', [at(3)])
  const fourth = store.removeGroup('s', 'h')
  await first
  expect(store.offsets('s', 'g')).toEqual([at(2), at(5, 1)])
  expect(store.has('s', 'h')).toBe(false)
  await Promise.all([second, third, fourth])
  // One frame of one page: a transaction each would have left four.
  expect(statSync(`${file}-wal`).size - before).toBe(24 + 4096)
})

test('scopes do not see each other', async () => {
  await using folder = await tempFolder('offsets')
  using store = OffsetStore.open(join(folder.path, 'deep', 'offsets.db'))
  await Promise.all([store.put('s3://one', 'g', [at(1)]), store.put('s3://two', 'g', [at(2)])])
  await store.put('s3://two', 'h', [at(3), at(4, 1)])
  expect([store.groups('s3://one'), store.groups('s3://two')]).toEqual([['g'], ['g', 'h']])
  await store.remove('s3://two', 'h', [{ topic: 'orders', partition: 1 }])
  expect(store.offsets('s3://two', 'h')).toEqual([at(3)])
  await store.removeGroup('s3://two', 'g')
  expect(store.offsets('s3://one', 'g')).toEqual([at(1)])
  expect(store.offsets('s3://two', 'g')).toEqual([])
})

test('two processes may have the file open', async () => {
  await using folder = await tempFolder('offsets')
  const file = join(folder.path, 'offsets.db')
  using one = OffsetStore.open(file)
  using two = OffsetStore.open(file)
  await Promise.all([one.put('a', 'g', [at(1)]), two.put('b', 'g', [at(2)])])
  expect([two.offsets('a', 'g'), one.offsets('b', 'g')]).toEqual([[at(1)], [at(2)]])
})

test('a file of a later version is refused', async () => {
  await using folder = await tempFolder('offsets')
  const file = join(folder.path, 'offsets.db')
  OffsetStore.open(file)[Symbol.dispose]()
  const plain = new Database(file)
  plain.pragma('user_version = 2')
  plain.close()
  const error = thrown(() => OffsetStore.open(file))
  expect(error).toMatchObject({ code: 'WAL_CORRUPT', message: `${file} has version 2, this Millrace reads 1` })
})

test('what the disk does not take is not acknowledged', async () => {
  await using folder = await tempFolder('offsets')
  const store = OffsetStore.open(join(folder.path, 'offsets.db'))
  const lost = store.put('s', 'g', [at(1)])
  store[Symbol.dispose]()
  await expect(lost).rejects.toMatchObject({ code: 'WAL_FAILED' })
})
