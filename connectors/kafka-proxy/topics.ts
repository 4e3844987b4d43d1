// Which topics are captured, and by which id and name they go: fed by the Metadata answers that pass by.
import { MillraceError } from 'millrace/connect'
import type { Cluster, messages, ResponseOf } from 'millrace/kafka'
import { isTopicId, isTopicName } from 'millrace/kafka'

export interface TopicSelection {
  readonly topics: readonly string[]
  readonly regex: RegExp
  readonly exclude: readonly string[]
}

/** Whether a topic's batches are captured. Internal topics (`__consumer_offsets` and the like) are, only when named. */
export function isCaptured(topic: string, { topics, regex, exclude }: TopicSelection): boolean {
  if (!isTopicName(topic)) return false // brokers take none, and a pattern may take long over a client's megabytes
  if (exclude.includes(topic)) return false
  if (topics.length > 0) return topics.includes(topic)
  return !topic.startsWith('__') && regex.test(topic)
}

/** When a request went on, by `performance.now()`, and to which node; -1 for one that is not known. */
export interface Sent {
  readonly at: number
  readonly to: number
}

/** Names and ids, both ways. The last metadata seen wins: a re-created topic has a new id. */
export class TopicIds {
  readonly #cluster: Cluster
  readonly #ids = new Map<string, string>()
  readonly #names = new Map<string, string>()
  /** The question for all topics that is under way. */
  #askingAll: Promise<void> | null = null

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /**
   * Takes note of a metadata answer. One below version 10 has no ids, and none below 7 leader epochs: then the cluster is
   * asked, so that both are known before the client can send anything.
   */
  async learn(topics: ResponseOf<typeof messages.metadata>['topics']): Promise<void> {
    const unnamed: string[] = []
    for (const { name, topicId, errorCode, partitions } of topics) {
      if (name === null) continue
      if (errorCode === 0 && isTopicId(topicId)) {
        this.#set(name, topicId)
        for (const p of partitions)
          this.#cluster.epochs.hear(topicId, p.partitionIndex, p.leaderEpoch ?? -1, p.leaderId)
      }
      // This client may have been told of a new topic with an old name.
      else this.#ids.delete(name)
      if (errorCode === 0 && !isTopicId(topicId)) unnamed.push(name)
    }
    // What cannot be learned now is asked for again when a batch was accepted.
    if (unnamed.length > 0) await this.#ask(unnamed).catch(() => {})
  }

  /**
   * The id of the topic that took a batch at an offset; asks the cluster when no metadata has passed by yet, and at offset
   * 0, where a new topic with an old name begins: clients that know the name need no metadata for it.
   * Throws BROKER_ERROR when there is none.
   */
  async idOf(name: string, baseOffset: number): Promise<string> {
    const known = this.#ids.get(name)
    if (known !== undefined && baseOffset > 0) return known
    await this.#ask([name])
    return this.#found(this.#ids.get(name), name)
  }

  /** The name of a topic id; asks the cluster for all topics when it is new. Throws BROKER_ERROR when there is none. */
  async nameOf(topicId: string): Promise<string> {
    const known = this.#names.get(topicId)
    if (known !== undefined) return known
    // A question that is under way may be older than the topic; behind it, those that it did not help ask together.
    if (this.#askingAll) await this.#askingAll.catch(() => {})
    if (!this.#names.has(topicId)) await this.#askAll()
    return this.#found(this.#names.get(topicId), topicId)
  }

  /** The leader epoch of a partition that was heard of before a request was sent to its leader; -1 for none. */
  epochBefore(topicId: string, partition: number, { at, to }: Sent): number {
    return this.#cluster.epochs.before(topicId, partition, at, to)
  }

  /** Whether a metadata answer has named a topic, by its name or its id. */
  knows(topic: string): boolean {
    return this.#ids.has(topic) || this.#names.has(topic)
  }

  /** The name of a topic id, if a metadata answer has named it. */
  knownName(topicId: string): string | undefined {
    return this.#names.get(topicId)
  }

  #askAll(): Promise<void> {
    this.#askingAll ??= this.#ask(null).finally(() => {
      this.#askingAll = null
    })
    return this.#askingAll
  }

  async #ask(names: readonly string[] | null): Promise<void> {
    for (const { name, topicId } of await this.#cluster.refresh(names)) this.#set(name, topicId)
  }

  #set(name: string, topicId: string): void {
    this.#ids.set(name, topicId)
    this.#names.set(topicId, name)
  }

  #found(value: string | undefined, asked: string): string {
    if (value === undefined) throw new MillraceError('BROKER_ERROR', `the cluster does not know topic ${asked}`)
    return value
  }
}
