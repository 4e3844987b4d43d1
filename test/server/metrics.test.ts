// The metrics' tables against what stands in docs/metrics.md, and what a scrape of them looks like.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { proxyMetrics } from '../../connectors/kafka-proxy/metrics.ts'
import type { MetricTable } from '../../src/connect/metrics.ts'
import { reasonKinds } from '../../src/server/health.ts'
import { MetricRegistry } from '../../src/server/metric-registry.ts'
import { countedCapture, workerMetrics } from '../../src/server/metrics.ts'
import { parseMetrics } from '../support/prometheus.ts'
import { captured } from '../wal/batches.ts'

const docs = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')

test('docs/metrics.md lists each metric with its type, labels and meaning, and nothing else', () => {
  const documented = [...docs.matchAll(/^\| `(millrace_\w+)` *\| (\w+) *\| ([^|]*?) *\| (.*?) *\|$/gm)].map(
    ([, name, type, labels, help]) => ({ name, type, labels: labels!.replaceAll('`', ''), help })
  )
  const declared = [...rows(workerMetrics, []), ...rows(proxyMetrics, ['connector'])]
  expect(documented.toSorted(byName)).toEqual(declared.toSorted(byName))
  const mentioned = new Set(docs.match(/\bmillrace_\w+/g))
  expect([...mentioned].filter(name => !declared.some(one => one.name === name))).toEqual([])
})

test('docs/metrics.md lists each reason of /readyz', () => {
  const documented = [...docs.matchAll(/^\| `([a-z]+)` *\| [^|]+\|$/gm)].map(([, reason]) => reason)
  expect(documented).toEqual([...reasonKinds])
})

test('names are as Prometheus asks: base units, _total for counters alone', () => {
  for (const [name, { type }] of Object.entries<MetricTable[string]>({ ...workerMetrics, ...proxyMetrics })) {
    expect(name).toMatch(/^millrace_[a-z_]+$/)
    expect(name.endsWith('_total')).toBe(type === 'counter')
    expect(name).not.toMatch(/_(ms|millis|kib|mib|minutes)(_|$)/)
    if (type === 'histogram') expect(name).toMatch(/_seconds$/)
  }
})

const table = {
  things_total: { type: 'counter', help: 'Things.', labels: ['colour'] },
  level_bytes: { type: 'gauge', help: 'A level, "so\\to say".' },
  wait_seconds: { type: 'histogram', help: 'Waits.', buckets: [0.1, 1] }
} as const satisfies MetricTable

test('what is shown is read at each scrape, what is observed adds up, and two owners share one table', async () => {
  const registry = new MetricRegistry()
  let things = 3
  const one = registry.of(table, { connector: 'one "and\n only\\"' })
  one.show('things_total', () => things, { colour: 'red' })
  one.show('level_bytes', () => 7)
  const observe = one.observer('wait_seconds')
  registry.of(table, { connector: 'two' }).show('things_total', () => 1, { colour: 'red' })
  const scrape = async () => parseMetrics(await registry.text())

  const name = 'connector="one \\"and\\n only\\\\\\""'
  const first = await scrape()
  expect(Object.fromEntries(first.get('things_total')!.samples)).toEqual({
    [`things_total{colour="red",${name}}`]: 3,
    'things_total{colour="red",connector="two"}': 1
  })
  expect(Object.fromEntries(first.get('level_bytes')!.samples)).toEqual({ [`level_bytes{${name}}`]: 7 })
  expect(first.get('wait_seconds')!.samples.get(`wait_seconds_count{${name}}`)).toBe(0)

  things = 5
  for (const seconds of [0.05, 0.5, 5]) observe(seconds)
  const second = await scrape()
  expect(second.get('things_total')!.samples.get(`things_total{colour="red",${name}}`)).toBe(5)
  expect(Object.fromEntries(second.get('wait_seconds')!.samples)).toEqual({
    [`wait_seconds_bucket{${name},le="0.1"}`]: 1,
    [`wait_seconds_bucket{${name},le="1"}`]: 2,
    [`wait_seconds_bucket{${name},le="+Inf"}`]: 3,
    [`wait_seconds_count{${name}}`]: 3,
    [`wait_seconds_sum{${name}}`]: 5.55
  })
  expect([...second.keys()]).toContain('process_cpu_seconds_total')
})

test('what is captured counts when it is durable, and not when it is refused', async () => {
  const registry = new MetricRegistry()
  let full = false
  const durable = async () => {
    if (full) throw new Error('full')
  }
  const capture = countedCapture(durable, registry.of(workerMetrics), 'proxy')
  const batches = [captured(0), { ...captured(1, { size: 1_000 }), recordCount: 12 }]
  await capture(batches)
  full = true
  await expect(capture([captured(2)])).rejects.toThrow('full')
  const families = parseMetrics(await registry.text())
  const value = (what: string) => {
    const name = `millrace_captured_${what}_total`
    return families.get(name)!.samples.get(`${name}{connector="proxy"}`)
  }
  expect(value('batches')).toBe(2)
  expect(value('records')).toBe(13)
  const bytes = batches.flatMap(({ chunks }) => chunks).reduce((sum, { length }) => sum + length, 0)
  expect(value('bytes')).toBe(bytes)
})

test.each([
  ['a\n', 'not a line of the format'],
  ['# HELP a A.\n# TYPE a gauge\na 1', 'must end in a line feed'],
  ['a 1\n', 'comes before its TYPE'],
  ['# TYPE a gauge\na 1\n', 'has no HELP'],
  ['# HELP a A.\n# TYPE a gauge\na 1\na 2\n', 'is there twice'],
  ['# HELP a A.\n# TYPE a gauge\na{b="1",} 1\n', 'not a line of the format'],
  ['# HELP a A.\n# TYPE a gauge\na{b="1"x"} 1\n', 'not a line of the format'],
  ['# HELP a A.\n# TYPE a gauge\na one\n', 'not a number'],
  ['# HELP a A.\n# TYPE a counter\na -1\n', 'a is -1'],
  ['# HELP a A.\n# TYPE a gauge\nb 1\n', 'b stands among a'],
  ['# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n', 'shrink'],
  ['# HELP a A.\n# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1\na_count 2\n', '+Inf is not the count'],
  ['# HELP a A.\n# TYPE a histogram\na_bucket{c="d",le="+Inf"} 1\n', 'a{c="d"}: no sum or count']
])('the reader of these tests takes no %j', (text, message) => {
  expect(() => parseMetrics(text)).toThrow(message)
})

function rows(declared: MetricTable, common: string[]) {
  return Object.entries(declared).map(([name, { type, labels = [], help }]) => ({
    name,
    type,
    labels: [...common, ...labels].join(', '),
    help
  }))
}

function byName(a: { name: string | undefined }, b: { name: string | undefined }): number {
  return String(a.name) < String(b.name) ? -1 : 1
}
