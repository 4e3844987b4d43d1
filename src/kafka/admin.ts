// A thin wrapper of kafkajs for what is asked rarely: topic settings and topic creation.
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs'
import { MillraceError, messageOf } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'

export interface TopicSettings {
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  /** `producer`, or the codec to which the broker recompresses. */
  readonly compressionType: string
}

export class Admin {
  readonly #bootstrap: readonly Address[]

  constructor(bootstrap: readonly Address[]) {
    this.#bootstrap = bootstrap
  }

  /** The settings of a topic that decide whether the broker stores batches as they are sent. Throws BROKER_ERROR. */
  async topicSettings(topic: string): Promise<TopicSettings> {
    const answer = await this.#with('DescribeConfigs', admin =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: [
          {
            type: ConfigResourceTypes.TOPIC,
            name: topic,
            configNames: ['message.timestamp.type', 'compression.type']
          }
        ]
      })
    )
    const values = new Map(answer.resources[0]?.configEntries.map(entry => [entry.configName, entry.configValue]))
    return {
      timestampType: values.get('message.timestamp.type') === 'LogAppendTime' ? 'LogAppendTime' : 'CreateTime',
      compressionType: values.get('compression.type') ?? 'producer'
    }
  }

  /** Creates a topic; false if it is there already. Throws BROKER_ERROR. */
  async createTopic(topic: string, partitions: number, configs: Readonly<Record<string, string>>): Promise<boolean> {
    return this.#with('CreateTopics', admin =>
      admin.createTopics({
        waitForLeaders: true,
        topics: [
          {
            topic,
            numPartitions: partitions,
            configEntries: Object.entries(configs).map(([name, value]) => ({ name, value }))
          }
        ]
      })
    )
  }

  async #with<T>(what: string, work: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
    const brokers = this.#bootstrap.map(formatAddress)
    const admin = new Kafka({ clientId: 'millrace', brokers, logLevel: logLevel.NOTHING }).admin()
    try {
      await admin.connect()
      return await work(admin)
    } catch (cause) {
      throw new MillraceError('BROKER_ERROR', `${what} at ${brokers.join(', ')}: ${messageOf(cause)}`, {
        cause,
        retriable: true
      })
    } finally {
      await admin.disconnect()
    }
  }
}
