// What a benchmark gives: figures, each the median of its rounds.

export interface Figure {
  readonly what: string
  /** The median of the rounds. */
  readonly value: number
  readonly unit: string
  readonly rounds: readonly number[]
}

export function figure(what: string, unit: string, rounds: readonly number[]): Figure {
  return { what, value: median(rounds), unit, rounds }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
