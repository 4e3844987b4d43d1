// `millrace search` of a worker's data and of an archive: page by page, and followed while records come.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { GuardedChild } from '../support/child.ts'
import { spawnGuarded } from '../support/child.ts'
import { programArgs } from '../support/foreground.ts'
import type { Worker } from '../support/millrace.ts'
import { millrace, startMillrace, withoutOurs } from '../support/millrace.ts'
import { describeWith, useKafka } from '../support/servers.ts'
import { createTopic, send } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { flush } from '../support/workers.ts'

/** `millrace search --follow`, and what it has printed. */
class Follower implements AsyncDisposable {
  readonly #child: GuardedChild
  #stdout = ''
  #stderr = ''

  constructor(args: readonly string[], cwd: string) {
    const env = { ...process.env, ...withoutOurs() }
    const all = [...programArgs, 'search', ...args, '--follow', '--json']
    this.#child = spawnGuarded(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'], cwd, env })
    this.#child.process.stdout!.on('data', chunk => (this.#stdout += chunk))
    this.#child.process.stderr!.on('data', chunk => (this.#stderr += chunk))
  }

  get values(): string[] {
    const whole = this.#stdout.slice(0, this.#stdout.lastIndexOf('\n') + 1)
    return whole
      .split('\n')
      .filter(Boolean)
      .map(line => (JSON.parse(line) as { value: string }).value)
  }

  async sees(values: readonly string[]): Promise<void> {
    const isThere = () => {
      expect(this.#child.ended(), this.#stderr).toBeUndefined()
      return this.values.length >= values.length
    }
    await until(isThere, { what: `${values} are printed, and not only ${this.values}`, timeout: 30_000 })
    expect(this.values).toEqual(values)
  }

  /** Ctrl-C. */
  async interrupt(): Promise<number | null> {
    this.#child.signal('SIGINT')
    return (await this.#child.exited).code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.signal('SIGKILL')
    await this.#child.exited
  }
}

describeWith(['kafka'], 'millrace search', () => {
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({ bootstrap: useKafka().bootstrap })
  })
  afterAll(() => worker?.dispose())

  test('follows what is captured and what is archived, through a crash of the worker, until Ctrl-C', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const sending = (...values: string[]) => send(worker.bootstrap, topic, [values.map(value => ({ value }))])
    await sending('match 1', 'match 2', 'other', 'match 3')
    const ofTopic = ['match', '--topic', topic]
    await using local = new Follower([...ofTopic, '--limit', '2', '--config', worker.configFile], worker.folder)
    await local.sees(['match 2', 'match 3'])
    await sending('match 4', 'another')
    await local.sees(['match 2', 'match 3', 'match 4'])
    await flush(worker, topic)
    await using remote = new Follower([...ofTopic, '--archive', worker.archiveUrl], worker.folder)
    await remote.sees(['match 1', 'match 2', 'match 3', 'match 4'])
    await worker.kill9()
    await worker.start()
    await sending('match 5')
    await local.sees(['match 2', 'match 3', 'match 4', 'match 5'])
    await flush(worker, topic)
    await remote.sees(['match 1', 'match 2', 'match 3', 'match 4', 'match 5'])
    await sending('match 6')
    await local.sees(['match 2', 'match 3', 'match 4', 'match 5', 'match 6'])
    expect(await local.interrupt()).toBe(130)
    expect(await remote.interrupt()).toBe(130)
  })

  test('gives pages, and says that there is more and how to go on', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, [[1, 2, 3, 4, 5].map(n => ({ value: `page ${n}`, timestamp: `${1e12 + n}` }))])
    const search = async (...args: string[]) => {
      const { code, stdout, stderr } = await worker.command(['search', 'page', '--topic', topic, ...args])
      expect(code, stderr).toBe(0)
      return { lines: stdout.split('\n').filter(Boolean), stderr }
    }
    const [, , last] = (await search('--limit', '2', '--json')).lines.map(line => JSON.parse(line))
    const first = await search('--limit', '2')
    expect(first.lines).toEqual([expect.stringContaining('page 5'), expect.stringContaining('page 4')])
    expect(first.stderr).toBe(`2 records shown, and there are more: --cursor ${last.cursor} goes on\n`)
    const rest = await search('--cursor', last.cursor, '--limit', '3')
    expect(rest).toEqual({ lines: [3, 2, 1].map(n => expect.stringContaining(`page ${n}`)), stderr: '' })
    expect(await search('--count', '--limit', '2')).toEqual({ lines: ['5'], stderr: '' })
    const ranked = await search('--order', 'rank', '--limit', '1')
    expect(ranked.lines).toEqual([expect.stringContaining('page 5')])
    expect((await worker.command(['search', '--topic', topic, '--count'])).stdout).toBe('5\n')
  })

  test.for<[flags: string[], message: string]>([
    [['--count'], '--count: cannot be used with --follow'],
    [['--order', 'newest'], '--order: cannot be used with --follow'],
    [['--to', '-1h'], '--to: cannot be used with --follow']
  ])('refuses to follow with %j', async ([flags, message]) => {
    const { code, stderr } = await millrace(['search', 'x', '--archive', worker.archiveUrl, '--follow', ...flags])
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) })
  })
})
