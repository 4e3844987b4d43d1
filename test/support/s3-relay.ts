// Stands between an S3 client and the real server, notes the requests, and can spoil chosen ones.
import type { IncomingMessage, RequestListener } from 'node:http'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Relay extends AsyncDisposable {
  readonly endpoint: string
  readonly seen: IncomingMessage[]
  /** What the next PUTs meet, one each; then all pass. */
  readonly faults: Fault[]
  /** So many of the next GETs get half of their bytes. */
  halves: number
}

/** Answers with a status and S3 error code; passes the request on but cuts the line instead of answering; cuts at once. */
export type Fault = { status: number; code: string } | 'lose the answer' | 'cut'

export async function relayTo(endpoint: string): Promise<Relay> {
  const target = new URL(endpoint)
  const seen: IncomingMessage[] = []
  const faults: Fault[] = []
  const state = { seen, faults, halves: 0 }
  const relay: RequestListener = (incoming, outgoing) => {
    seen.push(incoming)
    const fault = incoming.method === 'PUT' ? faults.shift() : undefined
    if (fault === 'cut') return incoming.socket.destroy()
    if (typeof fault === 'object') {
      incoming.resume()
      return outgoing.writeHead(fault.status).end(`<Error><Code>${fault.code}</Code><Message>spoilt</Message></Error>`)
    }
    const { method, url: path, headers } = incoming
    // The headers as they are, since they are signed.
    const passed = request({ host: target.hostname, port: target.port, method, path, headers }, answer => {
      if (fault === 'lose the answer') {
        answer.resume()
        return answer.once('end', () => incoming.socket.destroy())
      }
      outgoing.writeHead(answer.statusCode!, answer.headers)
      if (incoming.method === 'GET' && state.halves > 0) {
        state.halves -= 1
        const half = Number(answer.headers['content-length']) / 2
        answer.resume()
        return outgoing.write(Buffer.alloc(half), () => incoming.socket.destroy())
      }
      return answer.pipe(outgoing)
    })
    passed.on('error', () => incoming.socket.destroy())
    return incoming.pipe(passed)
  }
  const server = createServer(relay)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const close = async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
  const { port } = server.address() as AddressInfo
  return Object.assign(state, { endpoint: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: close })
}
