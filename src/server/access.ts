// Who may call what lies under /v1. Records are for nobody who happens to reach the port: beyond this machine they ask for a
// password, and on it they are kept from the web pages that a browser has open.
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** A fastify `onRequest` hook; what it returns has been answered. */
export type Guard = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>

export interface AccessRules {
  /** Where the door listens. */
  readonly host: string
  /** `rest.auth`, as user:password. */
  readonly auth: string | undefined
}

/** For every call under /v1: HTTP Basic (RFC 7617) where `rest.auth` is set, and never a page of another site. */
export function guardCalls({ host, auth }: AccessRules): Guard {
  const expected = auth === undefined ? null : digest(auth)
  return async (request, reply) => {
    if (isForeignPage(request)) return refuse(reply, 403, 'calls from web pages of other sites are not answered')
    if (expected === null) {
      // Without it a name that a foreign page has had resolved to 127.0.0.1 would make that page one of ours (DNS rebinding).
      if (!isLoopback(host) || isLoopbackName(request.headers.host)) return
      return refuse(reply, 403, `this listener is called by a loopback name (got Host: ${request.headers.host})`)
    }
    const given = credentials(request.headers.authorization)
    if (given !== null && timingSafeEqual(digest(given), expected)) return
    reply.header('www-authenticate', 'Basic realm="millrace", charset="UTF-8"')
    return refuse(reply, 401, 'user and password are needed, as rest.auth has them')
  }
}

/** For the calls that give records: nothing beyond loopback without `rest.auth`. */
export function guardRecords({ host, auth }: AccessRules): Guard {
  const isOpen = auth === undefined && !isLoopback(host)
  const why = `records are not given to everybody who reaches ${host}: set rest.auth to user:password, or listeners to a loopback address`
  return async (_request, reply) => (isOpen ? refuse(reply, 403, why) : undefined)
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host)
}

/** Any port: it may be forwarded. A client that sends no Host is no browser. */
function isLoopbackName(header: string | undefined): boolean {
  const [, host] = /^\[?([^\]]*?)\]?(?::\d+)?$/.exec(header ?? 'localhost') ?? []
  return isLoopback((host ?? '').toLowerCase())
}

/** Browsers say it of requests themselves, in one header or the other. */
function isForeignPage({ headers }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site'] ?? 'none'
  if (site !== 'none' && site !== 'same-origin') return true
  const { origin } = headers
  return origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === headers.host)
}

/** user:password of an Authorization header; null where it has none. */
function credentials(header: string | undefined): string | null {
  const [, token] = /^basic +([A-Za-z0-9+/=]+)$/i.exec(header ?? '') ?? []
  return token === undefined ? null : Buffer.from(token, 'base64').toString()
}

/** Of one length, whatever was given, so that comparing tells nothing by its time. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function refuse(reply: FastifyReply, status: number, message: string): FastifyReply {
  return reply.status(status).send({ error_code: status, message })
}
