// What a test can ask of any Kafka client, so that the same tests run with all of them.
import type { Need } from '../servers.ts'

export const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
export type Codec = (typeof codecs)[number]

/** Names and values of a record's headers, in order; a name may come twice. */
export type HeaderList = readonly (readonly [string, string | null])[]

/** A record's content; texts hold neither tabs nor control characters, and are not empty. */
export interface NewRecord {
  key: string | null
  value: string | null
  headers?: HeaderList
}

export interface ReadRecord extends Required<NewRecord> {
  partition: number
  offset: number
  /** Milliseconds since 1970. */
  timestamp: number
}

export interface ProduceOptions {
  acks: 0 | 1 | 'all'
  codec?: Codec
  idempotent?: boolean
  /** The client's own limit, raised so that the broker's is met. */
  maxBytes?: number
}

/** Where reading begins: of all partitions, or at an offset of partition 0 that may be out of range, read from the start then. */
export type From = 'beginning' | { timestamp: number } | { offset: number }

/** A time, or what ListOffsets asks for by a negative one. */
export type OffsetsAt = 'earliest' | 'latest' | 'max-timestamp' | number

export interface MemberOptions {
  group: string
  topic: string
  /** By which a group's description shows who is who. */
  clientId: string
  /** A static member. */
  instanceId?: string
  /** Milliseconds that a fetch may wait for a record; the client's own choice unless told. */
  fetchWait?: number
}

/** A consumer in a group that starts where nothing is committed at the beginning, commits by itself, and runs until it leaves. */
export interface Member extends AsyncDisposable {
  /** What it has read so far, in the order in which it was given. */
  readonly records: readonly ReadRecord[]
  /** Commits what was read, and closes the consumer. */
  leave(): Promise<void>
  /** How often it was given partitions; undefined where the client does not tell. */
  readonly assignments: number | undefined
}

export interface Client {
  readonly name: string
  readonly needs: readonly Need[]
  readonly can: {
    readonly staticMember: boolean
    readonly maxTimestamp: boolean
    readonly writeNullHeaders: boolean
    /** A consumer asks for its topic to be made where it is not there. */
    readonly makeTopicByReading: boolean
  }
  /** Rejects when the client reports a failure. */
  produce(bootstrap: string, topic: string, records: readonly NewRecord[], options: ProduceOptions): Promise<void>
  /** The first `count` records from there on. */
  consume(bootstrap: string, topic: string, options: { from: From; count: number }): Promise<ReadRecord[]>
  /** By partition; none where no record is as young as the time. */
  offsets(bootstrap: string, topic: string, at: OffsetsAt): Promise<Map<number, number>>
  join(bootstrap: string, options: MemberOptions): Promise<Member>
}

/** Milliseconds after which a group's member without a sign of life is dropped, and between its signs of life. */
export const groupTimes = { session: 10_000, heartbeat: 300 } as const
