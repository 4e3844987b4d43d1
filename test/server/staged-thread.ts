// Stands in for the search thread, and does what a query says: `crash`, `leave`, `wait` until nobody waits, else answer.
import { parentPort } from 'node:worker_threads'
import type { Asked } from '../../src/server/answers.ts'
import type { SearchRequest } from '../../src/server/search-thread.ts'

parentPort!.on('message', async ({ id, args, stop }: SearchRequest) => {
  const { query } = args as Asked
  if (query === 'crash') throw new Error('staged')
  if (query === 'leave') process.exit(7)
  if (query === 'wait') await Atomics.waitAsync(stop, 0, 0).value
  if (query === 'unclosed "') parentPort!.postMessage({ id, error: { code: 'QUERY_INVALID', message: 'character 10' } })
  else parentPort!.postMessage({ id, result: Buffer.from(JSON.stringify({ query, stopped: stop[0] === 1 })) })
})
