// Request and response headers: the few bytes before every message body.
// Source: RequestHeader.json and ResponseHeader.json in apache/kafka.

import type { Api, ResponseOf } from './api.ts'
import { Cursor, Sink } from './cursor.ts'
import { int16, int32, string } from './wire.ts'

const plain = { version: 1, flexible: false }

/** A whole request frame: size, header, body. The client id is a plain string in every header version. */
export function requestFrame(api: Api, version: number, correlationId: number, clientId: string, body: Buffer): Buffer {
  const sink = new Sink()
  int32.write(sink, 0, plain)
  int16.write(sink, api.key, plain)
  int16.write(sink, version, plain)
  int32.write(sink, correlationId, plain)
  string.nullable.write(sink, clientId, plain)
  if (version >= api.flexible) sink.uvarint(0)
  sink.append(body)
  return sized(sink)
}

/** A whole response frame: size, header, body. */
export function responseFrame(api: Api, version: number, correlationId: number, body: Buffer): Buffer {
  const sink = new Sink()
  int32.write(sink, 0, plain)
  int32.write(sink, correlationId, plain)
  if (hasResponseTags(api, version)) sink.uvarint(0)
  sink.append(body)
  return sized(sink)
}

/** A whole response frame in pieces: record batches in it are not copied. */
export function responseChunks<A extends Api>(
  api: A,
  version: number,
  correlationId: number,
  answer: ResponseOf<A>
): Buffer[] {
  const sink = new Sink()
  int32.write(sink, 0, plain)
  int32.write(sink, correlationId, plain)
  if (hasResponseTags(api, version)) sink.uvarint(0)
  api.response.write(sink, answer, version)
  const chunks = sink.chunks()
  const size = chunks.reduce((sum, { length }) => sum + length, 0)
  chunks[0]!.writeInt32BE(size - 4, 0)
  return chunks
}

/** The client id in a request's header, empty where there is none. Throws WIRE_CORRUPT. */
export function requestClientId(frame: Buffer): string {
  return string.nullable.read(new Cursor(frame, 12), plain) ?? ''
}

/** Where the body of a request frame begins. Throws WIRE_CORRUPT. */
export function requestBodyStart(frame: Buffer, api: Api, version: number): number {
  const cursor = new Cursor(frame, 12)
  string.nullable.read(cursor, plain)
  if (version >= api.flexible) skipTags(cursor)
  return cursor.position
}

/** Where the body of a response frame begins. Throws WIRE_CORRUPT. */
export function responseBodyStart(frame: Buffer, api: Api, version: number): number {
  const cursor = new Cursor(frame, 8)
  if (hasResponseTags(api, version)) skipTags(cursor)
  return cursor.position
}

/** ApiVersions answers without tags whatever its version, so that a client that guessed too high can read the error. */
function hasResponseTags(api: Api, version: number): boolean {
  return version >= api.flexible && api.key !== 18
}

/** Moves past a section of tagged fields. */
export function skipTags(cursor: Cursor): void {
  for (let count = cursor.uvarint(); count > 0; count--) {
    cursor.uvarint()
    cursor.advance(cursor.uvarint())
  }
}

function sized(sink: Sink): Buffer {
  const frame = sink.finish()
  frame.writeInt32BE(frame.length - 4, 0)
  return frame
}
