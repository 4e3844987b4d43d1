// What HTTP adds to a search: parameters, statuses, streams. The searches themselves are staged.
import { request } from 'node:http'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { MillraceError } from '../../src/errors.ts'
import type { Asked } from '../../src/server/answers.ts'
import { until } from '../support/until.ts'
import { ask, begin, openDoor } from './door.ts'

type Call = (call: string, args: any, signal: AbortSignal) => Promise<unknown>

/** A door whose searches a test answers. */
function openWith(call: Call, drain = () => {}) {
  return openDoor({ searcher: { call: call as never, drain } })
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value))
/** Answers with what was asked. */
const echo: Call = async (call, args) => json({ call, ...args })

test('parameters are those of the commands', async () => {
  const { url } = await openWith(echo)
  const all =
    'q=a%20b&topic=x&topic=y&partition=2&from=2026-11-24&to=2026-11-25T00:00:01Z&offsets=5..9&order=oldest&limit=7' +
    '&topic-id=b3JkZXJzLW9yZGVycy1vcg&isolation=read_committed'
  const { status, body, headers } = await ask(`${url}/v1/search?${all}`)
  expect(status).toBe(200)
  expect(headers['content-type']).toBe('application/json; charset=utf-8')
  expect(body).toEqual({
    call: 'search',
    query: 'a b',
    selection: {
      topics: ['x', 'y'],
      partition: 2,
      fromTime: Date.UTC(2026, 10, 24),
      toTime: Date.UTC(2026, 10, 25, 0, 0, 1),
      fromOffset: 5,
      toOffset: 9,
      order: 'oldest',
      limit: 7,
      topicId: 'b3JkZXJzLW9yZGVycy1vcg',
      isolation: 'read_committed',
      allIncarnations: false
    }
  })
  const counted = await ask(`${url}/v1/search?count=true&all-incarnations=true`)
  expect(counted.body).toMatchObject({ call: 'count', query: '', selection: { allIncarnations: true, limit: 100 } })
  const read = await ask(`${url}/v1/records?topic=x&offset=-10&count=3`)
  expect(read.body).toMatchObject({ call: 'records', topic: 'x', partition: 0, offset: -10, count: 3 })
  const suggested = await ask(`${url}/v1/search/suggest?q=shi&topic=x`)
  expect(suggested.body).toEqual({ call: 'suggest', q: 'shi', topic: ['x'] })
})

test.each([
  ['search?qq=x', 'qq: unknown key: did you mean q? (got "x")'],
  ['search?limit=0', /^limit: must be a whole number from 1 .*\(got "0"\)$/],
  ['search?limit=5&limit=6', 'limit: must be given once (got "5,6")'],
  ['search?partition=', 'partition: must be a whole number from 0 to 2147483647 (got "")'],
  ['search?count=yes', 'count: must be true or false (got "yes")'],
  ['search?order=best', 'order: must be newest or oldest or rank (got "best")'],
  ['search?from=yesterday', /^from: must be an ISO time, .*\(got yesterday\)$/],
  ['search?from=2026-11-25&to=2026-11-24', 'from: must be before to 2026-11-24 (got 2026-11-25)'],
  ['search?offsets=9..5', /^offsets: must be a\.\.b/],
  ['search?cursor=abc', 'cursor: must be one that a search has given (got abc)'],
  ['search?topic-id=x&all-incarnations=true', 'topic-id: cannot be used with all-incarnations (got x)'],
  ['search?follow=true&count=true', 'count: cannot be used with follow=true'],
  ['search?follow=true&order=newest', 'order: cannot be used with follow=true'],
  ['search?follow=true&to=2026-11-24', 'to: cannot be used with follow=true'],
  ['records', 'topic: is required: the topic'],
  ['records?topic=t&offset=x', /^offset: must be a whole number .*\(got "x"\)$/],
  ['search/suggest', 'q: is required: what was typed'],
  ['search/suggest?q=a&limit=3&count=4', /^limit: unknown key.*; count: unknown key/]
])('/v1/%s is refused', async (path, message) => {
  const { url } = await openWith(echo)
  const { status, body } = await ask(`${url}/v1/${path}`)
  expect({ status, body }).toMatchObject({ status: 400, body: { error_code: 400, code: 'USAGE' } })
  expect((body as { message: string }).message).toEqual(
    typeof message === 'string' ? message : expect.stringMatching(message)
  )
})

test.each([
  [new MillraceError('QUERY_INVALID', 'query, character 3: expected a word'), 400, undefined],
  [new MillraceError('SEARCH_BUSY', 'cannot search now'), 503, '1'],
  [new MillraceError('SEGMENT_CORRUPT', 'x.tar.gz: torn'), 500, undefined],
  [new Error('the search thread has ended'), 500, undefined]
])('%s has a status of its own', async (error, status, retryAfter) => {
  const { url } = await openWith(async () => Promise.reject(error))
  for (const path of ['search', 'search?follow=true', 'records?topic=t', 'search/suggest?q=x']) {
    const answer = await ask(`${url}/v1/${path}`)
    expect(answer).toMatchObject({ status, body: { error_code: status, message: error.message } })
    expect(answer.headers['retry-after']).toBe(retryAfter)
  }
})

test('a partition that is not there is a 404', async () => {
  const { url } = await openWith(async () => null)
  const answer = await ask(`${url}/v1/records?topic=orders&partition=7`)
  expect(answer).toMatchObject({ status: 404, body: { message: 'there is nothing of orders-7' } })
})

/** A client that follows, with its lines so far. */
async function follow(url: string) {
  const { response, leave } = await begin(`${url}/v1/search?follow=true`)
  const lines: string[] = []
  const reading = createInterface(response).on('line', line => lines.push(line))
  const ended = new Promise(resolve => reading.on('close', resolve).on('error', resolve))
  return { response, lines, leave, ended }
}

test('a client that goes away stops its search', async () => {
  let signal: AbortSignal | undefined
  const { url } = await openWith((_call, _args, given) => {
    signal = given
    return new Promise((_, reject) => given.addEventListener('abort', () => reject(given.reason)))
  })
  const asked = request(`${url}/v1/search?q=x`, { agent: false }).end()
  asked.on('error', () => {})
  await until(() => signal, { what: 'the search has begun' })
  expect(signal!.aborted).toBe(false)
  asked.destroy()
  await until(() => signal!.aborted, { what: 'the search is stopped' })
})

test('following goes from look to look until the client goes away', async () => {
  const states: unknown[] = []
  let signal: AbortSignal | undefined
  const { url } = await openWith(async (call, { state }: Asked & { state: number | null }, given) => {
    expect(call).toBe('follow')
    states.push(state)
    signal = given
    const next = (state ?? 0) + 1
    return { lines: Buffer.from(next < 4 ? `line ${next}\n` : ''), state: next }
  })
  const client = await follow(url)
  expect(client.response.headers['content-type']).toBe('application/x-ndjson')
  await until(() => states.length > 5, { what: 'it goes on looking' })
  expect(states.slice(0, 5)).toEqual([null, 1, 2, 3, 4])
  expect(client.lines).toEqual(['line 1', 'line 2', 'line 3'])
  client.leave()
  await until(() => signal!.aborted, { what: 'the looks are stopped' })
  const looks = states.length
  expect((await ask(`${url}/livez`)).status).toBe(200)
  expect(states.length).toBe(looks)
})

test('a client that does not read is not written to', async () => {
  const line = `${'x'.repeat(1024 * 1024 - 1)}\n`
  let looks = 0
  const { url } = await openWith(async () => ({ lines: Buffer.from(line), state: ++looks }))
  const { response, leave } = await begin(`${url}/v1/search?follow=true`)
  let before = -1
  const standsStill = async () => {
    const stands = looks === before
    before = looks
    return stands
  }
  await until(standsStill, { what: 'the looks stand still', interval: 300 })
  expect(looks).toBeLessThan(64)
  response.resume()
  await until(() => looks > before + 64, { what: 'they go on when the client reads' })
  leave()
})

test('what may pass is waited for while a client follows, and all else is its last line', async () => {
  const errors = [new MillraceError('STORE_FAILED', 'away'), new MillraceError('SEARCH_BUSY', 'full')]
  const { url } = await openWith(async (_call, { state }) => {
    if (state === null) return { lines: Buffer.from('first\n'), state: 1 }
    const error = errors.shift()
    if (error !== undefined) throw error
    if (state === 2) throw new MillraceError('SEGMENT_CORRUPT', 'torn')
    return { lines: Buffer.from('second\n'), state: 2 }
  })
  const client = await follow(url)
  await client.ended
  expect(client.lines).toEqual(['first', 'second', JSON.stringify({ error_code: 500, message: 'torn' })])
})

test('so many follow, and no more', async () => {
  const { url } = await openWith(async () => ({ lines: new Uint8Array(), state: null }))
  const clients = await Promise.all(Array.from({ length: 16 }, () => follow(url)))
  expect(await ask(`${url}/v1/search?follow=true`)).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
  clients[0]!.leave()
  const isAdmitted = async () => {
    const client = await follow(url)
    return client.response.statusCode === 200 && client
  }
  const more = await until(isAdmitted, { what: 'there is room' })
  for (const client of [...clients, more]) client.leave()
})

test('at shutdown those who follow are let go, and what was asked is answered', async () => {
  let answer: (() => void) | undefined
  let drained = 0
  const door = await openWith(
    async call => {
      if (call === 'follow') return { lines: new Uint8Array(), state: null }
      await new Promise<void>(resolve => (answer = resolve))
      return json({ records: [] })
    },
    () => drained++
  )
  const client = await follow(door.url)
  const searching = ask(`${door.url}/v1/search`)
  await until(() => answer, { what: 'a search runs' })
  let isThrough = false
  const draining = door.drain().then(() => (isThrough = true))
  await client.ended
  expect(client.response.complete).toBe(true)
  expect({ drained, isThrough }).toEqual({ drained: 1, isThrough: false })
  answer!()
  expect((await searching).body).toEqual({ records: [] })
  await draining
})
