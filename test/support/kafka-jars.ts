// Apache Kafka's own jars, fetched once with Maven into the cache; a broker or a tool of Kafka is a class in them.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cached, recipeOf } from './cache.ts'
import { runOrThrow, runToEnd } from './child.ts'
import type { Missing } from './found.ts'
import { findProgram, isMissing, reasonOf } from './found.ts'

export const kafkaVersion = '4.3.1'

/** Kafka 4's broker and tools are compiled for this release of Java. */
const oldestJava = 17

const pom = fileURLToPath(new URL('kafka-jars.pom.xml', import.meta.url))
const logging = fileURLToPath(new URL('kafka-log4j2.properties', import.meta.url))

export interface KafkaJars {
  readonly classPath: string
  /** What each Java gets that runs a class of them. */
  readonly options?: readonly string[]
}

/** Kafka's jars, or the reason why they cannot be had or run here. */
export async function findKafkaJars(): Promise<KafkaJars | Missing> {
  const jars = await findJars(`kafka-${kafkaVersion}`, pom)
  if (isMissing(jars)) return jars
  const archive = await classArchive(jars)
  return existsSync(archive) ? { ...jars, options: [`-XX:SharedArchiveFile=${archive}`] } : jars
}

/** Where kafka-classes.ts puts the classes of jars, for this version of Java alone. */
export async function classArchive({ classPath }: KafkaJars): Promise<string> {
  const java = createHash('sha256')
    .update(await javaVersion())
    .digest('hex')
  return join(dirname(dirname(classPath)), `classes-${java.slice(0, 16)}.jsa`)
}

/** The jars that a pom.xml asks for, in the folder `name` of the cache, or the reason why they cannot be had or run here. */
export async function findJars(name: string, pom: string): Promise<KafkaJars | Missing> {
  const java = await missingJava()
  if (java !== undefined) return { missing: java }
  try {
    const folder = await cached(name, await recipeOf([pom]), folder => fetchJars(pom, folder))
    return { classPath: join(folder, 'lib', '*') }
  } catch (error) {
    return { missing: `the jars of ${name}: ${reasonOf(error)}` }
  }
}

export interface JavaOptions {
  /** That of Kafka's own log, on standard error; `warn` unless told. */
  readonly logLevel?: string
  readonly systemProperties?: Readonly<Record<string, string>>
}

/** The arguments of `java` that run a class of Kafka's. */
export function javaArgs(
  jars: KafkaJars,
  className: string,
  args: readonly string[],
  { logLevel = 'warn', systemProperties = {} }: JavaOptions = {}
): string[] {
  const log = { 'log4j2.configurationFile': logging, 'millrace.log.level': logLevel }
  const options = [...quickJava, ...(jars.options ?? []), ...propertyArgs({ ...log, ...systemProperties })]
  return [...options, '-cp', jars.classPath, className, ...args]
}

/** System properties as `java` takes them. */
export function propertyArgs(properties: Readonly<Record<string, string>>): string[] {
  return Object.entries(properties).map(([name, value]) => `-D${name}=${value}`)
}

// Only the quick compiler: on two cores a process that lives for seconds is done before the slow one pays off. Java's own
// warnings would be lines of a tool's output.
const quickJava = ['-Xmx768m', '-XX:TieredStopAtLevel=1', '-Xlog:disable', '-Xlog:all=warning:stderr']

async function fetchJars(pom: string, folder: string): Promise<void> {
  if ((await findProgram('mvn')) === undefined) throw new Error('no Maven (mvn) on PATH to fetch them')
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${join(folder, 'lib')}`]
  await runOrThrow('mvn', ['-q', '-B', '-f', pom, ...goal], { timeout: 600_000 })
}

async function missingJava(): Promise<string | undefined> {
  if ((await findProgram('java')) === undefined) return 'no Java on PATH'
  const version = Number(/version "(\d+)/.exec(await javaVersion())?.[1] ?? 0)
  return version >= oldestJava ? undefined : `Java ${oldestJava} or newer is needed, ${version} is on PATH`
}

let saidVersion: Promise<string> | undefined

/** What `java -version` says. */
function javaVersion(): Promise<string> {
  saidVersion ??= runToEnd('java', ['-version']).then(({ stderr }) => stderr.toString())
  return saidVersion
}
