// What a thread that watches its heap does with what has become garbage.
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { until } from './support/until.ts'

const module = new URL('../src/heap-watch.ts', import.meta.url)

/** Tells how much of its heap is used when it has filled it and let go of that, and again whenever it is asked. */
const program = `
  const { getHeapStatistics } = require('node:v8')
  const { parentPort } = require('node:worker_threads')
  import(${JSON.stringify(module.href)}).then(({ watchHeap }) => {
    watchHeap()
    const tell = () => parentPort.postMessage(getHeapStatistics().used_heap_size)
    Array.from({ length: 400_000 }, (_, i) => ({ i, text: 'record ' + i }))
    tell()
    parentPort.on('message', tell)
  })`

test('garbage that has grown old is collected though nothing more is allocated', async () => {
  const worker = new Worker(program, { eval: true })
  onTestFinished(async () => void (await worker.terminate()))
  const told: number[] = []
  worker.on('message', bytes => void told.push(bytes))
  await until(() => told.length > 0, { what: 'the heap is filled' })
  const filled = told[0]!
  expect(filled).toBeGreaterThan(20e6)
  await until(
    () => {
      worker.postMessage('how large is it now?')
      return told.at(-1)! < filled / 2
    },
    { what: 'the heap is small again', interval: 100, timeout: 10_000 }
  )
})
