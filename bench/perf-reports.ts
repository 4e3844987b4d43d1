// What Kafka's performance tools print, as numbers. Their MB are 2^20 bytes; ours are 10^6.

export interface ProducerReport {
  readonly megabytesPerSecond: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
}

/** The last line of kafka-producer-perf-test. */
export function producerReport(report: string): ProducerReport {
  const pattern = /records\/sec \(([\d.]+) MB\/sec\),.*?(\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th/g
  const [, rate, ...percentiles] = [...report.matchAll(pattern)].at(-1) ?? []
  if (rate === undefined) throw new Error(`not a report of kafka-producer-perf-test: ${report}`)
  const [p50 = 0, p95 = 0, p99 = 0, p999 = 0] = percentiles.map(Number)
  return { megabytesPerSecond: megabytes(rate), p50, p95, p99, p999 }
}

export interface ConsumerReport {
  readonly records: number
  /** From the first poll on, without the time that the group took to form. */
  readonly megabytesPerSecond: number
}

/** The two lines of kafka-consumer-perf-test: names, and their values. */
export function consumerReport(report: string): ConsumerReport {
  const [names = [], values = []] = report
    .trim()
    .split('\n')
    .slice(-2)
    .map(line => line.split(',').map(word => word.trim()))
  const value = (name: string): string => values[names.indexOf(name)] ?? ''
  const records = Number(value('data.consumed.in.nMsg') || Number.NaN)
  if (Number.isNaN(records)) throw new Error(`not a report of kafka-consumer-perf-test: ${report}`)
  return { records, megabytesPerSecond: megabytes(value('fetch.MB.sec')) }
}

function megabytes(mebibytes: string): number {
  return (Number(mebibytes) * 2 ** 20) / 1e6
}
