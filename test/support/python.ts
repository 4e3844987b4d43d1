// Python with Kafka clients from PyPI: for each a virtual environment in the cache, made once.
import { join } from 'node:path'
import { cached } from './cache.ts'
import { runOrThrow, runToEnd } from './child.ts'
import type { Missing } from './found.ts'
import { findProgram, reasonOf } from './found.ts'

/** The clients' wheels are for this Python and newer ones. */
const oldestPython = [3, 9] as const

export interface PythonPlace {
  /** The interpreter that can import what was asked for. */
  readonly python: string
}

/** Python with Confluent's client, or the reason why it cannot be had here. */
export async function findConfluent(): Promise<PythonPlace | Missing> {
  return await findPackages('confluent', ['confluent-kafka==2.16.1'], 'confluent_kafka')
}

/** Python with aiokafka and all codecs, or the reason why it cannot be had here. */
export async function findAiokafka(): Promise<PythonPlace | Missing> {
  return await findPackages('aiokafka', ['aiokafka==0.14.0', 'cramjam==2.14.0'], 'aiokafka')
}

async function findPackages(name: string, packages: string[], module: string): Promise<PythonPlace | Missing> {
  const python = await findPython()
  if (python === undefined) return { missing: `no Python ${oldestPython.join('.')} or newer on PATH` }
  const recipe = [...packages, python].join(' ')
  try {
    const folder = await cached(name, recipe, folder => makeEnvironment(python, folder, packages, module))
    return { python: pythonIn(folder) }
  } catch (error) {
    return { missing: `${packages.join(' ')}: ${reasonOf(error)}` }
  }
}

const pythonIn = (folder: string): string => join(folder, 'bin', 'python')

// Wheels only: a build from source would want a compiler and librdkafka's headers.
async function makeEnvironment(python: string, folder: string, packages: string[], module: string): Promise<void> {
  await runOrThrow(python, ['-m', 'venv', folder], { timeout: 120_000 })
  const quick = ['--quiet', '--disable-pip-version-check', '--retries', '1', '--timeout', '15']
  const install = ['-m', 'pip', 'install', ...quick, '--only-binary', ':all:', ...packages]
  await runOrThrow(pythonIn(folder), install, { timeout: 300_000 })
  await runOrThrow(pythonIn(folder), ['-c', `import ${module}`])
}

/** The path of the interpreter itself, which a name on PATH may only stand for. */
async function findPython(): Promise<string | undefined> {
  const print = `import sys; print(sys.executable if sys.version_info >= (${oldestPython.join(', ')}) else "")`
  for (const name of ['python3', 'python']) {
    const program = await findProgram(name)
    if (program === undefined) continue
    const { code, stdout } = await runToEnd(program, ['-c', print])
    const path = stdout.toString().trim()
    if (code === 0 && path !== '') return path
  }
  return undefined
}
