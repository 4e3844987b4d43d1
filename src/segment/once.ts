// Work whose outcome is kept, so that it is done once, however many ask for it.

/** Does something when it is first asked for, and gives that ever after; but a failure is not remembered. */
export function once<T>(work: () => Promise<T>): () => Promise<T> {
  let done: Promise<T> | undefined
  return () =>
    (done ??= work().catch(error => {
      done = undefined
      throw error
    }))
}
