// What a configuration is looked at beyond its files: the environment's variables, and whether a folder can be written.
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { messageOf } from '../errors.ts'
import type { Fault } from './options.ts'
import { formatFault, unknownKeyRule } from './options.ts'

/** The environment variable that overrides a key of the worker. */
export function variableOf(key: string): string {
  return `MILLRACE_${key.toUpperCase().replaceAll('.', '_')}`
}

/** Read by Millrace, its image and its samples; then by the tests of the repository. */
const otherVariables = ['CONFIG', 'ADVERTISED_HOST'].concat(
  ['CACHE', 'KAFKA', 'KAFKA_LOG_DIR', 'KEEP', 'MAIN', 'REQUIRE', 'S3', 'SEED'] // test/, and no options of the worker
)

/** What Kubernetes sets in each container for a service that is called millrace, or millrace-something. */
const OF_A_SERVICE = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/

/**
 * A line for each variable that looks like an override and is none: it has no effect, and may have been meant to. `used` are those
 * that files name as `${env:NAME}`.
 */
export function strayVariables(env: NodeJS.ProcessEnv, keys: readonly string[], used: ReadonlySet<string>): string[] {
  const known = new Set([...keys.map(variableOf), ...otherVariables.map(variableOf)])
  const stray = Object.keys(env).filter(
    name => name.startsWith('MILLRACE_') && !known.has(name) && !used.has(name) && !OF_A_SERVICE.test(name)
  )
  return stray.sort().map(name => {
    const key = name.slice('MILLRACE_'.length).toLowerCase().replaceAll('_', '.')
    return formatFault({ source: `environment ${name}`, key, rule: `has no effect: ${unknownKeyRule(key, keys)}` })
  })
}

/** What hinders from writing in a folder, which need not be there yet; null for nothing. Makes nothing. */
export function unwritable(folder: string): Pick<Fault, 'rule' | 'got'> | null {
  let there = path.resolve(folder)
  while (!existsSync(there) && path.dirname(there) !== there) there = path.dirname(there)
  const fault = (why: string) => ({ rule: `must be a folder that can be written: ${why}`, got: folder })
  try {
    if (!statSync(there).isDirectory()) return fault(`${there} is no folder`)
    accessSync(there, constants.W_OK | constants.X_OK)
    return null
  } catch (error) {
    return fault(messageOf(error))
  }
}
