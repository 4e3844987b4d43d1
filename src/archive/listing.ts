// What the names of a partition's objects say.
import { parseObjectName } from './layout.ts'
import type { ObjectInfo } from './store-contract.ts'

/** A segment by its name alone. */
export interface PlacedObject extends ObjectInfo {
  readonly offset: number
}

export interface Listing {
  readonly hasRoot: boolean
  /** The highest trim; 0 without any. */
  readonly trim: number
  /** By the offset at which they begin. */
  readonly segments: ReadonlyMap<number, PlacedObject>
  readonly merged: ReadonlyMap<number, PlacedObject>
  readonly extras: readonly ObjectInfo[]
}

/** Takes the objects of one partition, in any order. */
export class ListingBuilder implements Listing {
  hasRoot = false
  trim = 0
  readonly segments = new Map<number, PlacedObject>()
  readonly merged = new Map<number, PlacedObject>()
  readonly extras: ObjectInfo[] = []

  /** `name` is the object's key without the partition's prefix. */
  add(name: string, object: ObjectInfo): void {
    const parsed = parseObjectName(name)
    if (parsed?.kind === 'root') this.hasRoot = true
    else if (parsed?.kind === 'segment') this.segments.set(parsed.offset, { ...object, offset: parsed.offset })
    else if (parsed?.kind === 'merged') this.merged.set(parsed.offset, { ...object, offset: parsed.offset })
    else if (parsed?.kind === 'trim') this.trim = Math.max(this.trim, parsed.offset)
    else if (parsed?.kind === 'extra') this.extras.push(object)
  }
}
