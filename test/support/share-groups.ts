// Share groups (KIP-932) by Kafka's own tools.
import { kafkaTool } from './kafka-tools.ts'

/** Makes a share group begin with a topic's first record; by itself it begins with the next one. */
export async function shareFromStart(bootstrap: string, group: string): Promise<void> {
  const entity = ['--entity-type', 'groups', '--entity-name', group]
  const config = ['--alter', '--add-config', 'share.auto.offset.reset=earliest']
  await kafkaTool('kafka.admin.ConfigCommand', ['--bootstrap-server', bootstrap, ...entity, ...config])
}

/** kafka-console-share-consumer until it has accepted `count` records: their lines. */
export async function shareConsume(options: {
  bootstrap: string
  topic: string
  group: string
  count: number
  args?: readonly string[]
}): Promise<string[]> {
  const { bootstrap, topic, group, count, args = [] } = options
  const where = ['--bootstrap-server', bootstrap, '--topic', topic, '--group', group]
  const until = ['--max-messages', String(count), '--timeout-ms', '30000']
  const output = await kafkaTool('org.apache.kafka.tools.consumer.ConsoleShareConsumer', [...where, ...until, ...args])
  return output.split('\n').slice(0, -1)
}
