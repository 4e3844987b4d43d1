// Searches behind one another: one that takes its thread with it, one that nobody waits for any more, more than can wait.
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { Searcher } from '../../src/server/searcher.ts'

function start() {
  const logged: string[] = []
  const logger = pino({}, { write: line => void logged.push((JSON.parse(line) as { msg: string }).msg) })
  const searcher = new Searcher({} as never, logger, new URL('./staged-thread.ts', import.meta.url))
  onTestFinished(() => searcher[Symbol.asyncDispose]())
  const ask = async (query: string, signal = new AbortController().signal): Promise<unknown> => {
    const answer = await searcher.call('count', { query } as never, signal)
    return JSON.parse(Buffer.from(answer).toString())
  }
  return { searcher, ask, logged }
}

const busy = { code: 'SEARCH_BUSY' }

test.each(['crash', 'leave'])(
  'a search that ends the thread (%s) fails alone, and the next has another thread',
  async end => {
    const { ask, logged } = start()
    const [first, lost, next] = await Promise.allSettled([ask('first'), ask(end), ask('next')])
    expect(first).toMatchObject({ value: { query: 'first' } })
    expect(lost).toMatchObject({
      reason: { message: expect.stringMatching(/^the search thread has ended: (staged|it ended with 7)$/) }
    })
    expect(next).toMatchObject({ value: { query: 'next' } })
    expect(logged).toEqual(['the search thread has ended: the next search starts another one'])
    expect(await ask('later')).toEqual({ query: 'later', stopped: false })
  }
)

test('errors keep their code', async () => {
  const { ask } = start()
  await expect(ask('unclosed "')).rejects.toMatchObject({ code: 'QUERY_INVALID', message: 'character 10' })
})

test('a search that nobody waits for is told to stop, whether it runs or waits', async () => {
  const { ask, logged } = start()
  const client = new AbortController()
  const running = ask('wait', client.signal)
  const waiting = ask('crash', client.signal)
  const next = ask('next')
  client.abort(new Error('gone'))
  await expect(running).rejects.toThrow('gone')
  await expect(waiting).rejects.toThrow('gone')
  // It would wait for ever behind the first.
  expect(await next).toEqual({ query: 'next', stopped: false })
  expect(logged).toEqual([])
  await expect(ask('late', client.signal)).rejects.toThrow('gone')
})

test('as many wait as can, the others are told to come again', async () => {
  const { ask } = start()
  const client = new AbortController()
  const running = ask('wait', client.signal)
  const waiting = Array.from({ length: 32 }, (_, i) => ask(String(i)))
  await expect(ask('one more')).rejects.toMatchObject(busy)
  client.abort(new Error('gone'))
  await expect(running).rejects.toThrow('gone')
  expect(await Promise.all(waiting)).toHaveLength(32)
  expect(await ask('again')).toMatchObject({ query: 'again' })
})

test('at shutdown what runs is answered, what waits or comes is not', async () => {
  const { ask, searcher } = start()
  const running = ask('first')
  const waiting = expect(ask('second')).rejects.toMatchObject(busy)
  searcher.drain()
  await waiting
  await expect(ask('third')).rejects.toMatchObject(busy)
  expect(await running).toMatchObject({ query: 'first' })
})

test('closing it leaves nobody waiting', async () => {
  const { ask, searcher } = start()
  const running = expect(ask('wait')).rejects.toMatchObject(busy)
  await searcher[Symbol.asyncDispose]()
  await running
})
