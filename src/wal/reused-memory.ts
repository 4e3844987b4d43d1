// Memory for whoever looks at one thing after the other, so that a collection does not have to find each.

/** What takes more gets memory of its own: large batches are rare, and this is never given back. */
const KEPT_BYTES = 2 * 1024 * 1024

/** Gives `bytes` of memory, with anything in it. */
export type TakeMemory = (bytes: number) => Buffer

/** Always takes the same memory: what was taken before is not to be looked at any more. */
export function reusedMemory(): TakeMemory {
  let kept = Buffer.alloc(0)
  return bytes => {
    if (bytes > KEPT_BYTES) return Buffer.allocUnsafe(bytes)
    if (bytes > kept.length) kept = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(bytes)))
    return kept.subarray(0, bytes)
  }
}
