// An OAuth server that gives unsigned tokens, which a test broker believes, to whoever knows the password of one client.

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export interface TokenEndpoint extends AsyncDisposable {
  readonly url: string
  /** Tokens given so far. */
  given(): number
  /** How long further tokens hold; the broker refuses one with none left. */
  lifetimeS: number
}

export async function startTokenEndpoint(clientId: string, clientSecret: string): Promise<TokenEndpoint> {
  let given = 0
  const expected = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`
  const server = createServer(async (request, response) => {
    const form = new URLSearchParams(await text(request))
    response.setHeader('content-type', 'application/json')
    const isRight = form.get('grant_type') === 'client_credentials' && form.get('scope') === 'kafka'
    if (!isRight || request.headers.authorization !== expected) {
      return response.writeHead(401).end(JSON.stringify({ error: 'invalid_client' }))
    }
    given += 1
    const now = Date.now() / 1000
    const claims = { sub: clientId, scope: 'kafka', iat: now, exp: now + endpoint.lifetimeS }
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const token = `${part({ alg: 'none' })}.${part(claims)}.`
    return response.end(JSON.stringify({ access_token: token, token_type: 'Bearer', expires_in: endpoint.lifetimeS }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const endpoint: TokenEndpoint = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    given: () => given,
    lifetimeS: 3600,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
  return endpoint
}
