// librdkafka as kcat drives it.
import { kcat as run } from '../kcat.ts'
import type { Client, HeaderList, NewRecord, ReadRecord } from './client.ts'
import { groupTimes } from './client.ts'
import { processMember } from './process-member.ts'

const keyEnd = '\x01'
const recordEnd = '\x02'

export const kcat: Client = {
  name: 'kcat',
  needs: ['kcat'],
  can: { staticMember: true, maxTimestamp: false, makeTopicByReading: false, writeNullHeaders: true },

  async produce(bootstrap, topic, records, { acks, codec = 'none', idempotent = false, maxBytes }) {
    const where = ['-P', '-b', bootstrap, '-t', topic, '-z', codec, '-Z', '-K', keyEnd, '-D', recordEnd]
    const settings = [
      `acks=${acks}`,
      `enable.idempotence=${idempotent}`,
      // Beyond the largest record that the tests send, which it would refuse itself by its size without compression.
      `message.max.bytes=${maxBytes ?? 2_000_000}`
    ]
    const args = [...where, ...settings.flatMap(setting => ['-X', setting])]
    // Headers are the same for all records of a run.
    for (const alike of runsOf(records)) {
      const headers = alike[0]!.headers ?? []
      const input = alike.map(({ key, value }) => `${key ?? ''}${keyEnd}${value ?? ''}${recordEnd}`).join('')
      await run([...args, ...headers.flatMap(headerArgs)], { input })
    }
  },

  async consume(bootstrap, topic, { from, count }) {
    const start = from === 'beginning' ? ['-o', 'beginning'] : startAt(from)
    const args = ['-C', '-b', bootstrap, '-t', topic, '-J', '-q', '-c', String(count), ...start]
    const output = await run(args)
    return output.toString().trimEnd().split('\n').map(recordOf)
  },

  async offsets(bootstrap, topic, at) {
    const time = at === 'earliest' ? -2 : at === 'latest' ? -1 : at
    const metadata = await run(['-L', '-J', '-b', bootstrap, '-t', topic])
    const { topics } = JSON.parse(metadata.toString()) as { topics: { topic: string; partitions: unknown[] }[] }
    const partitions = topics[0]!.partitions.length
    const asked = Array.from({ length: partitions }, (_, partition) => ['-t', `${topic}:${partition}:${time}`])
    const output = (await run(['-Q', '-b', bootstrap, ...asked.flat()])).toString()
    // Where there is no offset it prints -1.
    const found = output.matchAll(/\[(\d+)] offset (\d+)$/gm)
    return new Map([...found].map(([, partition, offset]) => [Number(partition), Number(offset)]))
  },

  async join(bootstrap, { group, topic, clientId, instanceId, fetchWait }) {
    const settings = [
      'auto.offset.reset=earliest',
      `client.id=${clientId}`,
      `session.timeout.ms=${groupTimes.session}`,
      `heartbeat.interval.ms=${groupTimes.heartbeat}`,
      ...(instanceId === undefined ? [] : [`group.instance.id=${instanceId}`]),
      ...(fetchWait === undefined ? [] : [`fetch.wait.max.ms=${fetchWait}`])
    ]
    const args = ['-b', bootstrap, '-J', '-u', ...settings.flatMap(setting => ['-X', setting]), '-G', group, topic]
    const isAssignment = (line: string) => / rebalanced .*: assigned: /.test(line)
    const parse = (line: string) => (line.startsWith('{') ? recordOf(line) : undefined)
    return processMember({ command: 'kcat', args, parse, isAssignment })
  }
}

function startAt(from: { timestamp: number } | { offset: number }): string[] {
  if ('timestamp' in from) return ['-o', `s@${from.timestamp}`]
  return ['-p', '0', '-o', String(from.offset), '-X', 'topic.auto.offset.reset=earliest']
}

function headerArgs([name, value]: readonly [string, string | null]): string[] {
  return ['-H', value === null ? name : `${name}=${value}`]
}

/** Neighbours with the same headers together. */
function runsOf(records: readonly NewRecord[]): NewRecord[][] {
  const runs: NewRecord[][] = []
  for (const record of records) {
    const last = runs.at(-1)
    if (last !== undefined && JSON.stringify(last[0]!.headers) === JSON.stringify(record.headers)) last.push(record)
    else runs.push([record])
  }
  return runs
}

/** One line of `kcat -J`. */
function recordOf(line: string): ReadRecord {
  const { partition, offset, ts, key, payload, headers = [] } = JSON.parse(line)
  return { partition, offset, timestamp: ts, key, value: payload, headers: pairs(headers) }
}

function pairs(flat: readonly (string | null)[]): HeaderList {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i]!, flat[2 * i + 1] ?? null])
}
