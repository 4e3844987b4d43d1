// A worker whose disk fills up: on a small file system of its own, over its embedded broker.
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { freeBytes } from '../../src/wal/disk-reserve.ts'
import { filesBelow } from '../support/files.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { until } from '../support/until.ts'
import { flush } from '../support/workers.ts'

const MiB = 2 ** 20

describe.skipIf(!canMount)('a worker on a small disk (needs root)', () => {
  let disk: Awaited<ReturnType<typeof smallDisk>>
  let worker: Worker
  const filler = () => join(disk.path, 'filler')
  const leaveFree = async (bytes: number) => {
    await rm(filler(), { force: true })
    await writeFile(filler(), Buffer.alloc(freeBytes(disk.path) - bytes))
  }
  beforeEach(async () => {
    disk = await smallDisk(96)
    await leaveFree(24 * MiB)
    // 32 MiB are the reserve, and warm copies go at 40.
    const settings = { 'data.dir': join(disk.path, 'data'), 'segment.bytes': '1MiB', 'disk.reserve': '32MiB' }
    worker = await startMillrace({ worker: settings })
  })
  afterEach(async () => {
    await worker?.dispose()
    await disk?.[Symbol.asyncDispose]()
  })

  const unready = async () => {
    const answer = await fetch(`${worker.httpUrl}/readyz`)
    const { reasons = [] } = (await answer.json()) as { reasons?: { what: string; message: string }[] }
    return reasons.map(({ what, message }) => `${what}: ${message}`)
  }
  const ready = (timeout?: number) =>
    until(async () => (await unready()).length === 0, { what: 'the worker is ready', ...(timeout && { timeout }) })
  const produce = async (value: string) => {
    const producer = kafkaClient(worker.bootstrap, { retry: { retries: 0 } }).producer()
    try {
      await producer.connect()
      await producer.send({ topic: 'orders', acks: -1, messages: [{ value }] })
      return null
    } catch (error) {
      return (error as { cause?: { type?: string } }).cause?.type ?? String(error)
    } finally {
      await producer.disconnect()
    }
  }
  const captured = async () => {
    const text = await (await fetch(`${worker.httpUrl}/metrics`)).text()
    return Number(/^millrace_unarchived_batches (\d+)$/m.exec(text)![1])
  }

  test('says at once that it takes nothing, and what helps; goes on by itself', async () => {
    expect(await unready()).toEqual([
      expect.stringMatching(/^wal: .* down to \d+ MiB free, .* 32 MiB .*disk\.reserve.*: free space on it, or lower/)
    ])
    expect(await worker.logs()).toMatch(/nothing is captured: .*disk\.reserve/)
    expect(await produce('too early')).toBe('NOT_ENOUGH_REPLICAS')
    await rm(filler())
    await ready()
    await until(async () => (await produce('in time')) === null, { what: 'a record is taken' })
    expect(await worker.logs()).toMatch(/the WAL takes batches again/)
  })

  test('drops local copies before it stops, then archives what it has, small and young as it is', async () => {
    await rm(filler())
    await ready()
    await until(async () => (await produce('the first')) === null, { what: 'a record is taken' })
    await flush(worker, 'orders')
    const warm = async () => (await filesBelow(join(disk.path, 'data', 'warm'))).length
    expect(await warm()).toBeGreaterThan(0)
    await leaveFree(36 * MiB)
    await until(async () => (await warm()) === 0, { what: 'the local copies are gone' })
    expect(await unready()).toEqual([])

    expect(await produce('the last')).toBeNull()
    expect(await captured()).toBe(1)
    await leaveFree(24 * MiB)
    await until(async () => (await captured()) === 0, { what: 'it is archived' })
    expect(await unready()).toEqual([expect.stringContaining('disk.reserve')])
    expect(await produce('too late')).toBe('NOT_ENOUGH_REPLICAS')
    await rm(filler())
    await ready()
    expect(await produce('in time again')).toBeNull()
  })

  test('has the room again, without doing more, that its own WAL took until it was archived', async () => {
    await rm(filler())
    await ready()
    // The embedded broker has each record on the same disk too, and keeps it.
    const value = 'x'.repeat(900_000)
    let refusal: string | null = null
    for (let i = 0; i < 60 && refusal === null; i++) refusal = await produce(value)
    expect(refusal).toMatch(/^NOT_ENOUGH_REPLICAS/)
    // What is left once it is ready again, and less than a segment, waits for more.
    await until(async () => (await captured()) <= 1, { what: 'some twenty segments are archived', timeout: 45_000 })
    await ready()
    const answer = await produce(value)
    expect(answer, `unready: ${await unready()}`).toBeNull()
  })
})
