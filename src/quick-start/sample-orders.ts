// A trickle of sample orders, so that a first look finds something to look at.
import { setTimeout as delay } from 'node:timers/promises'
import type { Producer } from 'kafkajs'
import kafkajs from 'kafkajs'
import { MillraceError, messageOf } from '../errors.ts'

const { Kafka, logLevel, Partitioners } = kafkajs

export const SAMPLE_TOPIC = 'orders'
const PARTITIONS = 3
/** So many at once, so that the first search finds something; then one at a time. */
const FIRST_ORDERS = 25
const INTERVAL_MS = 500

const customers = ['ada', 'bela', 'chidi', 'dana', 'emre', 'fatou', 'goran', 'hana']
const goods = ['oat flour', 'rye flour', 'spelt bran', 'mill stone', 'grain sack', 'sieve']
const states = ['placed', 'paid', 'shipped', 'delivered', 'returned']

/** Makes the topic, writes the first orders, and goes on until it is disposed of. Throws BROKER_ERROR. */
export class SampleOrders implements AsyncDisposable {
  readonly #producer: Producer
  readonly #stopping = new AbortController()
  readonly #onError: (error: unknown) => void
  #number = 1000
  #loop: Promise<void> = Promise.resolve()

  private constructor(producer: Producer, onError: (error: unknown) => void) {
    this.#producer = producer
    this.#onError = onError
  }

  static async start(bootstrap: string, onError: (error: unknown) => void): Promise<SampleOrders> {
    const kafka = new Kafka({ clientId: 'millrace-samples', brokers: [bootstrap], logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    const samples = new SampleOrders(kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner }), onError)
    try {
      await admin.connect()
      await admin.createTopics({ topics: [{ topic: SAMPLE_TOPIC, numPartitions: PARTITIONS }] })
      await samples.#producer.connect()
      await samples.#send(FIRST_ORDERS)
    } catch (cause) {
      await samples[Symbol.asyncDispose]()
      throw new MillraceError('BROKER_ERROR', `sample orders cannot be written: ${messageOf(cause)}`, { cause })
    } finally {
      await admin.disconnect()
    }
    samples.#loop = samples.#trickle()
    return samples
  }

  async #trickle(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await delay(INTERVAL_MS, undefined, { signal }).catch(() => {})
      if (!signal.aborted) await this.#send(1).catch(this.#onError)
    }
  }

  async #send(count: number): Promise<void> {
    const orders = Array.from({ length: count }, () => this.#order())
    await this.#producer.send({
      topic: SAMPLE_TOPIC,
      messages: orders.map(order => ({
        key: order.customer,
        value: JSON.stringify(order),
        headers: { source: 'millrace-samples' }
      }))
    })
  }

  #order(): { id: string; customer: string; item: string; quantity: number; status: string; placed: string } {
    return {
      id: `o-${++this.#number}`,
      customer: oneOf(customers),
      item: oneOf(goods),
      quantity: 1 + Math.floor(Math.random() * 9),
      status: oneOf(states),
      placed: new Date().toISOString()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await this.#loop
    await this.#producer.disconnect()
  }
}

function oneOf<T>(values: readonly T[]): T {
  return values[Math.floor(Math.random() * values.length)]!
}
