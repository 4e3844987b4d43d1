// One query as each source is asked it: segments of format version 1 do not have all that later ones have.
import type { Query } from './query.ts'
import { parseQuery } from './query.ts'
import type { RecordSource } from './record-source.ts'

export class Queries {
  /** As most are asked. */
  readonly usual: Query
  readonly #withoutKeyHashes: Query
  readonly #checkWanted: () => void

  /** `checkWanted` is called whenever a source is asked, and may throw. Throws QUERY_INVALID. */
  constructor(text: string, checkWanted: () => void = () => {}) {
    this.#checkWanted = checkWanted
    this.usual = parseQuery(text)
    this.#withoutKeyHashes = parseQuery(text, { keyHash: false })
  }

  for({ hasKeyHashes }: RecordSource): Query {
    this.#checkWanted()
    return hasKeyHashes ? this.usual : this.#withoutKeyHashes
  }
}
