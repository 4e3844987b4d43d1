/** The first index at which a condition holds that holds for all behind it too; the length where it holds for none. */
export function firstIndex<T>(values: readonly T[], isFrom: (value: T) => boolean): number {
  let [low, high] = [0, values.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isFrom(values[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}
