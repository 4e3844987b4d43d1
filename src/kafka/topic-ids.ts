// Archives go by topic ids, not by names, which a topic that is made anew has too. Brokers tell them in Metadata from version 10
// on, which came with Kafka 2.8, and only once the cluster gives topics any (KIP-516; usesTopicId in Kafka's KafkaConfig).
import { MillraceError } from '../errors.ts'
import { formatAddress } from './address.ts'
import type { Connection } from './connection.ts'
import { metadata } from './messages.ts'
import { NO_TOPIC_ID } from './wire.ts'

const FIRST_VERSION = 10

/** Whether this is an id, and not what stands where there is none. */
export function isTopicId(topicId: string | undefined): topicId is string {
  return topicId !== undefined && topicId !== NO_TOPIC_ID
}

/** Throws BROKER_ERROR where a broker cannot tell topic ids. */
export function checkTellsIds(connection: Connection): void {
  const version = connection.version(metadata)
  if (version >= FIRST_VERSION) return
  const what = `${formatAddress(connection.address)} knows no topic ids: it speaks Metadata up to version ${version}`
  throw new MillraceError('BROKER_ERROR', what, { hint: 'Millrace archives from Kafka 2.8 on, where topics have ids.' })
}

/** What is said of a topic that has no id. */
export function lacksId(topic: string): MillraceError {
  return new MillraceError('BROKER_ERROR', `topic ${topic} has no id, by which it would be archived`, {
    hint: 'Topics have ids from Kafka 2.8 on; with ZooKeeper all brokers need inter.broker.protocol.version 2.8 or higher.'
  })
}

/** Whether any broker has a topic, by what each says. Throws BROKER_UNREACHABLE where no more than half of them say anything. */
export async function anyHas(topic: string, said: readonly Promise<boolean>[]): Promise<boolean> {
  const answers = (await Promise.allSettled(said)).filter(answer => answer.status === 'fulfilled')
  if (answers.some(({ value }) => value)) return true
  if (2 * answers.length > said.length) return false
  const what = `${answers.length} of ${said.length} brokers say whether they have topic ${topic}`
  throw new MillraceError('BROKER_UNREACHABLE', what, { retriable: true })
}
