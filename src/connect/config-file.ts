// Reads a configuration file, .yaml, .json or .properties, into flat keys and texts, as Kafka's own files have them.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Tags } from 'yaml'
import { parseDocument } from 'yaml'
import { messageOf } from '../errors.ts'
import type { Fault, RawValue } from './options.ts'

export interface ConfigFile {
  readonly values: Map<string, RawValue>
  /** Why nothing could be read of it: then there are no values. */
  readonly fault?: Fault
  /** The environment variables that it names. */
  readonly variables: ReadonlySet<string>
}

export const CONFIG_EXTENSIONS: readonly string[] = ['.yaml', '.yml', '.json', '.properties']

/**
 * Reads one file. `${env:NAME}` in a value is replaced by that environment variable. What is wrong is returned, so that a
 * user sees all of it at once: for the whole file as `fault`, for one key with its value.
 */
export function readConfigFile(file: string): ConfigFile {
  const variables = new Set<string>()
  try {
    const content = readFileSync(file, 'utf8')
    const isProperties = path.extname(file) === '.properties'
    return { values: flatten(file, isProperties ? parseProperties(content) : parseTree(content), variables), variables }
  } catch (error) {
    return { values: new Map(), fault: { source: file, rule: `cannot be read: ${messageOf(error)}` }, variables }
  }
}

/** Throws, with the place in the message, what is wrong with the text. */
function parseTree(content: string): [string, unknown][] {
  // YAML 1.2 contains JSON, and this parser names line and column of what is wrong in either.
  // A number or a boolean is its text, which would come out as another one: 1.10, 007, 0x1F, 1e3.
  const document = parseDocument(content, { schema: 'core', customTags: tags => tags.filter(isOfTexts) })
  const [error] = document.errors
  if (error) throw new Error(error.message.split('\n')[0]!.replace(/:$/, ''))
  const tree: unknown = document.toJS() ?? {}
  if (!isMap(tree)) throw new Error('it must hold keys with values')
  // Connect's REST shape: {"name": …, "config": {…}}.
  const config = tree['config']
  return Object.entries(isMap(config) ? { ...config, name: tree['name'] ?? config['name'] } : tree)
}

function isOfTexts(tag: Tags[number]): boolean {
  return typeof tag === 'object' && /:(map|seq|str|null)$/.test(tag.tag)
}

/** As Java reads them: a backslash joins lines, and makes of the letter behind it another one or the letter itself. */
function parseProperties(content: string): [string, unknown][] {
  return logicalLines(content)
    .map(line => line.trim())
    .filter(line => line !== '')
    .map(line => {
      const at = line.search(/[=:]/)
      return at < 0 ? [line, ''] : [line.slice(0, at).trim(), unescaped(line.slice(at + 1).trim())]
    })
}

/** What a backslash has joined, without comments: those go no further than their line, whatever it ends in. */
function logicalLines(content: string): string[] {
  const lines = content.match(/[ \t\f]*[#!][^\r\n]*|(?:\\\r?\n|\\?[^\r\n])+/g) ?? []
  return lines.filter(line => !/^[ \t\f]*[#!]/.test(line)).map(line => line.replace(/(\\\\)|\\\r?\n[ \t]*/g, '$1'))
}

function unescaped(text: string): string {
  const letters: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f' }
  return text.replace(/\\(?:u([\da-fA-F]{4})|(.))/g, (_, code: string | undefined, letter: string) =>
    code === undefined ? (letters[letter] ?? letter) : String.fromCharCode(Number.parseInt(code, 16))
  )
}

/** Adds to `variables` those that are named. */
function flatten(file: string, entries: [string, unknown][], variables: Set<string>): Map<string, RawValue> {
  const values = new Map<string, RawValue>()
  for (const [key, value] of entries) {
    if (value === undefined || value === null) continue
    if (isMap(value) || (Array.isArray(value) && value.some(item => typeof item === 'object'))) {
      const broken = 'must be a single value: write nested keys with dots'
      values.set(key, { text: JSON.stringify(value), source: file, broken })
    } else {
      const text = Array.isArray(value) ? value.join(',') : String(value)
      values.set(key, { ...withEnvironment(text, variables), source: file })
    }
  }
  return values
}

function withEnvironment(text: string, variables: Set<string>): Omit<RawValue, 'source'> {
  const missing: string[] = []
  const resolved = text.replace(/\$\{env:([^}]*)\}/g, (_, name: string) => {
    variables.add(name)
    const found = process.env[name]
    if (found === undefined) missing.push(name)
    return found ?? ''
  })
  if (missing.length === 0) return { text: resolved }
  return { text, broken: `environment variable ${missing.join(', ')} must be set` }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
