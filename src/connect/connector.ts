// What a connector is: a plain object that declares its options and opens something. Bundled ones follow the same contract
// as a third party's.
import type { ConnectionOptions } from 'node:tls'
import type { Logger } from 'pino'
import type { ObjectStore, StoreAccess } from '../archive/object-store.ts'
import { MillraceError } from '../errors.ts'
import type { Address } from '../kafka/address.ts'
import type { Cluster } from '../kafka/cluster.ts'
import type { Backfill } from '../sealing/backfill.ts'
import type { CapturedBatch } from '../wal/messages.ts'
import type { Metrics, MetricTable } from './metrics.ts'
import type { Options, Values } from './options.ts'

/** What does not fit together in a connector's file. It is printed with the file's name, before anything is opened. */
export interface Mismatch {
  /** The key to be changed. */
  readonly key: string
  /** As in `is required with …`. */
  readonly rule: string
  readonly got?: string
  /** What the user can do about it, as a sentence. */
  readonly hint?: string
}

/** The error for one, for who is opened without the files having been checked. */
export function mismatch({ key, rule, got, hint }: Mismatch): MillraceError {
  const message = `${key}: ${rule}${got === undefined ? '' : ` (got ${JSON.stringify(got)})`}`
  return new MillraceError('CONFIG_INVALID', message, { hint })
}

/** What the worker lends a source. */
export interface SourceContext {
  /** The connector's name, from its file. */
  readonly name: string
  readonly logger: Logger
  readonly bootstrap: readonly Address[]
  /** For `tls.connect` to the cluster's brokers, beside host, port and `servername`; undefined where they speak no TLS. */
  readonly tls: ConnectionOptions | undefined
  readonly clusterId: string
  /** A raw client of the upstream cluster. It belongs to the worker. */
  readonly cluster: Cluster
  /**
   * Makes batches durable in the WAL. A source may tell a producer "yes" only after this has resolved; a rejection means
   * that nothing of the call may be called durable. The batches' chunks are not used after the call has returned.
   */
  capture(batches: readonly CapturedBatch[]): Promise<void>
  /** Why a source may let nothing in at the moment, because the WAL takes nothing; null while it may. */
  captureFault(): MillraceError | null
  /** What becomes of a batch that cannot be captured: the producer is told to send it again, or goes on as if it were. */
  readonly onCaptureFailure: 'block' | 'pass'
  /** The metrics of the source's table, shown at /metrics with the label `connector`. To be called once, at the start. */
  metrics<T extends MetricTable>(table: T): Metrics<T>
}

/** A source that runs. */
export interface RunningSource {
  /** Where clients reach it, for the log line `ready`. */
  readonly addresses: Readonly<Record<string, string>>
  /**
   * Which topics the archive is to hold whole: what the source did not bring of them is fetched from the broker. `earliest`: all of
   * it, with what the broker had before; `captured`: what comes from now on to topics of which something came to the source;
   * null: none of this topic. Without this method none of any.
   */
  watches?(topic: string): Backfill | null
  /** Whether something of a topic may have gone through since the start without being captured: acks=0, or let pass. */
  hasPassed?(topic: string, topicId: string): boolean
  /** Of how many topics something has, so that a new one is noticed soon. */
  readonly passedTopics?: number
  /** Takes nothing new, finishes what it owes, closes. Called once, on the main thread, before the WAL closes. */
  stop(): Promise<void>
}

/**
 * A source brings batches in. `start` is called once, on the main thread, when the WAL is open; what it throws stops the
 * worker, with the code's exit status.
 */
export interface SourceConnector<D extends Options = Options> {
  readonly type: 'source'
  /** The short `connector.class`. */
  readonly name: string
  /** Other accepted spellings of `connector.class`. */
  readonly aliases: readonly string[]
  readonly doc: string
  readonly options: D
  /** Called with values that are right each by itself; gives what is wrong with them together. Must open nothing. */
  check?(config: Values<D>): readonly Mismatch[]
  start(config: Values<D>, context: SourceContext): Promise<RunningSource>
}

/**
 * An archive sink says where segments are kept. `open` is called once; who calls it closes the store. Commands that read say so by
 * `access`: they may have no right to write, and nothing may be made for them.
 */
export interface ArchiveConnector<D extends Options = Options> {
  readonly type: 'sink'
  readonly name: string
  readonly aliases: readonly string[]
  readonly doc: string
  readonly options: D
  /** As of a source. */
  check?(config: Values<D>): readonly Mismatch[]
  open(config: Values<D>, access: StoreAccess): Promise<ObjectStore>
}

export type Connector = SourceConnector<any> | ArchiveConnector<any>

/** Gives a connector its types; does nothing else. */
export function defineSource<const D extends Options>(connector: SourceConnector<D>): SourceConnector<D> {
  return connector
}

export function defineArchive<const D extends Options>(connector: ArchiveConnector<D>): ArchiveConnector<D> {
  return connector
}
