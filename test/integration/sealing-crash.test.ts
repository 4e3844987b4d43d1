// A worker that is killed while it makes segments, at each of the steps and at any moment: what it was at is still in the WAL, or
// is archived, and never neither or twice.
import { watch } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { TEMP_FOLDER } from '../../src/archive/store-contract.ts'
import { WalReader } from '../../src/wal/reader.ts'
import { manifests } from '../support/archived.ts'
import { describeWith, useKafka } from '../support/servers.ts'
import { createTopic, send } from '../support/topics.ts'
import { archiveFolder, dataPath, expectBrokersLog, expectClean, flush, useWorker } from '../support/workers.ts'

const ROUNDS_PER_STEP = 2
const ROUNDS_AT_RANDOM = 6
/** Of one round. */
const BATCHES = 12
const RECORDS = 20

describeWith(['kafka', 'kafka-files'], 'a worker that is killed while it seals', () => {
  const worker = useWorker(() => ({ worker: { 'segment.bytes': '1MiB' } }))

  /** Where a step can be seen: the folder, and what appears in it. */
  const steps: [step: string, folder: () => string, name: RegExp][] = [
    ['writes the search index', () => dataPath(worker(), 'building'), /\.search\.tmp$/],
    ['writes the tar', () => dataPath(worker(), 'building'), /\.tar\.gz\.tmp$/],
    ['has built the segment', () => dataPath(worker(), 'building'), /\.tar\.gz$/],
    ['puts it', () => archiveFolder(worker()), new RegExp(`^${TEMP_FOLDER}/`)],
    ['has put it', () => archiveFolder(worker()), /\/\d{20}\.tar\.gz$/],
    ['keeps a copy and lets go of the WAL', () => dataPath(worker(), 'warm'), /\.tar\.gz$/]
  ]

  test('has each offset in the WAL or in the archive afterwards, at whichever step', { timeout: 300_000 }, async () => {
    const topic = await createTopic(useKafka().bootstrap)
    let end = 0
    const produce = async () => {
      await send(worker().bootstrap, topic, batches())
      end += BATCHES * RECORDS
    }
    /** Kills the worker while it seals, when `moment` has come; `ended` is when the flush has. */
    const killed = async (moment: (ended: Promise<unknown>) => Promise<void>) => {
      const flushed = worker().command(['flush', '--topic', topic])
      await moment(flushed)
      await worker().kill9()
      await flushed
      expect(await missing(topic, end)).toEqual([])
      await worker().start()
    }
    await produce()
    await flush(worker(), topic) // makes the folders that are watched

    const seen = new Set<string>()
    const rounds = steps.flatMap(step => Array.from({ length: ROUNDS_PER_STEP }, () => step))
    for (const [step, folder, name] of rounds) {
      await produce()
      await killed(async ended => {
        if (await appears(folder(), name, ended)) seen.add(step)
      })
    }
    for (let round = 0; round < ROUNDS_AT_RANDOM; round++) {
      await produce()
      await killed(async ended => void (await Promise.race([pause(400 + Math.random() * 600), ended])))
    }
    expect([...seen]).toEqual(steps.map(([step]) => step))

    await flush(worker(), topic)
    const segments = await manifests(archiveFolder(worker()), topic, 0)
    expect(segments.length).toBeGreaterThan(2 * rounds.length)
    expect(segments.map(({ baseOffset }) => baseOffset)).toEqual([
      0,
      ...segments.slice(0, -1).map(one => one.nextOffset)
    ])
    expect(segments.flatMap(({ gaps }) => gaps)).toEqual([])
    await expectBrokersLog(worker(), topic)
    await expectClean(worker(), topic)
    expect(await readdir(dataPath(worker(), 'building'))).toEqual([])
    const objects = await readdir(archiveFolder(worker()), { recursive: true, withFileTypes: true })
    const files = objects.filter(one => one.isFile() && one.parentPath.includes(topic)).map(({ name }) => name)
    expect(files.filter(name => !/^(root\.json|\d{20}\.tar\.gz)$/.test(name))).toEqual([])
    const flushed = await worker().command(['flush', '--topic', topic, '--json'])
    expect(JSON.parse(flushed.stdout)).toEqual({ partitions: [] }) // nothing of it is left in the WAL
  })

  /** The offsets below an end that are neither archived nor in the WAL of a worker that does not run. */
  async function missing(topic: string, end: number): Promise<number[]> {
    const archived = (await manifests(archiveFolder(worker()), topic, 0)).at(-1)?.nextOffset ?? 0
    using wal = WalReader.open(dataPath(worker(), 'wal'))
    const entries = wal
      .streams()
      .filter(stream => stream.topic === topic)
      .flatMap(stream => wal.entries(stream))
    const isThere = (offset: number) =>
      entries.some(({ baseOffset, lastOffset }) => baseOffset <= offset && offset <= lastOffset)
    return Array.from({ length: end - archived }, (_, i) => archived + i).filter(offset => !isThere(offset))
  }
})

/** Several segments of what does not shrink. */
function batches(): { value: string }[][] {
  const value = () => crypto.randomUUID().repeat(250)
  return Array.from({ length: BATCHES }, () => Array.from({ length: RECORDS }, () => ({ value: value() })))
}

/** Waits for a file of this name in a folder; false when something else ended first. */
async function appears(folder: string, pattern: RegExp, ended: Promise<unknown>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<true>()
  const watcher = watch(folder, { recursive: true }, (_, name) => {
    if (name !== null && pattern.test(name)) resolve(true)
  })
  try {
    return await Promise.race([promise, ended.then(() => false)])
  } finally {
    watcher.close()
  }
}
