// Kafka's classes as Java keeps them in memory, in a file that each Java of the tests maps (class-data sharing, JEP 310): more than
// 40 % of what a tool or the start of a broker takes is reading them from the jars.
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runOrThrow } from './child.ts'
import { isMissing, reasonOf } from './found.ts'
import { startKafka } from './kafka.ts'
import type { KafkaJars } from './kafka-jars.ts'
import { classArchive, findKafkaJars } from './kafka-jars.ts'
import { consoleConsume, consoleProduce, dumpLog, kafkaTopics } from './kafka-tools.ts'
import { tempFolder } from './temp.ts'

/** Makes the file where there is none yet, in half a minute. Where it cannot be made, all goes on without, and standard error says why. */
export async function archiveKafkaClasses(): Promise<void> {
  const jars = await findKafkaJars()
  if (isMissing(jars) || jars.options !== undefined) return
  try {
    await archiveClasses(jars, await classArchive(jars))
  } catch (error) {
    process.stderr.write(`Kafka's classes are read from its jars each time: ${reasonOf(error)}\n`)
  }
}

async function archiveClasses({ classPath }: KafkaJars, archive: string): Promise<void> {
  await using folder = await tempFolder('classes')
  await useKafka(folder.path)
  const lists = await Promise.all((await readdir(folder.path)).map(name => readFile(join(folder.path, name), 'utf8')))
  const list = join(folder.path, 'all')
  await writeFile(list, [...new Set(lists.join('').split('\n'))].join('\n'))
  const draft = `${archive}.${process.pid}`
  const files = [`-XX:SharedClassListFile=${list}`, `-XX:SharedArchiveFile=${draft}`]
  try {
    await runOrThrow('java', ['-Xshare:dump', '-Xmx768m', '-Xlog:disable', ...files, '-cp', classPath], {
      timeout: 300_000
    })
    await rename(draft, archive)
  } finally {
    await rm(draft, { force: true })
  }
}

/** Has a broker and tools do some of all that tests have them do, and each say in a file of the folder which classes it took. */
async function useKafka(lists: string): Promise<void> {
  const before = process.env['JDK_JAVA_OPTIONS'] ?? ''
  process.env['JDK_JAVA_OPTIONS'] = `${before} -XX:DumpLoadedClassList=${join(lists, '%p')}`
  try {
    await using kafka = await startKafka({ nodes: 1 })
    const { bootstrap } = kafka
    const topic = 'classes'
    await kafkaTopics(bootstrap, ['--create', '--topic', topic])
    await consoleProduce({ bootstrap, topic, input: 'a\nb\n' })
    await consoleConsume({ bootstrap, topic, count: 2, args: ['--group', topic] })
    await dumpLog(['--deep-iteration', '--files', (await kafka.segmentFiles(topic, 0))[0]!])
  } finally {
    if (before === '') delete process.env['JDK_JAVA_OPTIONS']
    else process.env['JDK_JAVA_OPTIONS'] = before
  }
}
