// Consumer groups as a whole: the classic protocol, with committed offsets on disk.
import type { Handler } from '../handler.ts'
import type { LogStore } from '../log-store.ts'
import { Coordinator } from './coordinator.ts'
import { membershipHandlers } from './membership.ts'
import type { OffsetStore } from './offset-store.ts'
import { offsetHandlers } from './offsets.ts'
import { toolHandlers } from './tools.ts'

export interface GroupOptions {
  readonly store: LogStore
  readonly offsets: OffsetStore
  /** Which offsets in the store are meant: the id of the cluster, or the URL of the archive. */
  readonly scope: string
}

export interface GroupHandlers {
  readonly handlers: readonly Handler[]
  /** Ends all timers, and all requests that wait, with COORDINATOR_NOT_AVAILABLE. The offset store stays open. */
  dispose(): void
}

/** Members live as long as the process, as their connections do: after a restart they join again, from their offsets. */
export function groupHandlers({ store, offsets, scope }: GroupOptions): GroupHandlers {
  const coordinator = new Coordinator(offsets, scope)
  return {
    handlers: [...membershipHandlers(coordinator), ...offsetHandlers(coordinator, store), ...toolHandlers(coordinator)],
    dispose: () => coordinator[Symbol.dispose]()
  }
}
