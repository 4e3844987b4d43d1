// The files of connectors, one each: which there are, whose each is, and what is wrong with it.
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { CONFIG_EXTENSIONS, readConfigFile } from './config-file.ts'
import type { Connector } from './connector.ts'
import type { Fault, Options, Values } from './options.ts'
import * as option from './options.ts'
import { parseOptions } from './options.ts'

/** What every connector's file has. */
export const connectorOptions = {
  name: { schema: option.text, doc: 'a name of your choice' },
  'connector.class': { schema: option.text, doc: 'which connector this is' },
  'tasks.max': { schema: option.integer(1, 1), default: '1', doc: 'always 1 for the bundled connectors' }
} as const satisfies Options

/** A connector with what its file says. */
export interface Configured<C extends Connector = Connector> {
  readonly name: string
  readonly connector: C
  readonly values: Values<any>
}

/** Null when the folder cannot be read. */
export function connectorFiles(directory: string): string[] | null {
  try {
    return readdirSync(directory)
      .filter(name => CONFIG_EXTENSIONS.includes(path.extname(name)))
      .sort()
      .map(name => path.join(directory, name))
  } catch {
    return null
  }
}

/** Adds to `faults` what is wrong, and to `variables` those that the file names. */
export function readConnector(
  file: string,
  connectors: readonly Connector[],
  faults: Fault[],
  variables: Set<string>
): Configured | null {
  const { values, fault, variables: named } = readConfigFile(file)
  for (const name of named) variables.add(name)
  if (fault) {
    faults.push(fault)
    return null
  }
  const given = values.get('connector.class')
  const connector = connectors.find(({ name, aliases }) => name === given?.text || aliases.includes(given?.text ?? ''))
  if (connector === undefined) {
    faults.push({ source: file, key: 'connector.class', rule: `must be one of ${names(connectors)}`, got: given?.text })
    return null
  }
  const parsed = parseOptions({ ...connectorOptions, ...(connector.options as Options) }, values, file)
  faults.push(...parsed.faults)
  // What does not fit is told of values that are right each by itself.
  const mismatches = parsed.faults.length > 0 ? [] : (connector.check?.(parsed.values) ?? [])
  for (const { hint, rule, ...mismatch } of mismatches) {
    faults.push({ source: file, ...mismatch, rule: hint === undefined ? rule : `${rule}. ${hint}` })
  }
  return { name: values.get('name')?.text ?? file, connector, values: parsed.values }
}

/** Those of a type, for a message. */
export function names(connectors: readonly Connector[], type?: Connector['type']): string {
  return connectors
    .filter(connector => type === undefined || connector.type === type)
    .map(({ name }) => name)
    .join(', ')
}
