// Reads a configuration file, .yaml, .json or .properties, into flat keys and texts, as Kafka's own files have them.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseDocument } from 'yaml'
import { MillraceError, messageOf } from '../errors.ts'
import type { Fault, RawValue } from './options.ts'

export interface ConfigFile {
  readonly values: Map<string, RawValue>
  readonly faults: Fault[]
}

export const CONFIG_EXTENSIONS: readonly string[] = ['.yaml', '.yml', '.json', '.properties']

/**
 * Reads one file. `${env:NAME}` in a value is replaced by that environment variable.
 * Throws CONFIG_INVALID when it cannot be read or is not of its format; faults of single keys are returned.
 */
export function readConfigFile(file: string): ConfigFile {
  let content: string
  try {
    content = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new MillraceError('CONFIG_INVALID', `${file}: cannot be read: ${messageOf(cause)}`, { cause })
  }
  const extension = path.extname(file)
  const entries = extension === '.properties' ? parseProperties(content) : parseTree(file, content)
  return flatten(file, entries)
}

function parseTree(file: string, content: string): [string, unknown][] {
  // YAML 1.2 contains JSON, and this parser names line and column of what is wrong in either.
  const document = parseDocument(content)
  const [error] = document.errors
  if (error) throw new MillraceError('CONFIG_INVALID', `${file}: ${error.message.split('\n')[0]}`)
  const tree: unknown = document.toJS() ?? {}
  if (!isMap(tree)) throw new MillraceError('CONFIG_INVALID', `${file}: must be a map of keys to values`)
  // Connect's REST shape: {"name": …, "config": {…}}.
  const config = tree['config']
  return Object.entries(isMap(config) ? { ...config, name: tree['name'] ?? config['name'] } : tree)
}

function parseProperties(content: string): [string, unknown][] {
  const lines = content.replace(/\\\r?\n[ \t]*/g, '').split(/\r?\n/)
  return lines
    .map(line => line.trim())
    .filter(line => line !== '' && !/^[#!]/.test(line))
    .map(line => {
      const at = line.search(/[=:]/)
      return at < 0 ? [line, ''] : [line.slice(0, at).trim(), line.slice(at + 1).trim()]
    })
}

function flatten(file: string, entries: [string, unknown][]): ConfigFile {
  const values = new Map<string, RawValue>()
  const faults: Fault[] = []
  for (const [key, value] of entries) {
    if (value === undefined || value === null) continue
    if (isMap(value) || (Array.isArray(value) && value.some(item => typeof item === 'object'))) {
      faults.push({
        source: file,
        key,
        rule: 'must be a single value: write nested keys with dots',
        got: JSON.stringify(value)
      })
      continue
    }
    const text = Array.isArray(value) ? value.join(',') : String(value)
    const missing: string[] = []
    const resolved = text.replace(/\$\{env:([^}]*)\}/g, (_, name: string) => {
      const found = process.env[name]
      if (found === undefined) missing.push(name)
      return found ?? ''
    })
    if (missing.length > 0) {
      faults.push({ source: file, key, rule: `environment variable ${missing.join(', ')} must be set`, got: text })
    }
    values.set(key, { text: resolved, source: file })
  }
  return { values, faults }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
