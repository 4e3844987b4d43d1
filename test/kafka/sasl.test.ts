// What goes to a broker by PLAIN and OAUTHBEARER, byte for byte, and where tokens come from.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { saslOf } from '../../src/kafka/sasl.ts'
import type { TokenEndpoint } from '../support/token-endpoint.ts'
import { AUDIENCE, ISSUER, startTokenEndpoint } from '../support/token-endpoint.ts'

const SECRET = 'grist and flour'
const PACKAGE = 'org.apache.kafka.common.security'

test('PLAIN is one message: RFC 4616', async () => {
  const login = `${PACKAGE}.plain.PlainLoginModule required username="miller" password="grïst";`
  const messages = saslOf({ 'sasl.mechanism': 'PLAIN', 'sasl.jaas.config': login }).exchange()
  expect((await messages.next()).value).toEqual(Buffer.from('\0miller\0grïst'))
  expect((await messages.next(Buffer.alloc(0))).done).toBe(true)
})

describe('OAUTHBEARER', () => {
  let tokens: TokenEndpoint
  beforeEach(async () => {
    tokens = await startTokenEndpoint({ miller: SECRET })
  })
  afterEach(() => tokens[Symbol.asyncDispose]())

  const sasl = (endpoint: string) =>
    saslOf({
      'sasl.mechanism': 'OAUTHBEARER',
      'sasl.jaas.config': `${PACKAGE}.oauthbearer.OAuthBearerLoginModule required clientId="miller" clientSecret="${SECRET}" scope="kafka" extension_logicalCluster="lkc-1";`,
      'sasl.oauthbearer.token.endpoint.url': endpoint
    })

  test('sends a token and the extensions: RFC 7628, KIP-342', async () => {
    const messages = sasl(tokens.url).exchange()
    const parts = String((await messages.next()).value).split('\x01')
    const token = expect.stringMatching(/^auth=Bearer [\w-]+\.[\w-]+\.[\w-]+$/)
    expect(parts).toEqual(['n,,', token, 'logicalCluster=lkc-1', '', ''])
    expect((await messages.next(Buffer.alloc(0))).done).toBe(true)
  })

  test('acknowledges a refusal, and asks for another token then', async () => {
    const { exchange, refused } = sasl(tokens.url)
    const messages = exchange()
    await messages.next()
    await exchange().next()
    expect(tokens.given()).toBe(1)
    expect((await messages.next(Buffer.from('{"status":"invalid_token"}'))).value).toEqual(Buffer.from([1]))
    // Each of two connections that have shown it.
    const hint = `issuer "${ISSUER}", audience "${AUDIENCE}", key "mill-1" ("RS256")`
    expect([refused(), refused()]).toEqual([expect.stringContaining(hint), expect.stringContaining(hint)])
    await exchange().next()
    expect(tokens.given()).toBe(2)
  })

  test('of a token that is no JWT nothing is told', async () => {
    const { exchange, refused } = sasl(tokens.url)
    tokens.next.opaque = 'grist.flour.bread'
    await exchange().next()
    expect(refused()).toMatch(/^The token is no JWT, [^.]+\.$/)
  })

  test('keeps no token that is about to end', async () => {
    tokens.next.lifetimeS = 0
    const { exchange } = sasl(tokens.url)
    await exchange().next()
    await exchange().next()
    expect(tokens.given()).toBe(2)
  })

  test.each([
    ['nothing', undefined, 3600, 1],
    ['more than the token', 3600, 0, 2],
    ['less than the token', 0, 3600, 2]
  ])('believes the shorter life: the endpoint says %s', async (_, told, lifetimeS, given) => {
    Object.assign(tokens.next, { told, lifetimeS })
    const { exchange } = sasl(tokens.url)
    await exchange().next()
    await exchange().next()
    expect(tokens.given()).toBe(given)
  })

  test.each([
    ['is in trouble', 503, 'x', 'BROKER_UNREACHABLE', /: HTTP 503$/],
    ['says why not', 400, '{"error":"invalid_scope"}', 'AUTHENTICATION_FAILED', /: HTTP 400 invalid_scope$/],
    ['is none', 200, '<html>', 'AUTHENTICATION_FAILED', /: its answer holds no access_token$/],
    ['sends us elsewhere', 302, '', 'BROKER_UNREACHABLE', /redirect/]
  ])('an endpoint that %s', async (_, status, body, code, message) => {
    const server = createServer((_, response) => response.writeHead(status, { location: '/other' }).end(body))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const error = await sasl(`http://127.0.0.1:${port}/`)
      .exchange()
      .next()
      .catch((failure: unknown) => failure)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(SECRET)
  })
})
