// How metrics are declared, one table for each owner, and what the worker lends a source to show its own. Counters and
// gauges are read when somebody looks, so that counting costs no more than adding to a number.

export type MetricDeclaration =
  | { readonly type: 'counter' | 'gauge'; readonly help: string; readonly labels?: readonly string[] }
  | {
      readonly type: 'histogram'
      readonly help: string
      readonly labels?: readonly string[]
      /** Upper bounds, ascending, without +Inf. */
      readonly buckets: readonly number[]
    }

/** By name: `millrace_…` in base units (bytes, seconds); counters end in `_total`. */
export type MetricTable = Readonly<Record<string, MetricDeclaration>>

export type Labels = Readonly<Record<string, string>>

type NamesOf<T extends MetricTable, K extends MetricDeclaration['type']> = {
  [N in keyof T & string]: T[N]['type'] extends K ? N : never
}[keyof T & string]

/** The metrics of one table. */
export interface Metrics<T extends MetricTable> {
  /** Shows a counter or gauge: `value` is asked whenever somebody looks; it must be quick and must not throw. */
  show(name: NamesOf<T, 'counter' | 'gauge'>, value: () => number, labels?: Labels): void
  /** Gives what takes the observations of a histogram. One of them costs 0.2 µs. */
  observer(name: NamesOf<T, 'histogram'>, labels?: Labels): (value: number) => void
}
