// The worker's HTTP door: health, metrics, and Millrace's own calls under /v1. Errors are JSON, as in Kafka Connect's
// REST API.

import type { FastifyInstance } from 'fastify'
import fastify from 'fastify'
import { z } from 'zod'
import type { ErrorCode } from '../errors.ts'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import { formatAddress } from '../kafka/address.ts'
import type { Reason } from './health.ts'
import type { MetricRegistry } from './metric-registry.ts'

/** What the door gives access to. */
export interface HttpHandlers {
  flush(request: { topic?: string | undefined; timeoutMs: number }): Promise<object>
  /** Why the worker should get no traffic; none when it is ready. */
  notReady(): readonly Reason[]
  readonly metrics: Pick<MetricRegistry, 'text' | 'contentType'>
}

const flushBody = z.strictObject({ topic: z.string().optional(), timeoutMs: z.number().int().min(1).default(60_000) })

const statusOf: Partial<Record<ErrorCode, number>> = {
  USAGE: 400,
  TIMEOUT: 504,
  BROKER_UNREACHABLE: 503,
  STORE_FAILED: 503
}

/** Listens. Throws LISTEN_FAILED. */
export async function startHttp({ host, port }: Address, handlers: HttpHandlers): Promise<FastifyInstance> {
  const server = fastify({ forceCloseConnections: true })

  server.setErrorHandler((error, _request, reply) => {
    const status = isMillraceError(error)
      ? (statusOf[error.code] ?? 500)
      : ((error as { statusCode?: number }).statusCode ?? 500)
    return reply.status(status).send({
      error_code: status,
      message: messageOf(error),
      ...(isMillraceError(error) ? { code: error.code, hint: error.hint } : {})
    })
  })
  server.setNotFoundHandler((request, reply) =>
    reply.status(404).send({ error_code: 404, message: `no such resource: ${request.method} ${request.url}` })
  )

  server.post('/v1/flush', async request => {
    const body = flushBody.safeParse(request.body ?? {})
    if (!body.success) throw new MillraceError('USAGE', z.prettifyError(body.error))
    return handlers.flush(body.data)
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
  return server
}
