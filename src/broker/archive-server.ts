// What `millrace serve` runs: an archive as a Kafka broker that can be read and not be written.

import type { ArchiveLogsOptions } from './archive/archive-logs.ts'
import { ArchiveLogs } from './archive/archive-logs.ts'
import { readOnlyHandlers } from './archive/read-only.ts'
import { fetchHandler } from './fetch.ts'
import { findCoordinatorHandler } from './find-coordinator.ts'
import { groupHandlers } from './groups/handlers.ts'
import { OffsetStore } from './groups/offset-store.ts'
import { listOffsetsHandler } from './list-offsets.ts'
import { describeClusterHandler, metadataHandler } from './metadata.ts'
import type { ServerOptions } from './server.ts'
import { KafkaServer } from './server.ts'

export interface ArchiveServerOptions extends ArchiveLogsOptions, Omit<ServerOptions, 'handlers'> {
  /** Where committed offsets are kept; null for a server without groups. */
  readonly offsetsFile: string | null
}

export class ArchiveServer implements AsyncDisposable {
  readonly #server: KafkaServer
  readonly #parts: AsyncDisposableStack

  private constructor(server: KafkaServer, parts: AsyncDisposableStack) {
    this.#server = server
    this.#parts = parts
  }

  /** Lists the archive's topics, and listens. Throws LISTEN_FAILED, and what archive and WAL throw. */
  static async open(options: ArchiveServerOptions): Promise<ArchiveServer> {
    const { archive, offsetsFile, onError } = options
    await using opened = new AsyncDisposableStack()
    const logs = opened.use(await ArchiveLogs.open(options))
    const handlers = [
      metadataHandler(logs),
      describeClusterHandler(logs),
      findCoordinatorHandler({ groups: offsetsFile !== null }),
      fetchHandler(logs, { onError }),
      listOffsetsHandler(logs, { onError }),
      ...readOnlyHandlers(logs)
    ]
    if (offsetsFile !== null) {
      const offsets = opened.use(OffsetStore.open(offsetsFile))
      const groups = groupHandlers({ store: logs, offsets, scope: archive.store.url })
      opened.defer(() => groups.dispose())
      handlers.push(...groups.handlers)
    }
    const server = opened.use(await KafkaServer.listen({ ...options, handlers }))
    return new ArchiveServer(server, opened.move())
  }

  /** Where it listens, with the port that was found where 0 was asked for. */
  get address(): KafkaServer['address'] {
    return this.#server.address
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#parts.disposeAsync()
  }
}
