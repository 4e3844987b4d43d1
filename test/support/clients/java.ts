// Kafka's own Java client, as its console tools drive it.
import { randomUUID } from 'node:crypto'
import { isMissing } from '../found.ts'
import { findKafkaJars, javaArgs } from '../kafka-jars.ts'
import { kafkaTool } from '../kafka-tools.ts'
import type { Client, NewRecord, OffsetsAt, ReadRecord } from './client.ts'
import { groupTimes } from './client.ts'
import { processMember } from './process-member.ts'

const consumer = 'org.apache.kafka.tools.consumer.ConsoleConsumer'
const noHeaders = 'NO_HEADERS'
const nil = 'NIL'

const printed = ['timestamp', 'partition', 'offset', 'headers', 'key', 'value'].map(what => `print.${what}=true`)
const printAll = each('--formatter-property', [...printed, `null.literal=${nil}`])

const times = { earliest: '-2', latest: '-1', 'max-timestamp': '-3' }
const timeOf = (at: OffsetsAt) => String(typeof at === 'number' ? at : times[at])

export const java: Client = {
  name: 'the Java client',
  needs: ['kafka-tools'],
  can: { staticMember: true, maxTimestamp: true, makeTopicByReading: true, writeNullHeaders: true },

  async produce(bootstrap, topic, records, { acks, codec = 'none', idempotent = false, maxBytes }) {
    const where = ['--bootstrap-server', bootstrap, '--topic', topic, '--sync']
    const settings = [
      // By default the tool waits a second for more.
      'linger.ms=0',
      `enable.idempotence=${idempotent}`,
      ...(maxBytes === undefined ? [] : [`max.request.size=${maxBytes}`, `buffer.memory=${2 * maxBytes}`])
    ]
    const how = ['--request-required-acks', String(acks), '--compression-codec', codec]
    const reader = each('--reader-property', ['parse.key=true', 'parse.headers=true', `null.marker=${nil}`])
    await kafkaTool(
      'org.apache.kafka.tools.ConsoleProducer',
      [...where, ...how, ...each('--command-property', settings), ...reader],
      { input: records.map(producedLine).join('') }
    )
  },

  async consume(bootstrap, topic, { from, count }) {
    const where = ['--bootstrap-server', bootstrap, '--topic', topic]
    const until = ['--max-messages', String(count), '--timeout-ms', '20000']
    const start: string[] = []
    if (from === 'beginning') start.push('--from-beginning')
    else if ('offset' in from) {
      start.push('--partition', '0', '--offset', String(from.offset))
      start.push('--command-property', 'auto.offset.reset=earliest')
    } else {
      // The console consumer itself starts at no time, but where a group's offsets were set to.
      const group = randomUUID()
      const at = new Date(from.timestamp).toISOString().replace('Z', '')
      const reset = ['--reset-offsets', '--to-datetime', at, '--execute']
      await consumerGroups(bootstrap, ['--group', group, '--topic', topic, ...reset])
      start.push('--group', group)
    }
    const output = await kafkaTool(consumer, [...where, ...start, ...until, ...printAll])
    return output.split('\n').flatMap(line => consumedRecord(line) ?? [])
  },

  async offsets(bootstrap, topic, at) {
    const args = ['--bootstrap-server', bootstrap, '--topic', topic, '--time', timeOf(at)]
    const output = await kafkaTool('org.apache.kafka.tools.GetOffsetShell', args)
    return new Map(
      [...output.matchAll(/:(\d+):(\d+)$/gm)].map(([, partition, offset]) => [Number(partition), Number(offset)])
    )
  },

  async join(bootstrap, { group, topic, clientId, instanceId, fetchWait }) {
    const jars = await findKafkaJars()
    if (isMissing(jars)) throw new Error(jars.missing)
    const where = ['--bootstrap-server', bootstrap, '--topic', topic, '--group', group, '--from-beginning']
    const settings = [
      'group.protocol=classic',
      `client.id=${clientId}`,
      `session.timeout.ms=${groupTimes.session}`,
      `heartbeat.interval.ms=${groupTimes.heartbeat}`,
      ...(instanceId === undefined ? [] : [`group.instance.id=${instanceId}`]),
      ...(fetchWait === undefined ? [] : [`fetch.max.wait.ms=${fetchWait}`])
    ]
    const args = [...where, ...each('--command-property', settings), ...printAll]
    return processMember({ command: 'java', args: javaArgs(jars, consumer, args), parse: consumedRecord })
  }
}

/** kafka-consumer-groups. */
export async function consumerGroups(bootstrap: string, args: readonly string[]): Promise<string> {
  const name = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'
  return await kafkaTool(name, ['--bootstrap-server', bootstrap, ...args])
}

/** kafka-configs. */
export async function kafkaConfigs(bootstrap: string, args: readonly string[]): Promise<string> {
  return await kafkaTool('kafka.admin.ConfigCommand', ['--bootstrap-server', bootstrap, ...args])
}

function producedLine({ key, value, headers = [] }: NewRecord): string {
  const list = headers.map(([name, value]) => `${name}:${value ?? nil}`).join(',')
  return `${list || nil}\t${key ?? nil}\t${value ?? nil}\n`
}

function consumedRecord(line: string): ReadRecord | undefined {
  const found = /^\w+Time:(\d+)\tPartition:(\d+)\tOffset:(\d+)\t(.*)\t(.*)\t(.*)$/.exec(line)
  if (found === null) return undefined
  const [, timestamp, partition, offset, headers, key, value] = found
  return {
    partition: Number(partition),
    offset: Number(offset),
    timestamp: Number(timestamp),
    key: text(key!),
    value: text(value!),
    headers: headers === noHeaders ? [] : headers!.split(',').map(headerOf)
  }
}

function headerOf(pair: string): [string, string | null] {
  const colon = pair.indexOf(':')
  return [pair.slice(0, colon), text(pair.slice(colon + 1))]
}

const text = (printed: string): string | null => (printed === nil ? null : printed)

function each(option: string, values: readonly string[]): string[] {
  return values.flatMap(value => [option, value])
}
