// The groups of one cluster or archive: those with members, and those of which only committed offsets are there.
import { Group } from './group.ts'
import type { OffsetStore } from './offset-store.ts'

/** How often groups without members and offsets are forgotten (as in Kafka: offsets.retention.check.interval.ms). */
const FORGET_MS = 10 * 60_000

export class Coordinator implements Disposable {
  readonly offsets: OffsetStore
  readonly scope: string
  readonly #groups = new Map<string, Group>()
  readonly #forgetting: NodeJS.Timeout

  constructor(offsets: OffsetStore, scope: string) {
    this.offsets = offsets
    this.scope = scope
    this.#forgetting = setInterval(() => this.#forget(), FORGET_MS)
  }

  /** A group that has or had members, or that has offsets on disk: members do not survive a restart, offsets do. */
  find(id: string): Group | undefined {
    const group = this.#groups.get(id)
    return group === undefined && this.offsets.has(this.scope, id) ? this.findOrCreate(id) : group
  }

  findOrCreate(id: string): Group {
    const group = this.#groups.get(id) ?? new Group(id)
    this.#groups.set(id, group)
    return group
  }

  all(): Group[] {
    for (const id of this.offsets.groups(this.scope)) this.findOrCreate(id)
    return [...this.#groups.values()]
  }

  /** Removes a group; its offsets are the caller's. */
  remove(group: Group): void {
    group.close()
    this.#groups.delete(group.id)
  }

  #forget(): void {
    for (const group of this.#groups.values()) {
      if (group.isIdle && !this.offsets.has(this.scope, group.id)) this.remove(group)
    }
  }

  /** Ends all timers, and all requests that wait for an answer. */
  [Symbol.dispose](): void {
    clearInterval(this.#forgetting)
    for (const group of this.#groups.values()) group.close()
    this.#groups.clear()
  }
}
