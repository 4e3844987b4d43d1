// The hot index of a worker: kept beside the produce path, of use to other processes also after a kill, and gone with what it is of.
import { appendFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { HotIndex } from '../../src/search/hot-index.ts'
import { WalReader } from '../../src/wal/reader.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { parseMetrics } from '../support/prometheus.ts'
import { describeWith, useKafka } from '../support/servers.ts'
import { createTopic, send } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { dataPath, expectClean, flush, useWorker } from '../support/workers.ts'

/** Batches of 50 orders, the number of each once. */
const orders = (from: number, to: number) =>
  Array.from({ length: (to - from) / 50 }, (_, batch) =>
    Array.from({ length: 50 }, (_, i) => ({
      key: `k${i}`,
      value: `{"order":"o-${from + 50 * batch + i}","state":"new"}`
    }))
  )

/** Whether each frame of the WAL is in the hot index. */
function isIndexed(worker: Worker): boolean {
  using reader = WalReader.open(dataPath(worker, 'wal'))
  const entries = reader.streams().flatMap(stream => reader.entries(stream))
  return [...Map.groupBy(entries, entry => entry.file)].every(([file, ofFile]) => {
    using index = HotIndex.open(dataPath(worker, 'cache', 'hot'), file, reader.salt(file)!)
    return ofFile.every(({ id }) => index?.has(id))
  })
}

/** The thread has the lowest priority: on a busy machine it has to wait. */
const PATIENCE = { timeout: 50_000, interval: 200 }
const LONG = { timeout: 240_000 }

const indexed = (worker: Worker) => until(() => isIndexed(worker), { what: 'all of the WAL is indexed', ...PATIENCE })

async function search(worker: Worker, query: string, topic: string): Promise<string[]> {
  const { code, stdout, stderr } = await worker.command([
    'search',
    query,
    '--topic',
    topic,
    '--json',
    '--limit',
    '9999'
  ])
  expect(code, stderr).toBe(0)
  return stdout.split('\n').filter(Boolean)
}

const names = (worker: Worker, ...folder: string[]) => readdir(dataPath(worker, ...folder)).catch((): string[] => [])

async function behind(worker: Worker): Promise<number | undefined> {
  const families = parseMetrics(await (await fetch(`${worker.httpUrl}/metrics`)).text())
  return families.get('millrace_hot_index_behind_bytes')?.samples.get('millrace_hot_index_behind_bytes')
}

describeWith(['kafka'], 'the hot index of a worker', () => {
  const worker = useWorker(() => ({ worker: { 'segment.ms': '1h' } }))

  test('is there for others, also after kill -9, and a search finds the same without it', LONG, async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, orders(0, 2_000))
    await indexed(worker())
    await until(async () => (await behind(worker())) === 0, {
      what: 'its metric says that nothing is missing',
      ...PATIENCE
    })
    await worker().kill9()
    expect(isIndexed(worker())).toBe(true)
    const [rare, common] = [await search(worker(), 'o-1234', topic), await search(worker(), 'value.state:new', topic)]
    expect(rare.map(line => JSON.parse(line))).toMatchObject([{ offset: 1234, tier: 'hot' }])
    expect(common).toHaveLength(2_000)
    await rm(dataPath(worker(), 'cache', 'hot'), { recursive: true })
    expect(await search(worker(), 'o-1234', topic)).toEqual(rare)
    expect(await search(worker(), 'value.state:new', topic)).toEqual(common)
    await worker().start()
    await indexed(worker())
    expect(await search(worker(), 'value.state:new', topic)).toEqual(common)
  })

  test('goes with the files that it is of, and is no hindrance to sealing', LONG, async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, orders(0, 1_000))
    await indexed(worker())
    await flush(worker(), topic)
    // What is archived is not waited for: the next start finds less, and indexes what comes.
    expect(await worker().terminate()).toBe(0)
    await writeFile(dataPath(worker(), 'cache', 'hot', '999.db'), 'of a file that is gone')
    await worker().start()
    await send(worker().bootstrap, topic, orders(1_000, 2_000))
    await until(
      async () => {
        const [files, indexes] = [await names(worker(), 'wal'), await names(worker(), 'cache', 'hot')]
        const numbers = new Set(indexes.map(name => name.split('.')[0]))
        return numbers.size > 0 && [...numbers].every(number => files.includes(`${number}.wal`))
      },
      { what: 'each index is of a file that is there', ...PATIENCE }
    )
    expect(await search(worker(), 'value.state:new', topic)).toHaveLength(2_000)
    await expectClean(worker(), topic)
  })
})

describeWith(['kafka'], 'a worker without a hot index', () => {
  test('that is told so keeps none, and leaves none', LONG, async () => {
    await using worker = await startMillrace({ bootstrap: useKafka().bootstrap })
    await until(async () => (await names(worker, 'cache')).includes('hot'), {
      what: 'it is there at first',
      ...PATIENCE
    })
    await worker.terminate()
    await appendFile(worker.configFile, 'hot.index: false\n')
    await worker.start()
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, orders(0, 100))
    expect(await names(worker, 'cache')).not.toContain('hot')
    expect(await behind(worker)).toBe(0)
    expect(await search(worker, 'o-77', topic)).toHaveLength(1)
  })

  test('that cannot keep one says so, captures and finds all the same', LONG, async () => {
    await using worker = await startMillrace({ bootstrap: useKafka().bootstrap })
    await worker.terminate()
    await rm(dataPath(worker, 'cache', 'hot'), { recursive: true, force: true })
    await mkdir(dataPath(worker, 'cache'), { recursive: true })
    await writeFile(dataPath(worker, 'cache', 'hot'), 'a file where the folder should be')
    await worker.start()
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, orders(0, 100))
    await until(async () => (await worker.logs()).includes('the index thread failed'), {
      what: 'the log says so',
      ...PATIENCE
    })
    expect(await search(worker, 'o-77', topic)).toHaveLength(1)
    await flush(worker, topic)
    await expectClean(worker, topic)
    expect(await worker.terminate()).toBe(0)
  })
})
