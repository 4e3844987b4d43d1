// The embedded broker: one Kafka node over Millrace's own log, for trying things out without a cluster.
import path from 'node:path'
import type { Address } from '../kafka/address.ts'
import type { RecoveryReport } from '../wal/recovery-report.ts'
import { EmbeddedLogs } from './embedded/embedded-logs.ts'
import { embeddedHandlers } from './embedded/handlers.ts'
import { fetchHandler } from './fetch.ts'
import { findCoordinatorHandler } from './find-coordinator.ts'
import { groupHandlers } from './groups/handlers.ts'
import { OffsetStore } from './groups/offset-store.ts'
import type { ReportError } from './handler.ts'
import { listOffsetsHandler } from './list-offsets.ts'
import type { LogStore } from './log-store.ts'
import { describeClusterHandler, metadataHandler } from './metadata.ts'
import { KafkaServer } from './server.ts'

export interface EmbeddedBrokerOptions {
  /** For topics, logs and committed offsets; made if it is not there, never shared with another process. */
  readonly directory: string
  /** What the logs may take before the oldest records are forgotten. */
  readonly maxBytes: number
  /** What one batch may grow to when it is checked; more is refused. */
  readonly maxDecompressedBytes?: number | undefined
  readonly listen: Address
  /** Where clients are told to find it; see ServerOptions. */
  readonly advertised?: Address | undefined
  /** The option or flag that says where to listen, and what to do where that fails. */
  readonly what: string
  readonly hint: string
  readonly onError: ReportError
}

export class EmbeddedBroker implements AsyncDisposable {
  readonly #server: KafkaServer
  readonly #parts: AsyncDisposableStack
  readonly logs: LogStore
  /** What the start found of earlier runs. */
  readonly recovery: RecoveryReport
  /** True when it had no topic at its start. */
  readonly isNew: boolean

  private constructor(server: KafkaServer, logs: EmbeddedLogs, isNew: boolean, parts: AsyncDisposableStack) {
    this.#server = server
    this.#parts = parts
    this.logs = logs
    this.recovery = logs.recovery
    this.isNew = isNew
  }

  /** Recovers what an earlier run left, and listens. Throws DATA_LOCKED, WAL_CORRUPT, WAL_FAILED, LISTEN_FAILED. */
  static async open(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
    const { directory, maxBytes, maxDecompressedBytes, onError, ...serving } = options
    await using opened = new AsyncDisposableStack()
    const logs = opened.use(await EmbeddedLogs.open({ directory, maxBytes }))
    const isNew = (await logs.topics()).length === 0
    const offsets = opened.use(OffsetStore.open(path.join(directory, 'offsets.db')))
    const groups = groupHandlers({ store: logs, offsets, scope: logs.clusterId })
    opened.defer(() => groups.dispose())
    const handlers = [
      metadataHandler(logs, { create: name => logs.createOnFirstUse(name) }),
      describeClusterHandler(logs),
      findCoordinatorHandler({ groups: true }),
      fetchHandler(logs, { onError }),
      listOffsetsHandler(logs, { onError }),
      ...embeddedHandlers(logs, maxDecompressedBytes),
      ...groups.handlers
    ]
    const server = opened.use(await KafkaServer.listen({ ...serving, handlers, onError }))
    return new EmbeddedBroker(server, logs, isNew, opened.move())
  }

  /** Where it listens, with the port that was found where 0 was asked for. */
  get address(): Address {
    return this.#server.address
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync()
  }
}
