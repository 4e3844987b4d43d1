// Our own SASL exchange, carried by kafkajs: one implementation of each mechanism, and its errors, for both clients.
import type { AuthenticationProviderArgs, Mechanism } from 'kafkajs'
import { formatAddress } from './address.ts'
import type { Sasl } from './sasl.ts'
import { refusedBy } from './sasl.ts'

/** For kafkajs' option `sasl`. */
export function kafkajsMechanism(sasl: Sasl): Mechanism {
  const { mechanism } = sasl
  return {
    mechanism,
    authenticationProvider: ({ host, port, saslAuthenticate }) => ({
      async authenticate() {
        const messages = sasl.exchange()
        for (let step = await messages.next(); !step.done; ) {
          const answer = await send(step.value, saslAuthenticate).catch((cause: unknown) => {
            const { type, message } = cause as { type?: string; message: string }
            throw type === 'SASL_AUTHENTICATION_FAILED'
              ? refusedBy(formatAddress({ host, port }), mechanism, message, sasl.refused())
              : cause
          })
          step = await messages.next(answer)
        }
      }
    })
  }
}

/** Bytes travel behind their length, as before there were messages for them. */
async function send(value: Buffer, saslAuthenticate: AuthenticationProviderArgs['saslAuthenticate']): Promise<Buffer> {
  const encode = () => {
    const bytes = Buffer.alloc(4 + value.length)
    bytes.writeInt32BE(value.length)
    value.copy(bytes, 4)
    return bytes
  }
  const decode = (bytes: Buffer) => bytes.subarray(4)
  return (await saslAuthenticate({ request: { encode }, response: { decode, parse: bytes => bytes } })) as Buffer
}
