// A program for each Kafka client, in the client's own language: it does what the client can do, case by case, and prints a
// line of JSON for each: `{"case": …}`, with an `error` where it went wrong.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Missing } from '../found.ts'
import { findProgram, isMissing } from '../found.ts'
import { findGoPrograms } from '../go.ts'
import { findJavaPrograms } from '../java-programs.ts'
import type { KafkaJars } from '../kafka-jars.ts'
import { findJars, findKafkaJars, javaArgs } from '../kafka-jars.ts'
import { findAiokafka, findConfluent } from '../python.ts'
import { codecs } from './client.ts'

const acks = ['0', '1', 'all'] as const
const ways = acks.flatMap(acks => codecs.map(codec => `acks=${acks} ${codec}` as const))
const rest = ['idempotent', 'commit', 'abort', 'fencing', 'classic group', 'topics', 'groups'] as const
const every = [...ways, ...rest]

/** What a program can be asked to do. */
export type Case = (typeof every)[number] | 'consumer group' | 'share group' | 'descriptions'

export interface Command {
  readonly command: string
  /** To be followed by the bootstrap address, what its topics' names begin with, and the cases parted by commas. */
  readonly args: readonly string[]
}

export interface Program {
  readonly name: string
  /** What the client can do; what is not there it cannot. */
  readonly cases: readonly Case[]
  /** How it is run, or why it cannot be run here. */
  readonly found: Command | Missing
}

const folder = new URL('programs/', import.meta.url)
const path = (name: string): string => fileURLToPath(new URL(name, folder))

/** All of them. What is missing is installed or built first, which takes a minute the first time. */
export async function findPrograms(): Promise<Program[]> {
  const [java4, java2, confluent, aiokafka, go, kcat] = await Promise.all([
    findJava('java-programs-4', ['JavaClient.java', 'Java4Client.java'], findKafkaJars()),
    findJava('java-programs-2.8', ['JavaClient.java'], findJars('kafka-clients-2.8', oldPom)),
    findConfluent(),
    findAiokafka(),
    findGoPrograms('go-programs', new URL('go/', folder)),
    findProgram('kcat')
  ])
  return [
    { name: 'Java 4.3', cases: [...every, 'consumer group', 'share group', 'descriptions'], found: java4 },
    { name: 'Java 2.8', cases: every, found: java2 },
    {
      name: 'confluent-kafka',
      cases: [...every, 'consumer group', 'share group'],
      found: use(confluent, ({ python }) => ({ command: python, args: ['-B', path('confluent_client.py')] }))
    },
    {
      name: 'kcat',
      cases: [...ways, 'idempotent', 'commit', 'classic group', 'topics'],
      found: kcat === undefined ? { missing: 'no kcat on PATH' } : nodeProgram('kcat-client.ts')
    },
    {
      name: 'aiokafka',
      cases: every,
      found: use(aiokafka, ({ python }) => ({ command: python, args: ['-B', path('aiokafka_client.py')] }))
    },
    {
      name: 'franz-go',
      cases: [...every, 'consumer group', 'share group'],
      found: use(go, ({ folder }) => ({ command: join(folder, 'franz'), args: [] }))
    },
    {
      name: 'sarama',
      cases: every,
      found: use(go, ({ folder }) => ({ command: join(folder, 'sarama'), args: [] }))
    },
    { name: 'kafkajs', cases: every, found: nodeProgram('kafkajs-client.ts') },
    {
      name: '@platformatic/kafka',
      cases: [...every, 'consumer group'],
      found: nodeProgram('platformatic-client.ts')
    }
  ]
}

const oldPom = fileURLToPath(new URL('kafka-clients-2.8.pom.xml', import.meta.url))

async function findJava(
  name: string,
  sources: readonly string[],
  jars: Promise<KafkaJars | Missing>
): Promise<Command | Missing> {
  const programs = await findJavaPrograms(name, folder, sources, await jars)
  const main = sources.at(-1)!.replace('.java', '')
  return use(programs, programs => ({ command: 'java', args: javaArgs(programs, main, [], { logLevel: 'error' }) }))
}

function nodeProgram(name: string): Command {
  return { command: process.execPath, args: ['--disable-warning=TimeoutNegativeWarning', path(name)] }
}

function use<T extends object>(found: T | Missing, how: (found: T) => Command): Command | Missing {
  return isMissing(found) ? found : how(found)
}
