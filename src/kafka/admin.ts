// A thin wrapper of kafkajs for what is asked rarely: topic settings and topic creation.
import type { Admin as KafkaAdmin, KafkaConfig } from 'kafkajs'
import kafkajs from 'kafkajs'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import { rightsHint } from './kafka-errors.ts'
import { kafkajsMechanism } from './kafkajs-sasl.ts'
import type { Security } from './security.ts'
import { PLAINTEXT } from './security.ts'

// Node finds only some names of this CommonJS package by itself; ConfigResourceTypes is not among them.
const { ConfigResourceTypes, Kafka, logLevel } = kafkajs

export interface TopicSettings {
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  /** `producer`, or the codec to which the broker recompresses. */
  readonly compressionType: string
  /** `delete`, `compact` or both. */
  readonly cleanupPolicy: readonly string[]
  /** Milliseconds after which records are deleted; infinite where they are not. */
  readonly retentionMs: number
  /** Bytes of a partition beyond which its oldest records are deleted; infinite where they are not. */
  readonly retentionBytes: number
  /** How far back and ahead of the broker's clock a timestamp may lie, in milliseconds. */
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
}

const settingNames = [
  'message.timestamp.type',
  'compression.type',
  'cleanup.policy',
  'retention.ms',
  'retention.bytes',
  'message.timestamp.before.max.ms',
  'message.timestamp.after.max.ms'
] as const

/** A limit as a number: infinite for -1 and for one that the broker does not know. */
function limit(value: string | undefined): number {
  return value === undefined || Number(value) < 0 ? Number.POSITIVE_INFINITY : Number(value)
}

/** kafkajs' ten seconds would have it authenticate with each request where sessions are shorter, which brokers refuse. */
const REAUTHENTICATE_BEFORE_MS = 1_000

export class Admin {
  readonly #bootstrap: readonly Address[]
  readonly #security: Pick<KafkaConfig, 'ssl' | 'sasl'>

  constructor(bootstrap: readonly Address[], { tls, sasl }: Security = PLAINTEXT) {
    this.#bootstrap = bootstrap
    this.#security = { ...(tls && { ssl: tls }), ...(sasl && { sasl: kafkajsMechanism(sasl) }) }
  }

  /** The settings of a topic that decide what becomes of batches that are sent to it. Throws BROKER_ERROR. */
  async topicSettings(topic: string): Promise<TopicSettings> {
    const answer = await this.#with('DescribeConfigs', admin =>
      admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: [...settingNames] }]
      })
    )
    const values = new Map(answer.resources[0]?.configEntries.map(entry => [entry.configName, entry.configValue]))
    return {
      timestampType: values.get('message.timestamp.type') === 'LogAppendTime' ? 'LogAppendTime' : 'CreateTime',
      compressionType: values.get('compression.type') ?? 'producer',
      cleanupPolicy: (values.get('cleanup.policy') ?? 'delete').split(','),
      retentionMs: limit(values.get('retention.ms')),
      retentionBytes: limit(values.get('retention.bytes')),
      timestampBeforeMaxMs: limit(values.get('message.timestamp.before.max.ms')),
      timestampAfterMaxMs: limit(values.get('message.timestamp.after.max.ms'))
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

  async #with<T>(what: string, work: (admin: KafkaAdmin) => Promise<T>): Promise<T> {
    const brokers = this.#bootstrap.map(formatAddress)
    const config = {
      clientId: 'millrace',
      brokers,
      logLevel: logLevel.NOTHING,
      reauthenticationThreshold: REAUTHENTICATE_BEFORE_MS,
      ...this.#security
    }
    const admin = new Kafka(config).admin()
    try {
      await admin.connect()
      return await work(admin)
    } catch (cause) {
      if (isMillraceError(cause)) throw cause
      throw new MillraceError('BROKER_ERROR', `${what} at ${brokers.join(', ')}: ${messageOf(cause)}`, {
        cause,
        hint: rightsHint((cause as { code?: number }).code),
        retriable: true
      })
    } finally {
      await admin.disconnect()
    }
  }
}
