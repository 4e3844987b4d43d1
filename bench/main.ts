// `npm run bench [-- name …] [--json]`: runs the named benchmarks, or all, and prints one line, or one JSON object, a figure.
import { parseArgs } from 'node:util'
import type { Figure } from './figures.ts'

const benches: Record<string, () => Promise<{ run: () => Promise<Figure[]> | AsyncIterable<Figure> }>> = {
  batch: () => import('./batch.ts'),
  broker: () => import('./broker.ts'),
  proxy: () => import('./proxy.ts'),
  sealing: () => import('./sealing.ts'),
  search: () => import('./search.ts'),
  serve: () => import('./serve.ts'),
  wal: () => import('./wal.ts')
}

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean', default: false } },
  allowPositionals: true
})
const unknown = positionals.filter(name => !(name in benches))
if (unknown.length > 0) {
  process.stderr.write(`no benchmark ${unknown.join(', ')}; there are ${Object.keys(benches).join(', ')}\n`)
  process.exit(2)
}
for (const name of positionals.length > 0 ? positionals : Object.keys(benches)) {
  const { run } = await benches[name]!()
  for await (const figure of await run()) {
    const { what, value, unit, rounds } = figure
    const shown = Number(value.toPrecision(3))
    const all = rounds.map(round => Number(round.toPrecision(3))).join(' ')
    process.stdout.write(
      values.json ? `${JSON.stringify({ bench: name, ...figure })}\n` : `${name}: ${what}: ${shown} ${unit} (${all})\n`
    )
  }
}
