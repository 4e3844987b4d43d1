// Every client's program over one broker, all at the same time: a test for each client and case, and for what stands in the
// broker's log then.
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { Admin } from '@platformatic/kafka'
import { beforeAll, expect, test } from 'vitest'
import { spawnGuarded } from '../child.ts'
import type { Codec } from '../clients/client.ts'
import { codecs } from '../clients/client.ts'
import type { Case, Command, Program } from '../clients/programs.ts'
import { isMissing } from '../found.ts'
import { describeFound, useKafka } from '../servers.ts'
import { withAdmin } from '../topics.ts'
import { until } from '../until.ts'
import type { Batch } from './batches.ts'
import { batchesOf } from './batches.ts'

const onePartition = [...codecs, 'unacknowledged', 'idempotent', 'commit', 'abort', 'fencing'] as const
const twoPartitions = ['classic', 'consumer', 'share'] as const

/** Milliseconds for all of a program's cases; each has its own deadline of twenty seconds. */
const deadline = 150_000

/** A client's program after it has run. */
export interface Run {
  readonly program: Program
  /** What the names of its topics and groups begin with. */
  readonly prefix: string
  /** Of its topics, all made before. */
  readonly partitions: readonly { topic: string; partition: number }[]
  /** `done`, or what went wrong. */
  outcome(name: Case): string
  /** The batches of one of its topics' first partition, at the broker. */
  batches(name: (typeof onePartition)[number]): Promise<Batch[]>
}

/**
 * Runs the programs against what answers at `bootstrap()` before the tests of the describe in which it is called, and declares
 * a test for each case. `more` declares further tests of a client. All topics' names begin with `prefix`. The runs are there
 * inside tests and later hooks.
 */
export function programTests(
  programs: readonly Program[],
  prefix: string,
  bootstrap: () => string,
  more: (run: () => Run) => void = () => undefined
): () => Run[] {
  const runs = new Map<Program, Run>()
  beforeAll(async () => {
    const runnable = programs.filter(({ found }) => !isMissing(found))
    const prefixes = runnable.map(({ name }) => `${prefix}-${name.replace(/\W+/g, '-')}`)
    await createTopics(prefixes)
    const running = runnable.map((program, i) => runProgram(program, prefixes[i]!, bootstrap()))
    for (const run of await Promise.all(running)) runs.set(run.program, run)
  }, deadline + 60_000)
  for (const program of programs) {
    const run = () => runs.get(program)!
    describeFound(`clients-${program.name}`, program.found, program.name, () => {
      for (const name of program.cases) test(name, () => expect(run().outcome(name)).toBe('done'))
      logTests(run, program.cases)
      groupKindTests(run, program.cases)
      more(run)
    })
  }
  return () => [...runs.values()]
}

/** Some clients fall back on the classic protocol without a word. */
function groupKindTests(run: () => Run, cases: readonly Case[]): void {
  const kinds = (['consumer', 'share'] as const).filter(kind => cases.includes(`${kind} group`))
  test.each(kinds)('its %s group is one', async kind => {
    const admin = new Admin({ clientId: 'millrace-test', bootstrapBrokers: useKafka().bootstrap.split(',') })
    try {
      const groups = await admin.listGroups({ types: [kind] })
      expect([...groups.keys()]).toContain(`${run().prefix}-${kind}`)
    } finally {
      await admin.close()
    }
  })
}

function logTests(run: () => Run, cases: readonly Case[]): void {
  test("the broker's log has what was told: codecs, producer ids, transactions", async () => {
    const { batches } = run()
    const records = (batches: Batch[]) => batches.reduce((sum, { records }) => sum + records, 0)
    for (const codec of codecs) {
      const produced = await batches(codec)
      expect(new Set(produced.map(batch => batch.codec)), codec).toEqual(new Set<Codec>([codec]))
      expect(records(produced), codec).toBe(6)
    }
    const unacknowledged = await batches('unacknowledged')
    expect(new Set(unacknowledged.map(({ codec }) => codec))).toEqual(new Set(codecs))
    expect(records(unacknowledged)).toBe(15)
    const idempotent = await batches('idempotent')
    expect(idempotent.every(({ producerId }) => producerId >= 0)).toBe(true)
    expect(records(idempotent)).toBe(3)
    for (const [name, sent, ends] of [
      ['commit', 3, 1] as const,
      ['abort', 4, 2] as const,
      ['fencing', 2, 2] as const
    ]) {
      if (!cases.includes(name)) continue
      const all = await batches(name)
      expect(all.every(({ transactional }) => transactional)).toBe(true)
      expect(records(all.filter(({ control }) => !control))).toBe(sent)
      expect(records(all.filter(({ control }) => control))).toBe(ends)
    }
  })
}

function topicsOf(prefix: string) {
  return [
    ...onePartition.map(name => ({ topic: `${prefix}-${name}`, numPartitions: 1 })),
    ...twoPartitions.map(name => ({ topic: `${prefix}-${name}`, numPartitions: 2 }))
  ]
}

/** All at once, at the broker itself, until each has its leader: it shows topics before it has made their logs. */
async function createTopics(prefixes: readonly string[]): Promise<void> {
  const topics = prefixes.flatMap(topicsOf)
  await withAdmin(useKafka().bootstrap, async admin => {
    await admin.createTopics({ waitForLeaders: false, topics })
    const haveLeaders = () => Promise.all(topics.map(({ topic }) => admin.fetchTopicOffsets(topic)))
    await until(haveLeaders, { what: 'the programs have their topics', timeout: 60_000 })
  })
}

async function runProgram(program: Program, prefix: string, bootstrap: string): Promise<Run> {
  const { found, cases } = program
  const outcomes = await outcomesOf(found as Command, [bootstrap, prefix, cases.join(',')])
  return {
    program,
    prefix,
    partitions: topicsOf(prefix).flatMap(({ topic, numPartitions }) =>
      Array.from({ length: numPartitions }, (_, partition) => ({ topic, partition }))
    ),
    outcome: name => outcomes.get(name) ?? outcomes.get('')!,
    async batches(name) {
      const [file] = await useKafka().segmentFiles(`${prefix}-${name}`, 0)
      return await batchesOf(file!)
    }
  }
}

/** How each case ended, and under an empty name how the program did. */
async function outcomesOf({ command, args }: Command, more: readonly string[]): Promise<Map<string, string>> {
  const outcomes = new Map<string, string>()
  const child = spawnGuarded(command, [...args, ...more], { stdio: ['ignore', 'pipe', 'pipe'] })
  createInterface({ input: child.process.stdout! }).on('line', line => {
    if (!line.startsWith('{')) return
    const { case: name, error = 'done' } = JSON.parse(line)
    outcomes.set(name, error)
  })
  const timer = setTimeout(() => child.signal('SIGKILL'), deadline)
  const [said, { code, signal }] = await Promise.all([text(child.process.stderr!), child.exited])
  clearTimeout(timer)
  return outcomes.set('', `the program ended before this case (${signal ?? code}): ${said.slice(-2000)}`)
}
