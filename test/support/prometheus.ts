// A reader of Prometheus' text format 0.0.4 that takes nothing which the format's description does not allow.
// https://prometheus.io/docs/instrumenting/exposition_formats/

export interface Family {
  readonly type: string
  readonly help: string
  /** By name and labels as written: `name{a="b"}`, labels in alphabetical order. */
  readonly samples: ReadonlyMap<string, number>
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\[\\\\"n])*"'
const meta = new RegExp(`^# (HELP|TYPE) (${NAME}) (.*)$`)
const sample = new RegExp(`^(${NAME})(?:\\{(${LABEL}(?:,${LABEL})*)\\})? ([^ ]+)$`)

/** Reads one scrape. Throws for a line that is not allowed, and for a histogram whose buckets do not add up. */
export function parseMetrics(text: string): Map<string, Family> {
  if (!text.endsWith('\n')) throw new Error('the last line must end in a line feed')
  const families = new Map<string, { type?: string; help?: string; readonly samples: Map<string, number> }>()
  let current = ''
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue
    const described = meta.exec(line)
    if (described !== null) {
      const [, keyword, name, rest] = described
      if (keyword === 'HELP' && families.has(name!)) throw new Error(`${name} is described twice`)
      current = name!
      const family = families.get(current) ?? { samples: new Map<string, number>() }
      families.set(current, family)
      if (keyword === 'HELP') family.help = rest!
      else if (family.type !== undefined || family.samples.size > 0) throw new Error(`${name}: a late TYPE`)
      else family.type = rest!
      continue
    }
    const [, name, labels = '', value] = sample.exec(line) ?? fail(`not a line of the format: ${line}`)
    const family = families.get(current)
    if (family?.type === undefined) throw new Error(`${name} comes before its TYPE`)
    const suffixes = family.type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    if (!suffixes.some(suffix => name === current + suffix)) throw new Error(`${name} stands among ${current}`)
    const sorted = (labels.match(new RegExp(LABEL, 'g')) ?? []).sort().join(',')
    const key = sorted === '' ? name! : `${name}{${sorted}}`
    if (family.samples.has(key)) throw new Error(`${key} is there twice`)
    family.samples.set(key, numberOf(value!))
  }
  for (const [name, { type, help, samples }] of families) {
    if (!['counter', 'gauge', 'histogram'].includes(type ?? '')) throw new Error(`${name}: type ${type}`)
    if (help === undefined) throw new Error(`${name} has no HELP`)
    if (type === 'counter') for (const value of samples.values()) if (!(value >= 0)) fail(`${name} is ${value}`)
    if (type === 'histogram') checkHistogram(name, samples)
  }
  return families as Map<string, Family>
}

/** Every bucket holds what the ones below it hold, and the last one all. */
function checkHistogram(name: string, samples: ReadonlyMap<string, number>): void {
  const series = new Map<string, [bound: number, count: number][]>()
  for (const [key, value] of samples) {
    const bound = /[{,]le="([^"]+)"/.exec(key)?.[1]
    if (bound === undefined) continue
    const others = key
      .slice(`${name}_bucket`.length)
      .replace(/(?<=[{,])le="[^"]+",?/, '')
      .replace(/,?\}$/, '}')
    const buckets = series.get(others) ?? []
    series.set(others, buckets)
    buckets.push([numberOf(bound), value])
  }
  for (const [labels, buckets] of series) {
    const suffix = labels === '{}' ? '' : labels
    const total = samples.get(`${name}_count${suffix}`)
    if (total === undefined || samples.get(`${name}_sum${suffix}`) === undefined)
      fail(`${name}${suffix}: no sum or count`)
    buckets.sort(([a], [b]) => a - b)
    if (buckets.some(([, count], i) => count < (buckets[i - 1]?.[1] ?? 0))) fail(`${name}${suffix}: buckets shrink`)
    const [bound, count] = buckets.at(-1)!
    if (bound !== Number.POSITIVE_INFINITY || count !== total) fail(`${name}${suffix}: +Inf is not the count`)
  }
}

function numberOf(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY
  if (text === '-Inf') return Number.NEGATIVE_INFINITY
  // As Go reads it, in any case: prom-client writes "Nan" for a mean of nothing.
  if (/^nan$/i.test(text)) return Number.NaN
  const value = Number(text)
  return Number.isNaN(value) ? fail(`not a number: ${text}`) : value
}

function fail(message: string): never {
  throw new Error(message)
}
