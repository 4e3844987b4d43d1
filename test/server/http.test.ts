// The HTTP door's answers for probes and scrapers.
import { expect, test } from 'vitest'
import type { Reason } from '../../src/server/health.ts'
import { parseMetrics } from '../support/prometheus.ts'
import { openDoor } from './door.ts'

async function start(notReady: () => Reason[] = () => []): Promise<(path: string) => Promise<Response>> {
  const { url } = await openDoor({ notReady })
  return path => fetch(`${url}${path}`)
}

test('/livez answers whatever is wrong', async () => {
  const get = await start(() => [{ what: 'wal', message: 'no space left' }])
  const answer = await get('/livez')
  expect(answer.status).toBe(200)
  expect(await answer.json()).toEqual({ status: 'ok' })
})

test('/readyz turns with the reasons', async () => {
  const reasons: Reason[] = []
  const get = await start(() => reasons)
  const ready = await get('/readyz')
  expect(ready.status).toBe(200)
  expect(await ready.json()).toEqual({ status: 'ready' })

  reasons.push({ what: 'upstream', message: 'away' }, { what: 'wal', message: 'no space left' })
  const unready = await get('/readyz')
  expect(unready.status).toBe(503)
  expect(await unready.json()).toEqual({ status: 'not ready', reasons })
})

test('/metrics is in the format that its media type says', async () => {
  const get = await start()
  const answer = await get('/metrics')
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  expect([...parseMetrics(await answer.text()).keys()]).toContain('process_resident_memory_bytes')
})

test('a flush may take as long as a timer can, and no longer', async () => {
  const { url } = await openDoor()
  const flush = async (timeoutMs: number): Promise<Response> => {
    const headers = { 'content-type': 'application/json' }
    return await fetch(`${url}/v1/flush`, { method: 'POST', headers, body: JSON.stringify({ timeoutMs }) })
  }
  expect((await flush(2 ** 31 - 1)).status).toBe(200)
  const refused = await flush(2 ** 31)
  expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('timeoutMs')])
})

test('anything else is not there', async () => {
  const get = await start()
  const answer = await get('/healthz')
  expect(answer.status).toBe(404)
  expect(await answer.json()).toEqual({ error_code: 404, message: 'no such resource: GET /healthz' })
})
