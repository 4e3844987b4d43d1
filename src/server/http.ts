// The worker's HTTP door: health, metrics, and Millrace's own calls under /v1. Errors are JSON, as in Kafka Connect's
// REST API.

import type { AddressInfo } from 'node:net'
import fastify from 'fastify'
import { z } from 'zod'
import { LONGEST_TIMER_MS } from '../connect/options.ts'
import type { ErrorCode } from '../errors.ts'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import { formatAddress } from '../kafka/address.ts'
import { guardCalls, guardRecords } from './access.ts'
import type { Reason } from './health.ts'
import type { MetricRegistry } from './metric-registry.ts'
import { addSearchRoutes } from './search-routes.ts'
import type { Searcher } from './searcher.ts'

/** What the door gives access to. */
export interface HttpHandlers {
  flush(request: { topic?: string | undefined; timeoutMs: number }): Promise<object>
  /** Why the worker should get no traffic; none when it is ready. */
  notReady(): readonly Reason[]
  readonly metrics: Pick<MetricRegistry, 'text' | 'contentType'>
  readonly searcher: Pick<Searcher, 'call' | 'drain'>
}

export interface HttpDoor {
  /** The one that it listens on, also where port 0 was asked for. */
  readonly port: number
  /** Lets searches finish, within a few seconds, and takes no new ones; all else is answered as before. */
  drain(): Promise<void>
  close(): Promise<void>
}

const flushBody = z.strictObject({
  topic: z.string().optional(),
  timeoutMs: z.number().int().min(1).max(LONGEST_TIMER_MS).default(60_000)
})

const statusOf: Partial<Record<ErrorCode, number>> = {
  USAGE: 400,
  QUERY_INVALID: 400,
  SEARCH_BUSY: 503,
  TIMEOUT: 504,
  BROKER_UNREACHABLE: 503,
  WORKER_UNREACHABLE: 503,
  STORE_FAILED: 503
}

/** What a client hears that should ask again, in seconds. */
const RETRY_AFTER_S = 1

/** Listens. `auth` is who may call what lies under /v1, as user:password; undefined: no password is asked for. Throws LISTEN_FAILED. */
export async function startHttp(
  { host, port }: Address,
  auth: string | undefined,
  handlers: HttpHandlers
): Promise<HttpDoor> {
  const server = fastify({ forceCloseConnections: true })

  server.setErrorHandler((error, _request, reply) => {
    const status = isMillraceError(error)
      ? (statusOf[error.code] ?? 500)
      : ((error as { statusCode?: number }).statusCode ?? 500)
    if (status === 503) reply.header('retry-after', RETRY_AFTER_S)
    return reply.status(status).send({
      error_code: status,
      message: messageOf(error),
      ...(isMillraceError(error) ? { code: error.code, hint: error.hint } : {})
    })
  })
  server.setNotFoundHandler((request, reply) =>
    reply.status(404).send({ error_code: 404, message: `no such resource: ${request.method} ${request.url}` })
  )

  let drain = async (): Promise<void> => {}
  server.register(async calls => {
    calls.addHook('onRequest', guardCalls({ host, auth }))
    calls.post('/v1/flush', async request => {
      const body = flushBody.safeParse(request.body ?? {})
      if (!body.success) throw new MillraceError('USAGE', z.prettifyError(body.error))
      return handlers.flush(body.data)
    })
    calls.register(async records => {
      records.addHook('onRequest', guardRecords({ host, auth }))
      drain = addSearchRoutes(records, handlers.searcher)
    })
  })

  server.get('/livez', () => ({ status: 'ok' }))
  server.get('/readyz', (_request, reply) => {
    const reasons = handlers.notReady()
    if (reasons.length === 0) return reply.send({ status: 'ready' })
    return reply.status(503).send({ status: 'not ready', reasons })
  })
  server.get('/metrics', async (_request, reply) => {
    const text = await handlers.metrics.text()
    return reply.type(handlers.metrics.contentType).send(text)
  })

  try {
    await server.listen({ host, port })
  } catch (cause) {
    throw new MillraceError(
      'LISTEN_FAILED',
      `listeners: cannot listen on ${formatAddress({ host, port })}: ${messageOf(cause)}`,
      {
        cause,
        hint: 'Stop what listens there, or set listeners to a free port, e.g. --set listeners=http://127.0.0.1:8084.'
      }
    )
  }
  return { port: (server.server.address() as AddressInfo).port, drain: () => drain(), close: () => server.close() }
}
