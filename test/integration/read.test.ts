// `millrace read` against a real broker: every record in its order, from the archive and the WAL, and what is not there.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kafkaClient } from '../support/kafka-client.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useKafka } from '../support/servers.ts'
import { createTopic, deleteRecordsBelow, send } from '../support/topics.ts'
import { flush } from '../support/workers.ts'

interface Json {
  readonly offset: number
  readonly value: string
  readonly tier: string
}

describeWith(['kafka'], 'millrace read', () => {
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: useKafka().bootstrap })
  })
  afterAll(() => worker?.dispose())

  async function read(topic: string, ...args: string[]) {
    const { code, stdout, stderr } = await worker.command(['read', '--topic', topic, ...args])
    expect(code, stderr).toBe(0)
    return { stdout, stderr }
  }
  async function records(topic: string, ...args: string[]): Promise<Json[]> {
    const { stdout } = await read(topic, '--output', 'json', ...args)
    return stdout
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line) as Json)
  }
  const values = async (topic: string, ...args: string[]) => (await records(topic, ...args)).map(({ value }) => value)

  test('goes from the archive into the WAL, at an offset or before the end, and says when there is more', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, [[{ value: 'a' }, { value: 'b' }], [{ value: 'c' }]])
    await flush(worker, topic)
    await send(worker.bootstrap, topic, [[{ value: 'd' }, { value: 'e' }]])
    const all = await records(topic)
    expect(all.map(({ offset, value }) => `${offset} ${value}`)).toEqual(['0 a', '1 b', '2 c', '3 d', '4 e'])
    expect(all.map(({ tier }) => tier)).toEqual(['warm', 'warm', 'warm', 'hot', 'hot'])
    expect(await values(topic, '--offset', '1', '--count', '3')).toEqual(['b', 'c', 'd'])
    expect(await values(topic, '--offset', '-2')).toEqual(['d', 'e'])
    const some = await read(topic, '--count', '2')
    expect(some.stderr).toBe('there are more: --offset 2 goes on, --count prints more\n')
    expect(await values(topic, '--archive', worker.archiveUrl)).toEqual(['a', 'b', 'c'])
    const beyond = await read(topic, '--offset', '9')
    expect(beyond).toEqual({ stdout: '', stderr: `there is no record from offset 9 on: ${topic}-0 ends at 5\n` })
  })

  test('shows bytes as they are', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const value = Buffer.from([...Array(20).keys()].map(i => i + 0x2d))
    const headers = { trace: Buffer.from([0xff, 0x0a]) }
    const message = { key: null, value, headers, timestamp: '1764000000000' }
    await send(worker.bootstrap, topic, [[message, { value: null }]])
    const { stdout } = await read(topic, '--output', 'hex', '--count', '1')
    expect(stdout).toBe(
      [
        `${topic}-0@0  CreateTime 1764000000000 2025-11-24T16:00:00.000Z  hot`,
        '  key: (null)',
        '  value: 20 bytes',
        '    00000000  2d 2e 2f 30 31 32 33 34 35 36 37 38 39 3a 3b 3c  |-./0123456789:;<|',
        '    00000010  3d 3e 3f 40                                      |=>?@|',
        '  header trace: 2 bytes',
        '    00000000  ff 0a                                            |..|',
        ''
      ].join('\n')
    )
    expect((await read(topic, '--output', 'raw')).stdout).toBe(`${value}\n\n`)
  })

  test('with read_committed gives what consumers see: nothing aborted, nothing behind an open transaction', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const producer = kafkaClient(worker.bootstrap).producer({
      transactionalId: topic,
      idempotent: true,
      maxInFlightRequests: 1
    })
    await producer.connect()
    const transaction = async (value: string, end: 'commit' | 'abort' | null) => {
      const open = await producer.transaction()
      await open.send({ topic, messages: [{ value }] })
      if (end !== null) await open[end]()
      return open
    }
    await send(worker.bootstrap, topic, [[{ value: 'plain' }]])
    await transaction('committed', 'commit')
    await transaction('aborted', 'abort')
    await send(worker.bootstrap, topic, [[{ value: 'later' }]])
    await flush(worker, topic)
    await send(worker.bootstrap, topic, [[{ value: 'hot' }]])
    const open = await transaction('open', null)
    await send(worker.bootstrap, topic, [[{ value: 'behind' }]])

    const all = ['plain', 'committed', 'aborted', 'later', 'hot', 'open', 'behind']
    expect(await values(topic)).toEqual(all)
    expect(await values(topic, '--isolation', 'read_committed')).toEqual(['plain', 'committed', 'later', 'hot'])
    await open.commit()
    await producer.disconnect()
    await flush(worker, topic)
    expect(await values(topic, '--isolation', 'read_committed')).toEqual(all.filter(value => value !== 'aborted'))
  })

  test('and search gives page after page, from the archive and the WAL', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, [[{ value: 'mill 1' }, { value: 'mill 2' }, { value: 'mill 3' }]])
    await flush(worker, topic)
    await send(worker.bootstrap, topic, [[{ value: 'mill 4' }], [{ value: 'mill 5' }]])
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const more = cursor === undefined ? [] : ['--cursor', cursor]
      const args = ['search', 'mill', '--topic', topic, '--order', 'oldest', '--limit', '2', '--json', ...more]
      const { stdout, stderr } = await worker.command(args)
      const lines = stdout
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as { value?: string; cursor?: string })
      seen.push(...lines.flatMap(({ value }) => value ?? []))
      cursor = lines.at(-1)!.cursor
      const there = `2 records shown, and there are more: --cursor ${cursor} goes on\n`
      expect(stderr).toBe(cursor === undefined ? '' : there)
    } while (cursor !== undefined)
    expect(seen).toEqual(['mill 1', 'mill 2', 'mill 3', 'mill 4', 'mill 5'])
  })

  test('says what is missing, and why', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, [[{ value: 'first' }]])
    await flush(worker, topic)
    await send(useKafka().bootstrap, topic, [[{ value: 'lost' }], [{ value: 'lost too' }], [{ value: 'kept' }]])
    await deleteRecordsBelow(useKafka().bootstrap, topic, 3)
    await flush(worker, topic)
    const { stdout, stderr } = await read(topic, '--json')
    expect(stdout.match(/"value":"\w+"/g)).toEqual(['"value":"first"', '"value":"kept"'])
    expect(stderr).toMatch(/^offsets 1 to 2 are not there: retention, found \d{4}-\d\d-\d\dT.*Z\n$/)
  })

  test('names what it was not asked rightly', async () => {
    const ask = async (...args: string[]) => {
      const { code, stderr } = await worker.command(['read', ...args])
      return { code, stderr: stderr.split('\n')[0] }
    }
    const at = ['--topic', 'never-heard-of']
    expect(await ask(...at)).toEqual({ code: 1, stderr: 'there is nothing of never-heard-of-0' })
    expect(await ask(...at, '--offset', 'x')).toEqual({
      code: 2,
      stderr: '--offset: must be an offset, or -n for the last n (got x)'
    })
    expect(await ask(...at, '--count', '0')).toEqual({
      code: 2,
      stderr: '--count: must be a whole number of 1 or more (got 0)'
    })
    expect((await ask('--partition', '0')).code).toBe(2)
  })
})
