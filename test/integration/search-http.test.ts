// Search, read and suggest through HTTP against a real worker and broker: what the commands give, from the archive and the WAL.
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useKafka, useS3 } from '../support/servers.ts'
import { createTopic, deleteRecordsBelow, send } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { flush, useWorker } from '../support/workers.ts'

interface Json {
  readonly topic: string
  readonly offset: number
  readonly value: string
  readonly tier: string
}

interface Page {
  readonly records: Json[]
  readonly cursor: string | null
  readonly notSearched: number
  readonly unknownTopics: string[]
}

describeWith(['kafka'], 'search through HTTP', () => {
  const worker = useWorker()

  async function get<T>(path: string, parameters: Record<string, string | number>): Promise<T> {
    const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)]))
    const answer = await fetch(`${worker().httpUrl}/v1/${path}?${query}`)
    const body = (await answer.json()) as T
    expect(answer.status, JSON.stringify(body)).toBe(200)
    return body
  }
  const topicWith = async (archived: string[], hot: string[]): Promise<string> => {
    const topic = await createTopic(useKafka().bootstrap)
    const messages = (values: string[]) => values.map(value => ({ key: 'k', value, headers: { tenant: 'acme' } }))
    await send(worker().bootstrap, topic, [messages(archived)])
    await flush(worker(), topic)
    await send(worker().bootstrap, topic, [messages(hot)])
    return topic
  }
  const values = (records: readonly Json[]) => records.map(({ value }) => value)

  test('gives what the command prints, page by page, and counts it', async () => {
    const topic = await topicWith(['mill 1', 'mill 2', 'sand'], ['mill 3', 'mill 4', 'mill 5'])
    const { stdout } = await worker().command(['search', 'mill', '--topic', topic, '--json'])
    const printed = stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Json)
    const all = await get<Page>('search', { q: 'mill', topic })
    expect(all).toEqual({ records: printed, cursor: null, notSearched: 0, unknownTopics: [] })
    expect(new Set(all.records.map(({ tier }) => tier))).toEqual(new Set(['hot', 'warm']))

    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Page = await get('search', { q: 'mill', topic, order: 'oldest', limit: 2, ...(cursor && { cursor }) })
      expect(page.records.length).toBeLessThanOrEqual(2)
      seen.push(...values(page.records))
      cursor = page.cursor
    }
    expect(seen).toEqual(['mill 1', 'mill 2', 'mill 3', 'mill 4', 'mill 5'])
    expect(await get('search', { q: 'mill', topic, count: 'true' })).toEqual({
      count: 5,
      notSearched: 0,
      unknownTopics: []
    })
    const everything = await get<Page>('search', { topic, offsets: '2..4', order: 'oldest' })
    expect(values(everything.records)).toEqual(['sand', 'mill 3'])
    const nowhere = await get<Page>('search', { q: 'mill', topic: 'never-heard-of' })
    expect(nowhere).toEqual({ records: [], cursor: null, notSearched: 0, unknownTopics: ['never-heard-of'] })
  })

  test('ends an answer that grows too large, and says where to go on', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    const message = (i: number) => ({ value: `grain ${i} ${'x'.repeat(900_000)}` })
    await send(
      worker().bootstrap,
      topic,
      Array.from({ length: 12 }, (_, i) => [message(i)])
    )
    const offsets: number[] = []
    const pages: Page[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: Page = await get('search', { q: 'grain', topic, order: 'oldest', ...(cursor && { cursor }) })
      pages.push(page)
      offsets.push(...page.records.map(({ offset }) => offset))
      cursor = page.cursor
    }
    expect(offsets).toEqual([...Array(12).keys()])
    expect(pages.length).toBeGreaterThan(1)
    const read = await get<{ records: Json[]; next: number }>('records', { topic, count: 12 })
    expect(read.records.at(-1)!.offset).toBe(read.next - 1)
    expect(read.records.length).toBeLessThan(12)
  })

  test('reads from an offset on, and says what is missing and where to go on', async () => {
    const topic = await topicWith(['first'], [])
    await send(useKafka().bootstrap, topic, [[{ value: 'lost' }], [{ value: 'lost too' }], [{ value: 'kept' }]])
    await deleteRecordsBelow(useKafka().bootstrap, topic, 3)
    await flush(worker(), topic)
    await send(worker().bootstrap, topic, [[{ value: 'hot' }, { value: 'last' }]])

    interface Read {
      readonly records: Json[]
    }
    const read = await get<Read>('records', { topic, count: 3 })
    expect(values(read.records)).toEqual(['first', 'kept', 'hot'])
    expect(read).toMatchObject({
      gaps: [{ from: 1, to: 3, reason: 'retention', foundAt: expect.stringMatching(/^\d{4}-/) }],
      unreadable: [],
      next: 5,
      end: 6
    })
    const rest = await get<Read>('records', { topic, offset: 5 })
    expect(rest).toMatchObject({ records: [{ value: 'last' }], gaps: [], next: null })
    expect(values((await get<Read>('records', { topic, offset: -2 })).records)).toEqual(['hot', 'last'])
  })

  test('follows: the newest first matches, then what comes, each record once, archived meanwhile or not', async () => {
    const topic = await topicWith(['wheat 1', 'wheat 2'], ['wheat 3', 'rye'])
    const client = new AbortController()
    const parameters = new URLSearchParams({ q: 'wheat', topic, follow: 'true', limit: '2' })
    const answer = await fetch(`${worker().httpUrl}/v1/search?${parameters}`, { signal: client.signal })
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson')
    const seen: string[] = []
    const lines = createInterface(Readable.fromWeb(answer.body as never)).on('error', () => {})
    lines.on('line', line => seen.push((JSON.parse(line) as Json).value))

    await until(() => seen.length === 2, { what: 'the newest are there' })
    await send(worker().bootstrap, topic, [[{ value: 'wheat 4' }, { value: 'rye' }]])
    await until(() => seen.length === 3, { what: 'a record that was produced afterwards is there' })
    await flush(worker(), topic)
    await send(worker().bootstrap, topic, [[{ value: 'wheat 5' }]])
    await until(() => seen.length === 4, { what: 'one that came after the others were archived is there' })
    expect(seen).toEqual(['wheat 2', 'wheat 3', 'wheat 4', 'wheat 5'])
    client.abort()
    const isOver = async () => (await get<Page>('search', { q: 'wheat', topic })).records.length === 5
    await until(isOver, { what: 'searches are answered as before' })
  })

  test('suggests what was meant, as the command does where it finds nothing', async () => {
    const topic = await topicWith(['shipped today'], ['delivered'])
    expect(await get('search/suggest', { q: 'shiped', topic })).toEqual({ suggestions: ['shipped'] })
    expect(await get('search/suggest', { q: 'today delivred', topic })).toEqual({ suggestions: ['today delivered'] })
    expect(await get('search/suggest', { q: 'tenent', topic })).toEqual({ suggestions: ['tenant'] })
    expect(await get('search/suggest', { q: topic.slice(0, -1) })).toEqual({ suggestions: [topic] })

    const said = async (...args: string[]) => {
      const { code, stdout, stderr } = await worker().command(['search', ...args])
      expect(code).toBe(0)
      return { stdout, stderr }
    }
    const nothing = { stdout: '', stderr: 'nothing found; did you mean: shipped?\n' }
    expect(await said('shiped', '--topic', topic)).toEqual(nothing)
    const line = { stdout: '{"suggestions":["shipped"]}\n', stderr: '' }
    expect(await said('shiped', '--topic', topic, '--json')).toEqual(line)
    expect(await said('xylophone', '--topic', topic)).toEqual({ stdout: '', stderr: 'nothing found\n' })
    const { stderr } = await said('shipped', '--topic', topic.slice(0, -1))
    expect(stderr.split('\n')).toEqual([
      `nothing was captured of a topic ${topic.slice(0, -1)}`,
      expect.stringMatching(`^instead of the topic ${topic.slice(0, -1)}, did you mean: ${topic}`),
      ''
    ])
    expect((await said('shipped', '--topic', topic)).stderr).toBe('')
  })

  test('says what is wrong with a query, and where', async () => {
    const answer = await fetch(`${worker().httpUrl}/v1/search?q=${encodeURIComponent('mill (')}`)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({
      error_code: 400,
      code: 'QUERY_INVALID',
      message: expect.stringMatching(/^query, character 7: expected/)
    })
    const absent = await fetch(`${worker().httpUrl}/v1/records?topic=never-heard-of`)
    expect(absent.status).toBe(404)
  })
})

describeWith(['kafka', 's3'], 'a worker with a bucket and a password', () => {
  test('gives records to those who have it, and lets go who follows when it stops', async () => {
    const s3 = useS3()
    await using worker = await startMillrace({
      bootstrap: useKafka().bootstrap,
      archiveUrl: `s3://${await s3.createBucket()}/kafka`,
      s3,
      worker: { 'rest.auth': 'mill:$' + '{env:MILL_PASSWORD}', 'warm.max.bytes': '0B' },
      env: { MILL_PASSWORD: 'flour-and-water' }
    })
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker.bootstrap, topic, [[{ value: 'barley' }]])
    await flush(worker, topic)
    const url = `${worker.httpUrl}/v1/search?q=barley&topic=${topic}`
    expect((await fetch(url)).status).toBe(401)
    const authorization = `Basic ${Buffer.from('mill:flour-and-water').toString('base64')}`
    const answer = await fetch(url, { headers: { authorization } })
    expect(await answer.json()).toMatchObject({ records: [{ value: 'barley', tier: 'cold' }] })

    const following = await fetch(`${url}&follow=true`, { headers: { authorization } })
    const text = following.text()
    expect(await worker.terminate()).toBe(0)
    expect(JSON.parse(await text)).toMatchObject({ value: 'barley' })
    expect(await worker.logs()).not.toContain('flour-and-water')
  })
})
