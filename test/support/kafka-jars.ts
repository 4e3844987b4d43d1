// Apache Kafka's own jars, fetched once with Maven into the cache; a broker or a tool of Kafka is a class in them.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cached, recipeOf } from './cache.ts'
import { runOrThrow, runToEnd } from './child.ts'
import type { Missing } from './found.ts'
import { findProgram, reasonOf } from './found.ts'

export const kafkaVersion = '4.3.1'

/** Kafka 4's broker and tools are compiled for this release of Java. */
const oldestJava = 17

const pom = fileURLToPath(new URL('kafka-jars.pom.xml', import.meta.url))
const logging = fileURLToPath(new URL('kafka-log4j2.properties', import.meta.url))

export interface KafkaJars {
  readonly classPath: string
}

/** Kafka's jars, or the reason why they cannot be had or run here. */
export async function findKafkaJars(): Promise<KafkaJars | Missing> {
  return await findJars(`kafka-${kafkaVersion}`, pom)
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
  return [...quickJava, ...propertyArgs({ ...log, ...systemProperties }), '-cp', jars.classPath, className, ...args]
}

/** System properties as `java` takes them. */
export function propertyArgs(properties: Readonly<Record<string, string>>): string[] {
  return Object.entries(properties).map(([name, value]) => `-D${name}=${value}`)
}

// Only the quick compiler: on two cores a process that lives for seconds is done before the slow one pays off.
const quickJava = ['-Xmx768m', '-XX:TieredStopAtLevel=1']

async function fetchJars(pom: string, folder: string): Promise<void> {
  if ((await findProgram('mvn')) === undefined) throw new Error('no Maven (mvn) on PATH to fetch them')
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${join(folder, 'lib')}`]
  await runOrThrow('mvn', ['-q', '-B', '-f', pom, ...goal], { timeout: 600_000 })
}

async function missingJava(): Promise<string | undefined> {
  if ((await findProgram('java')) === undefined) return 'no Java on PATH'
  const { stderr } = await runToEnd('java', ['-version'])
  const version = Number(/version "(\d+)/.exec(stderr.toString())?.[1] ?? 0)
  return version >= oldestJava ? undefined : `Java ${oldestJava} or newer is needed, ${version} is on PATH`
}
