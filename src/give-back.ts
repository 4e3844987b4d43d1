// Memory outside V8's heap: V8 frees it when it has grown by 64 MB and the heap is marked for that.

/** Gives the memory of a buffer back at once. Nothing else may lie in it: not for what is cut from Node's pool, as small buffers are. */
export function giveBack({ buffer }: Buffer<ArrayBuffer>): void {
  buffer.transfer(0)
}
