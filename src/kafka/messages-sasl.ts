// The Kafka messages by which a client says who it is, field by field, in wire order.
// Source: clients/src/main/resources/common/message in apache/kafka 4.3.1; a test compares every field with it.
import { api } from './api.ts'
import { array, bytes, int16, int64, string } from './wire.ts'

/** From version 1 on, what follows travels in SaslAuthenticate. */
export const saslHandshake = api(
  17,
  'SaslHandshake',
  { versions: [1, 1], flexible: Number.POSITIVE_INFINITY },
  { mechanism: string },
  { errorCode: int16, mechanisms: array(string) }
)

export const saslAuthenticate = api(
  36,
  'SaslAuthenticate',
  { versions: [0, 2], flexible: 2 },
  { authBytes: bytes },
  { errorCode: int16, errorMessage: string.nullable, authBytes: bytes, sessionLifetimeMs: int64.since(1).or(0) }
)
