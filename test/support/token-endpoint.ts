// An OAuth server that gives signed tokens (RS256) to clients that know their password, and the public key for the brokers that
// check them.

import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { tempFolder } from './temp.ts'

export const ISSUER = 'https://login.example/'
export const AUDIENCE = 'kafka.example'

export interface TokenEndpoint extends AsyncDisposable {
  readonly url: string
  /** A folder with the public key, and the `file:` URL of the key set in it, as brokers take it. */
  readonly keys: { readonly folder: string; readonly url: string }
  /** Tokens given so far, to one client or to all. */
  given(clientId?: string): number
  /** How further tokens are made; the test changes it, and `reset` undoes that. */
  next: TokenStyle
  reset(): void
}

export interface TokenStyle {
  /** How long they hold. */
  lifetimeS: number
  /** What is told of that; nothing where it is undefined. */
  told?: number | undefined
  /** Over the usual claims. */
  claims: Readonly<Record<string, unknown>>
  /** `stranger` signs in place of the key that the key set has, under its name. */
  signedBy: 'issuer' | 'stranger'
  /** The name of the key in a token's head. */
  keyId: string
  /** This in place of a token. */
  opaque?: string
}

const KEY_ID = 'mill-1'
const usual: TokenStyle = { lifetimeS: 3600, claims: {}, signedBy: 'issuer', keyId: KEY_ID }

const lifetimeTold = (style: TokenStyle) => ('told' in style ? style.told : style.lifetimeS)

/** Each client, by its id, has a password. */
export async function startTokenEndpoint(clients: Readonly<Record<string, string>>): Promise<TokenEndpoint> {
  const folder = await tempFolder('token-keys')
  const newKey = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const signers = { issuer: newKey(), stranger: newKey() }
  const publicKey = createPublicKey(signers.issuer).export({ format: 'jwk' })
  const keySet = join(folder.path, 'jwks.json')
  await writeFile(keySet, JSON.stringify({ keys: [{ ...publicKey, kid: KEY_ID, use: 'sig', alg: 'RS256' }] }))
  const given: string[] = []
  const server = createServer(async (request, response) => {
    const form = new URLSearchParams(await text(request))
    response.setHeader('content-type', 'application/json')
    const [, basic = ''] = /^Basic (.*)$/.exec(request.headers.authorization ?? '') ?? []
    const [clientId = '', secret] = Buffer.from(basic, 'base64').toString().split(/:(.*)/s)
    const isRight = form.get('grant_type') === 'client_credentials' && form.get('scope') === 'kafka'
    if (!isRight || secret === undefined || clients[clientId] !== secret) {
      return response.writeHead(401).end(JSON.stringify({ error: 'invalid_client' }))
    }
    given.push(clientId)
    const token = endpoint.next.opaque ?? tokenFor(clientId)
    const answer = { access_token: token, token_type: 'Bearer', expires_in: lifetimeTold(endpoint.next) }
    return response.end(JSON.stringify(answer))
  })
  const tokenFor = (sub: string): string => {
    const { claims, signedBy, keyId, lifetimeS } = endpoint.next
    const now = Math.floor(Date.now() / 1000)
    const all = { iss: ISSUER, aud: AUDIENCE, sub, scope: 'kafka', iat: now, exp: now + lifetimeS, ...claims }
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const signed = `${part({ alg: 'RS256', typ: 'JWT', kid: keyId })}.${part(all)}`
    return `${signed}.${sign('sha256', Buffer.from(signed), signers[signedBy]).toString('base64url')}`
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const endpoint: TokenEndpoint = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    keys: { folder: folder.path, url: pathToFileURL(keySet).href },
    given: clientId => given.filter(one => clientId === undefined || one === clientId).length,
    next: { ...usual },
    reset: () => {
      endpoint.next = { ...usual }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await folder.dispose()
    }
  }
  return endpoint
}
