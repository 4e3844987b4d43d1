// The direction of imports: the table of layers, and a check of src/ and connectors/ against it, for cycles too.

import { globSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * From low to high. Each entry is a folder or a file of src/, all connectors, or the public names that lie beside them; it
 * may import what stands in a lower line, nothing that stands in its own line but itself, and nothing of `never`.
 */
export const layers: readonly (readonly string[])[] = [
  ['src/*.ts'],
  ['src/kafka'],
  ['src/wal'],
  ['src/segment'],
  ['src/archive'],
  ['src/sealing'],
  ['src/search', 'src/replay'],
  ['src/broker'],
  ['src/connect'],
  ['connectors/*.ts'],
  ['connectors'],
  ['src/bundled-connectors.ts', 'src/config.ts', 'src/pipeline', 'src/quick-start'],
  ['src/server'],
  ['src/worker.ts'],
  ['src/cli'],
  ['src/main.ts']
]

/** Lower lines that are closed all the same: these stations meet in the pipeline. */
const never: Readonly<Record<string, readonly string[]>> = { 'src/segment': ['src/wal'] }

/** What connectors may import of Millrace, as anybody's would. */
const publicNames = ['millrace/connect', 'millrace/kafka']

/** The import specifiers of each file, by its path from the root. */
export type ImportsByFile = ReadonlyMap<string, readonly string[]>

/** Reads the imports of every TypeScript file of src/ and connectors/. */
export function readImports(root: string): ImportsByFile {
  const files = globSync('{src,connectors}/**/*.ts', { cwd: root }).map(file => file.replaceAll('\\', '/'))
  return new Map(files.sort().map(file => [file, importsOf(readFileSync(join(root, file), 'utf8'))]))
}

/** A line per fault, none when all is well. */
export function importFaults(imports: ImportsByFile): string[] {
  const edges = new Map<string, string[]>()
  const faults: string[] = []
  for (const [file, specifiers] of imports) {
    const targets = specifiers
      .filter(specifier => /^\..*\.ts$/.test(specifier))
      .map(specifier => resolve(file, specifier))
    edges.set(file, targets)
    const wrong = targets.map(target => edgeFault(file, target)).concat(specifiers.map(name => nameFault(file, name)))
    faults.push(...wrong.filter(fault => fault !== undefined))
  }
  return [...new Set([...faults, ...cycles(edges)])]
}

/** Static, re-exporting and dynamic imports, and files named to run as worker threads. */
function importsOf(source: string): string[] {
  const patterns = [
    /^\s*import\s+(?:type\s+)?(?:[\w$*{}\s,]+\s+from\s+)?'([^']+)'/gm,
    /^\s*export\s+(?:type\s+)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s*from\s+'([^']+)'/gm,
    /\bimport\(\s*'([^']+)'\s*\)/g,
    /\bnew URL\(\s*'(\.[^']+\.ts)',\s*import\.meta\.url\s*\)/g
  ]
  return patterns.flatMap(pattern => [...source.matchAll(pattern)].map(match => match[1]!))
}

function resolve(file: string, specifier: string): string {
  return posix.join(posix.dirname(file), specifier)
}

function edgeFault(file: string, target: string): string | undefined {
  const from = stationOf(file)
  const to = stationOf(target)
  if (from === undefined) return `${file}: no layer in the table`
  if (to === undefined) return `${file} imports ${target}: no layer in the table`
  if (from === to && from !== 'connectors') return undefined
  if (from === 'connectors') {
    const own = file.split('/').slice(0, 2).join('/')
    return target.startsWith(`${own}/`)
      ? undefined
      : `${file} imports ${target}: a connector may import ${publicNames.join(', ')}, packages and its own folder`
  }
  if (never[from]?.includes(to)) return `${file} imports ${target}: ${from} and ${to} meet in the pipeline only`
  return lineOf(from) > lineOf(to) ? undefined : `${file} imports ${target}: ${to} is not below ${from}`
}

function nameFault(file: string, specifier: string): string | undefined {
  const isOwn = specifier === 'millrace' || specifier.startsWith('millrace/')
  if (!isOwn) return undefined
  if (!file.startsWith('connectors/')) return `${file} imports ${specifier}: inside src/ by path`
  return publicNames.includes(specifier) ? undefined : `${file} imports ${specifier}: not public`
}

/** The entry of the table that a file belongs to. */
function stationOf(file: string): string | undefined {
  const entries = layers.flat()
  const [top = '', second = '', ...deeper] = file.split('/')
  if (top === 'connectors') return deeper.length === 0 ? 'connectors/*.ts' : 'connectors'
  const exact = entries.find(entry => entry === `${top}/${second}`)
  return exact ?? (top === 'src' && deeper.length === 0 ? 'src/*.ts' : undefined)
}

function lineOf(station: string): number {
  return layers.findIndex(line => line.includes(station))
}

/** Each ring of files that import one another, named once. */
function cycles(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const faults: string[] = []
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]) => {
    const start = path.indexOf(file)
    if (start >= 0) faults.push(`cycle: ${[...path.slice(start), file].join(' -> ')}`)
    if (start >= 0 || done.has(file)) return
    for (const target of edges.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of edges.keys()) visit(file, [])
  return faults
}

if (import.meta.main) {
  const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
  const faults = importFaults(readImports(root))
  for (const fault of faults) console.error(fault)
  process.exitCode = faults.length > 0 ? 1 : 0
}
