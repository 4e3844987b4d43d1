// A raw client of one cluster: finds the leader of a partition and sends it ListOffsets, Fetch and Produce as they are.
import { isMillraceError, MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import type { Api } from './api.ts'
import { BrokerConnections } from './broker-connections.ts'
import type { Connection } from './connection.ts'
import { checkCluster, checkRights, KafkaError } from './kafka-errors.ts'
import { LeaderEpochs } from './leader-epochs.ts'
import { askOffsets } from './list-offsets.ts'
import type { FetchedLog } from './log-fetches.ts'
import { LogFetches } from './log-fetches.ts'
import { fetch, initProducerId, listOffsets, metadata, offsetForLeaderEpoch, produce } from './messages.ts'
import { describeConfigs } from './messages-admin.ts'
import { RETRY_FOR_MS, retrying } from './retrying.ts'
import type { Security } from './security.ts'
import { PLAINTEXT } from './security.ts'
import { anyHas, checkTellsIds, isTopicId, lacksId } from './topic-ids.ts'
import type { TopicSettings } from './topic-settings.ts'
import { settingsOf, settingsQuestion } from './topic-settings.ts'
import { NO_TOPIC_ID } from './wire.ts'

export interface TopicMetadata {
  readonly name: string
  readonly topicId: string
  readonly isInternal: boolean
  /** Partition → the node id of its leader, -1 while there is none. */
  readonly leaders: ReadonlyMap<number, number>
}

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
  /** Only `fetchLog` heeds it, from Fetch v13 on: a topic made anew under the name is refused, as UNKNOWN_TOPIC_ID. */
  readonly topicId?: string
}

/** Timestamps that ListOffsets takes for positions. */
export const LATEST = -1
export const EARLIEST = -2

/** As Kafka's own consumers ask of a partition. A backfill takes as long as with 8 MiB, at 60 MB less of memory. */
const FETCH_BYTES = 1024 * 1024
/** Less than a connection waits for an answer, so that the broker can say that it took too long. */
const PRODUCE_TIMEOUT_MS = 10_000

export class Cluster implements Disposable {
  /** What metadata has told, here and to whoever else adds to it. */
  readonly epochs = new LeaderEpochs()
  readonly #bootstrap: readonly Address[]
  readonly #options: { readonly retryForMs: number; readonly needsTopicIds: boolean }
  readonly #connections: BrokerConnections
  /** Others, since a broker mutes one that takes more than its quota. */
  readonly #fetchConnections: BrokerConnections
  readonly #fetches = new LogFetches()
  readonly #topics = new Map<string, TopicMetadata>()
  readonly #namedAt = new Map<string, number>()
  readonly #watchers = new Set<(brokers: ReadonlyMap<number, Address>) => void>()
  #brokers = new Map<number, Address>()
  #clusterId: string | null = null

  /**
   * For `retryForMs`, half a minute unless told, a leader is waited for that may be back by then. With `needsTopicIds` nothing is
   * taken from brokers that know none, and topics without one are errors, or left out where several are asked for.
   */
  constructor(
    bootstrap: readonly Address[],
    security: Security = PLAINTEXT,
    { retryForMs = RETRY_FOR_MS, needsTopicIds = false } = {}
  ) {
    this.#bootstrap = bootstrap
    this.#options = { retryForMs, needsTopicIds }
    this.#connections = new BrokerConnections(security)
    this.#fetchConnections = new BrokerConnections(security)
  }

  /** The cluster's id. Throws BROKER_UNREACHABLE. */
  async clusterId(): Promise<string> {
    if (this.#clusterId === null) await this.refresh([])
    return this.#clusterId!
  }

  /** The brokers of the last metadata answer, by node id. */
  get brokers(): ReadonlyMap<number, Address> {
    return this.#brokers
  }

  /** Calls `watcher` with the brokers of each metadata answer from now on; gives what ends that. */
  watchBrokers(watcher: (brokers: ReadonlyMap<number, Address>) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /** The topic as last seen, asked for once if it was never seen. Throws BROKER_ERROR when it does not exist. */
  async topic(name: string): Promise<TopicMetadata> {
    const known = this.#topics.get(name)
    if (known) return known
    await this.refresh([name])
    const found = this.#topics.get(name)
    if (!found) throw new MillraceError('BROKER_ERROR', `topic ${name} does not exist`)
    return found
  }

  /** When a metadata answer last named a topic, by its id, in epoch ms; 0 for never. */
  namedAt(topicId: string): number {
    return this.#namedAt.get(topicId) ?? 0
  }

  /**
   * Asks for metadata anew: of the named topics, or of all for null. Never creates a topic; one that does not exist is not
   * in the answer. Throws BROKER_ERROR for a named topic that we may not see, which says nothing of whether it exists.
   */
  async refresh(topics: readonly string[] | null): Promise<TopicMetadata[]> {
    const asked = Date.now()
    const question = { topics: topics?.map(name => ({ name })) ?? null, allowAutoTopicCreation: false }
    const answer = await this.#askAny(async connection => {
      if (this.#options.needsTopicIds) checkTellsIds(connection)
      const answer = await connection.request(metadata, question)
      checkCluster(connection.address, answer.clusterId ?? this.#clusterId, this.#clusterId)
      return answer
    })
    this.#clusterId ??= answer.clusterId ?? null
    this.#brokers = new Map(answer.brokers.map(b => [b.nodeId, { host: b.host, port: b.port }]))
    for (const watcher of this.#watchers) watcher(this.#brokers)
    const seen: TopicMetadata[] = []
    let lacking: MillraceError | undefined
    for (const { name, errorCode, topicId = NO_TOPIC_ID, isInternal = false, partitions } of answer.topics) {
      if (name === null) continue
      checkRights(name, errorCode)
      const isThere = errorCode === KafkaError.NONE
      if (!isThere || (this.#options.needsTopicIds && !isTopicId(topicId))) {
        this.#topics.delete(name)
        if (isThere && topics?.length === 1) lacking = lacksId(name)
        continue
      }
      this.#namedAt.set(topicId, asked)
      const leaders = new Map(partitions.map(p => [p.partitionIndex, p.leaderId]))
      for (const p of partitions) this.epochs.hear(topicId, p.partitionIndex, p.leaderEpoch ?? -1, p.leaderId)
      const found = { name, topicId, isInternal, leaders }
      this.#topics.set(name, found)
      seen.push(found)
    }
    if (lacking !== undefined) throw lacking
    return seen
  }

  /**
   * Whether any broker has the topic of this id: one that lags behind may not have heard of it, so what most of them say counts.
   * Throws BROKER_UNREACHABLE where no more than half of them answer.
   */
  async knows({ topic, topicId }: Required<Pick<TopicPartition, 'topic' | 'topicId'>>): Promise<boolean> {
    const question = { topics: [{ name: topic }], allowAutoTopicCreation: false }
    const asked = [...this.#brokers.values()].map(async address => {
      const { topics } = await (await this.#connections.to(address)).request(metadata, question)
      return topics.some(found => found.errorCode === KafkaError.NONE && found.topicId === topicId)
    })
    return anyHas(topic, asked)
  }

  /** Any broker knows them, also where nobody leads a partition. Throws BROKER_ERROR, BROKER_UNREACHABLE. */
  async topicSettings(topic: string): Promise<TopicSettings> {
    const question = settingsQuestion(topic)
    return settingsOf(topic, await this.#askAny(connection => connection.request(describeConfigs, question)))
  }

  /**
   * The offset for a timestamp, EARLIEST or LATEST. LATEST is the high watermark: only what no failover can take back
   * lies below it. Throws BROKER_ERROR.
   */
  async listOffset(at: TopicPartition, timestamp: number): Promise<number> {
    const answer = await this.#atLeader(
      at,
      listOffsets,
      connection =>
        connection.request(listOffsets, {
          isolationLevel: 0,
          topics: [{ name: at.topic, partitions: [{ partitionIndex: at.partition, timestamp }] }],
          timeoutMs: RETRY_FOR_MS
        }),
      response => response.topics[0]?.partitions[0]
    )
    return answer.offset ?? -1
  }

  /**
   * The offset for a timestamp in each of many partitions, with one request a broker; undefined where the leader gives none now.
   * Goes by the leaders of the last `refresh`.
   */
  async listOffsets(partitions: readonly TopicPartition[], timestamp: number): Promise<(number | undefined)[]> {
    const found = new Map<string, number>()
    const byLeader = Map.groupBy(partitions, at => this.#topics.get(at.topic)?.leaders.get(at.partition))
    await Promise.all(
      [...byLeader].map(async ([leader, of]) => {
        const address = leader === undefined ? undefined : this.#brokers.get(leader)
        if (address === undefined) return
        try {
          const connection = await this.#connections.to(address)
          const offsets = await askOffsets(connection, of, { timestamp, timeoutMs: RETRY_FOR_MS })
          for (const [place, offset] of offsets) found.set(place, offset)
        } catch (error) {
          if (!isMillraceError(error, 'BROKER_UNREACHABLE')) throw error
        }
      })
    )
    return partitions.map(({ topic, partition }) => found.get(`${topic}/${partition}`))
  }

  /**
   * The offset behind the last batch that the leader's log has of a leader epoch, for its newest one the end of the log; 0 when
   * it has none of it. Null from a broker without leader epochs. Throws BROKER_ERROR. Source: KIP-101.
   */
  async endOfEpoch(at: TopicPartition, epoch: number): Promise<number | null> {
    if (!(await this.#askAny(connection => connection.offers(offsetForLeaderEpoch)))) return null
    const topics = [{ topic: at.topic, partitions: [{ partition: at.partition, leaderEpoch: epoch }] }]
    const found = await this.#atLeader(
      at,
      offsetForLeaderEpoch,
      connection => connection.request(offsetForLeaderEpoch, { topics }),
      response => response.topics[0]?.partitions[0]
    )
    // Where the log has nothing of it, the answer is of the epoch before.
    return found.leaderEpoch === epoch ? (found.endOffset ?? 0) : 0
  }

  /**
   * Reads the log from `offset` on, uncommitted transactions and control batches included, without waiting for more.
   * Throws BROKER_ERROR, a retriable one where the log no longer has that offset, and Throttled.
   */
  async fetchLog(at: TopicPartition, offset: number, maxBytes = FETCH_BYTES): Promise<FetchedLog> {
    const answer = await this.#atLeader(
      at,
      fetch,
      async connection => {
        const topicId = at.topicId ?? (await this.topic(at.topic)).topicId
        return this.#fetches.ask(connection, { ...at, topicId, offset, maxBytes })
      },
      found => found,
      this.#fetchConnections
    )
    const { records, highWatermark = -1, logStartOffset = -1 } = answer
    return { records: records ?? Buffer.alloc(0), highWatermark, logStartOffset }
  }

  /** Appends one raw batch with acks=all and gives its base offset. Safe to repeat only with an idempotent producer's batch. */
  async produceBatch(at: TopicPartition, wire: Buffer, timeoutMs = PRODUCE_TIMEOUT_MS): Promise<number> {
    const answer = await this.#atLeader(
      at,
      produce,
      async connection => {
        const { topicId } = await this.topic(at.topic)
        return connection.request(produce, {
          transactionalId: null,
          acks: -1,
          timeoutMs,
          topicData: [{ name: at.topic, topicId, partitionData: [{ index: at.partition, records: wire }] }]
        })
      },
      response => response.responses[0]?.partitionResponses[0]
    )
    return answer.baseOffset
  }

  /** A producer id for idempotent appends. */
  async initProducerId(): Promise<{ producerId: number; producerEpoch: number }> {
    const connection = await this.#askAny(connection => connection)
    return retrying('InitProducerId', async () => {
      const answer = await connection.request(initProducerId, { transactionalId: null, transactionTimeoutMs: 60_000 })
      return { ...answer, value: answer }
    })
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]()
    this.#fetchConnections[Symbol.dispose]()
  }

  /** Sends to the partition's leader; moves with it, and tries again while Kafka says that this may help. */
  async #atLeader<R, P extends { errorCode: number }>(
    { topic, partition }: TopicPartition,
    api: Api,
    send: (connection: Connection) => Promise<R>,
    pick: (response: R) => P | undefined,
    connections = this.#connections
  ): Promise<P> {
    const ask = async (attempt: number) => {
      if (attempt > 0) await this.refresh([topic])
      const leader = (await this.topic(topic)).leaders.get(partition)
      const address = leader === undefined ? undefined : this.#brokers.get(leader)
      if (address === undefined) return { errorCode: KafkaError.LEADER_NOT_AVAILABLE }
      const found = pick(await send(await connections.to(address)))
      return found ? { errorCode: found.errorCode, value: found } : { errorCode: KafkaError.UNKNOWN_SERVER_ERROR }
    }
    return retrying(`${api.name} of ${topic}-${partition}`, ask, this.#options.retryForMs)
  }

  #askAny<T>(ask: (connection: Connection) => T | Promise<T>): Promise<T> {
    return this.#connections.askAny([...this.#bootstrap, ...this.#brokers.values()], ask)
  }
}
