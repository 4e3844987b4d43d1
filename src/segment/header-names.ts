// How many records have a header of each name.

/** So many names are counted, and no longer ones: a client may make up a name for each record. */
const MAX_NAMES = 10_000
const MAX_NAME_LENGTH = 256
const FREQUENT_NAMES = 1_000

export class HeaderNames {
  readonly #records = new Map<string, number>()

  add(headers: readonly (readonly [name: string, value: Buffer | null])[]): void {
    if (headers.length === 0) return
    for (const name of new Set(headers.map(([name]) => name))) {
      const records = this.#records.get(name)
      if (records !== undefined) this.#records.set(name, records + 1)
      else if (this.#records.size < MAX_NAMES && name.length <= MAX_NAME_LENGTH) this.#records.set(name, 1)
    }
  }

  /** The names that most records have. */
  frequent(): [name: string, records: number][] {
    return [...this.#records].sort(([, a], [, b]) => b - a).slice(0, FREQUENT_NAMES)
  }
}
