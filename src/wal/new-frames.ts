// The frames of the commit that is being made, and what makes two frames the same.
import type { FrameRef } from './messages.ts'
import type { WalEntry } from './rows.ts'

export interface Frame {
  readonly ref: FrameRef
  readonly bytes: Buffer
}

/** Those that no index knows yet. */
export class NewFrames {
  readonly all: Frame[] = []
  readonly #places = new Map<string, FrameRef[]>()

  add(frame: Frame): void {
    this.all.push(frame)
    const place = placeOf(frame.ref)
    const others = this.#places.get(place)
    if (others === undefined) this.#places.set(place, [frame.ref])
    else others.push(frame.ref)
  }

  has(ref: FrameRef): boolean {
    return (
      this.#places.get(placeOf(ref))?.some(other => isSame({ ...other, bytes: other.end - other.batch }, ref)) ?? false
    )
  }
}

function placeOf({ stream, baseOffset }: FrameRef): string {
  return `${stream} ${baseOffset}`
}

/**
 * The same batch, whatever bytes 0..8 and 12..16 say (base offset and leader epoch): its CRC covers the rest. Other flags
 * make another row, since they tell what is known of the batch: that the broker's own log has it.
 */
export function isSame(row: Pick<WalEntry, 'lastOffset' | 'crc' | 'flags' | 'bytes'>, ref: FrameRef): boolean {
  const bytes = ref.end - ref.batch
  return row.crc === ref.crc && row.lastOffset === ref.lastOffset && row.bytes === bytes && row.flags === ref.flags
}
