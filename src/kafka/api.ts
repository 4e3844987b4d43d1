// An API of Kafka's as a value: its key, the versions that the table describes, and how both of its messages are coded.
import { Cursor, Sink } from './cursor.ts'
import type { Fields, Infer, Type } from './wire.ts'
import { struct } from './wire.ts'

/** One API: its key, the versions that the table describes, the first flexible one, and both messages. */
export interface Api<Request extends Fields = any, Response extends Fields = any> {
  readonly key: number
  readonly name: string
  readonly versions: readonly [min: number, max: number]
  readonly flexible: number
  readonly fields: { request: Request; response: Response }
  readonly request: Message<Infer<Request>>
  readonly response: Message<Infer<Response>>
}

export interface Message<T> {
  /** Decodes a body that starts at `position`. Throws WIRE_CORRUPT. */
  decode(data: Buffer, version: number, position?: number): T
  encode(value: T, version: number): Buffer
  /** Encodes into what has been written before. */
  write(sink: Sink, value: T, version: number): void
}

export type RequestOf<A extends Api> = A extends Api<infer Q, any> ? Infer<Q> : never
export type ResponseOf<A extends Api> = A extends Api<any, infer S> ? Infer<S> : never

export function api<Q extends Fields, S extends Fields>(
  key: number,
  name: string,
  { versions, flexible }: { versions: readonly [number, number]; flexible: number },
  request: Q,
  response: S
): Api<Q, S> {
  return {
    key,
    name,
    versions,
    flexible,
    fields: { request, response },
    request: message(flexible, struct(request)),
    response: message(flexible, struct(response))
  }
}

function message<T>(flexible: number, type: Type<T>): Message<T> {
  return {
    decode: (data, version, position = 0) =>
      type.read(new Cursor(data, position), { version, flexible: version >= flexible }),
    encode(value, version) {
      const sink = new Sink()
      type.write(sink, value, { version, flexible: version >= flexible })
      return sink.finish()
    },
    write: (sink, value, version) => type.write(sink, value, { version, flexible: version >= flexible })
  }
}
