// What tells two forms of one batch from two batches. A broker may compress a batch anew and set the times of its records; what
// they hold, and who sent them, it leaves.
import { createHash } from 'node:crypto'
import { MillraceError } from '../errors.ts'
import type { BatchHeader, CanonicalBatch } from '../kafka/batch.ts'
import type { ReadRecords } from '../kafka/read-records.ts'

type Sent = Pick<
  BatchHeader,
  | 'baseOffset'
  | 'lastOffset'
  | 'recordCount'
  | 'isTransactional'
  | 'isControl'
  | 'producerId'
  | 'producerEpoch'
  | 'baseSequence'
>

export interface BatchIdentity extends Sent {
  /** SHA-256 of its records' offsets, keys, values and headers. */
  readonly contents: string
  /** SHA-256 of its records' times; null where the broker has set them. */
  readonly times: string | null
}

/** Null for a batch that cannot be read: nothing can be told to be another form of it. */
export function identityOf({ header }: CanonicalBatch, read: ReadRecords | MillraceError): BatchIdentity | null {
  if (read instanceof MillraceError) return null
  const contents = createHash('sha256')
  const times = createHash('sha256')
  for (const { offset, timestamp, key, value, headers } of read) {
    const fields = [key, value, ...headers.map(([, bytes]) => bytes)]
    contents.update(JSON.stringify([offset, fields.map(bytes => bytes?.length), headers.map(([name]) => name)]))
    for (const bytes of fields) if (bytes !== null) contents.update(bytes)
    times.update(`${timestamp} `)
  }
  const { baseOffset, lastOffset, recordCount, isTransactional, isControl } = header
  const { producerId, producerEpoch, baseSequence, timestampType } = header
  return {
    ...{ baseOffset, lastOffset, recordCount, isTransactional, isControl, producerId, producerEpoch, baseSequence },
    contents: contents.digest('hex'),
    times: timestampType === 'LogAppendTime' ? null : times.digest('hex')
  }
}

/** Whether a captured batch is, in another form, what an archive or a broker's log has. */
export function isFormOf(captured: BatchIdentity, stored: BatchIdentity): boolean {
  const names = Object.keys(captured) as (keyof BatchIdentity)[]
  return names.every(name => stored[name] === captured[name] || (name === 'times' && stored.times === null))
}
