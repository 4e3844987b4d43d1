// Waiting no longer than until a moment.

/** The outcome of `work`; null when it is not there by `deadline`, in milliseconds as of `performance.now()`. Then it goes on by itself. */
export async function before<T>(deadline: number, work: Promise<T>): Promise<T | null> {
  const { promise, resolve } = Promise.withResolvers<null>()
  const timer = setTimeout(resolve, Math.max(0, deadline - performance.now()), null)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}
