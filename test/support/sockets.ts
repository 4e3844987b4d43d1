// Plain connections, to look whether anybody is there, and a server that is nobody.
import net from 'node:net'
import { parseAddress } from '../../src/kafka/address.ts'

/** What becomes of a connection to an address, which must not take as long as to reach what is not there. */
export function connectTo(address: string): Promise<'refused' | 'closed'> {
  const { promise, resolve, reject } = Promise.withResolvers<'refused' | 'closed'>()
  const socket = net.connect(parseAddress(address))
  let accepted = false
  socket.on('connect', () => {
    accepted = true
  })
  socket.on('error', () => {})
  socket.on('close', () => resolve(accepted ? 'closed' : 'refused'))
  socket.setTimeout(5_000, () => reject(new Error(`${address} keeps a connection that leads nowhere`)))
  return promise.finally(() => socket.destroy())
}

/** A server that closes each connection at once. */
export async function closingServer(): Promise<{ port: number } & AsyncDisposable> {
  const server = net.createServer(socket => socket.destroy())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  return { port, [Symbol.asyncDispose]: async () => void server.close() }
}
