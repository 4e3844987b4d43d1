// Confluent's client for Python, a present librdkafka, as confluent.py drives it.
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { runOrThrow } from '../child.ts'
import { isMissing } from '../found.ts'
import { findConfluent } from '../python.ts'
import type { Client, ReadRecord } from './client.ts'
import { groupTimes } from './client.ts'
import { processMember } from './process-member.ts'

const script = fileURLToPath(new URL('confluent.py', import.meta.url))

export const confluent: Client = {
  name: 'confluent-kafka',
  needs: ['confluent'],
  can: { staticMember: true, maxTimestamp: true, makeTopicByReading: false, writeNullHeaders: true },

  async produce(bootstrap, topic, records, { acks, codec = 'none', idempotent = false, maxBytes = 2_000_000 }) {
    const config = {
      acks: String(acks),
      'compression.type': codec,
      'enable.idempotence': idempotent,
      'message.max.bytes': maxBytes
    }
    await python({ do: 'produce', topic, records, config: { ...config, 'bootstrap.servers': bootstrap } })
  },

  async consume(bootstrap, topic, { from, count }) {
    const start = from === 'beginning' ? {} : from
    const config = { 'bootstrap.servers': bootstrap, 'group.id': randomUUID(), 'auto.offset.reset': 'earliest' }
    return (await python({ do: 'consume', topic, start, count, config })) as ReadRecord[]
  },

  async offsets(bootstrap, topic, at) {
    const rows = await python({ do: 'offsets', topic, at, config: { 'bootstrap.servers': bootstrap } })
    return new Map(rows as [number, number][])
  },

  async join(bootstrap, { group, topic, clientId, instanceId, fetchWait }) {
    const config = {
      'bootstrap.servers': bootstrap,
      'group.id': group,
      'client.id': clientId,
      'auto.offset.reset': 'earliest',
      'session.timeout.ms': groupTimes.session,
      'heartbeat.interval.ms': groupTimes.heartbeat,
      ...(instanceId !== undefined && { 'group.instance.id': instanceId }),
      ...(fetchWait !== undefined && { 'fetch.wait.max.ms': fetchWait })
    }
    return processMember({
      command: await interpreter(),
      args: [script],
      input: JSON.stringify({ do: 'member', topic, config }),
      parse: line => (line.startsWith('{"partition"') ? JSON.parse(line) : undefined),
      isAssignment: line => line.startsWith('{"assigned"')
    })
  }
}

/** Begins a transaction; rejects when that is refused, or nothing is said for a while. */
export async function confluentTransaction(bootstrap: string): Promise<void> {
  await python({
    do: 'begin_transaction',
    config: { 'bootstrap.servers': bootstrap, 'transactional.id': randomUUID() }
  })
}

/** Calls one of the functions of confluent.py's table ADMIN, and gives what it prints. */
export async function confluentAdmin(bootstrap: string, call: string, args: object = {}): Promise<unknown[]> {
  return await python({ do: 'admin', call, args, config: { 'bootstrap.servers': bootstrap } })
}

/** Has confluent.py do one thing, and gives the lines that it prints. */
async function python(task: object): Promise<unknown[]> {
  const output = await runOrThrow(await interpreter(), [script], { input: JSON.stringify(task) })
  return output
    .toString()
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line))
}

let place: ReturnType<typeof findConfluent> | undefined

async function interpreter(): Promise<string> {
  place ??= findConfluent()
  const found = await place
  if (isMissing(found)) throw new Error(found.missing)
  return found.python
}
