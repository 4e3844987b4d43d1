// The HTTP door alone, with handlers that the test says.
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request } from 'node:http'
import { json } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import type { HttpDoor, HttpHandlers } from '../../src/server/http.ts'
import { startHttp } from '../../src/server/http.ts'
import { MetricRegistry } from '../../src/server/metric-registry.ts'

export interface OpenDoor extends HttpDoor {
  readonly url: string
}

/** Opens one on a port of its own; it is closed when the test has finished. */
export async function openDoor(
  handlers: Partial<HttpHandlers> = {},
  { host = '127.0.0.1', auth }: { host?: string; auth?: string } = {}
): Promise<OpenDoor> {
  const door = await startHttp({ host, port: 0 }, auth, {
    flush: async () => ({ flushed: true }),
    notReady: () => [],
    metrics: new MetricRegistry(),
    searcher: { call: async () => Buffer.from('{}') as never, drain() {} },
    ...handlers
  })
  onTestFinished(() => door.close())
  return { ...door, url: `http://127.0.0.1:${door.port}` }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
}

/** Asks with just these headers: `fetch` would not let a test say who it is. */
export async function ask(url: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  const { response } = await begin(url, headers, method)
  return { status: response.statusCode!, headers: response.headers, body: await json(response) }
}

/** An answer that has begun, and a way to go away from it. */
export async function begin(url: string, headers: Record<string, string> = {}, method = 'GET') {
  const asked = request(url, { headers, method, agent: false }).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  // What goes wrong after that is for those who read.
  asked.on('error', () => {})
  response.on('error', () => {})
  return { response, leave: () => void asked.destroy() }
}
