// What a call throws, as a value.

/** The error that `work` throws; undefined when it throws none. */
export function thrown(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}
