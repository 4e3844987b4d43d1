// A thin wrapper of kafkajs for what is asked rarely: topic creation.
import type { Admin as KafkaAdmin, KafkaConfig } from 'kafkajs'
import kafkajs from 'kafkajs'
import { isMillraceError, MillraceError, messageOf } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'
import { kafkaErrorName, rightsHint } from './kafka-errors.ts'
import { kafkajsMechanism } from './kafkajs-sasl.ts'
import type { Security } from './security.ts'
import { PLAINTEXT } from './security.ts'

const { Kafka, logLevel } = kafkajs

/** kafkajs' ten seconds would have it authenticate with each request where sessions are shorter, which brokers refuse. */
const REAUTHENTICATE_BEFORE_MS = 1_000

export class Admin {
  readonly #bootstrap: readonly Address[]
  readonly #security: Pick<KafkaConfig, 'ssl' | 'sasl'>

  constructor(bootstrap: readonly Address[], { tls, sasl }: Security = PLAINTEXT) {
    this.#bootstrap = bootstrap
    this.#security = { ...(tls && { ssl: tls }), ...(sasl && { sasl: kafkajsMechanism(sasl) }) }
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
      // What brokers say of topics comes in a list, of which kafkajs' own message tells nothing.
      const [reason = cause] = ((cause as AggregateError).errors ?? []) as unknown[]
      const { code } = reason as { code?: number }
      const said = typeof code === 'number' ? kafkaErrorName(code) : messageOf(reason)
      throw new MillraceError('BROKER_ERROR', `${what} at ${brokers.join(', ')}: ${said}`, {
        cause,
        hint: rightsHint(code),
        retriable: true
      })
    } finally {
      await admin.disconnect()
    }
  }
}
