// Group handlers over a store in memory and offsets on disk, driven message by message in any version, under timers that the
// test moves; and consumers that speak the group protocol with them.
import { join } from 'node:path'
import { onTestFinished, vi } from 'vitest'
import { groupHandlers } from '../../src/broker/groups/handlers.ts'
import { OffsetStore } from '../../src/broker/groups/offset-store.ts'
import type { Api, RequestOf, ResponseOf } from '../../src/kafka/api.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'
import {
  heartbeat,
  joinGroup,
  leaveGroup,
  offsetCommit,
  offsetFetch,
  syncGroup
} from '../../src/kafka/messages-groups.ts'
import { tempFolder } from '../support/temp.ts'
import { MemoryLog, MemoryStore, ORDERS_ID } from './memory-store.ts'

export interface CallOptions {
  /** The highest unless told. */
  readonly version?: number
  readonly signal?: AbortSignal
  readonly clientId?: string
}

export class GroupWorld {
  readonly store = new MemoryStore()
  readonly file: string
  #offsets: OffsetStore
  #groups: ReturnType<typeof groupHandlers>

  constructor(file: string) {
    this.file = file
    this.#offsets = OffsetStore.open(file)
    this.#groups = this.#start('cluster')
    this.store.add('orders', ORDERS_ID, [new MemoryLog(), new MemoryLog(), new MemoryLog()])
  }

  #start(scope: string) {
    return groupHandlers({ store: this.store, offsets: this.#offsets, scope })
  }

  /** Begins anew from what is on disk. */
  restart(scope = 'cluster'): void {
    this.dispose()
    this.#offsets = OffsetStore.open(this.file)
    this.#groups = this.#start(scope)
  }

  dispose(): void {
    this.#groups.dispose()
    this.#offsets[Symbol.dispose]()
  }

  /** Ends the handlers only, as a server that stops does first. */
  stop(): void {
    this.#groups.dispose()
  }

  /** Sends a request through both codecs; null where no answer is sent. */
  async ask<A extends Api>(api: A, request: RequestOf<A>, options: CallOptions = {}): Promise<ResponseOf<A> | null> {
    const { version = api.versions[1], signal = new AbortController().signal, clientId = 'app' } = options
    const { handle } = this.#groups.handlers.find(handler => handler.api.key === api.key)!
    const body = api.request.decode(api.request.encode(request, version), version)
    const context = { version, clientId, clientHost: '/10.0.0.7', advertised: { host: 'here', port: 9092 }, signal }
    const answer = await handle(body, context)
    return answer && (api.response.decode(api.response.encode(answer, version), version) as ResponseOf<A>)
  }

  async call<A extends Api>(api: A, request: RequestOf<A>, options: CallOptions = {}): Promise<ResponseOf<A>> {
    return (await this.ask(api, request, options))!
  }
}

/** A world with the topic `orders` of three partitions, and with timers that only `pass` moves. */
export async function groupWorld(): Promise<GroupWorld> {
  const folder = await tempFolder('groups')
  // Not setImmediate: SQLite's commits are real.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] })
  const world = new GroupWorld(join(folder.path, 'offsets.db'))
  onTestFinished(async () => {
    world.dispose()
    vi.useRealTimers()
    await folder.dispose()
  })
  return world
}

/** Lets time pass. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
}

/** Long enough for a first rebalance to end, also when members come one after the other. */
export const INITIAL = 450

export interface ConsumerOptions {
  readonly group?: string
  readonly instanceId?: string
  readonly type?: string
  /** Names and metadata, the best first. */
  readonly protocols?: Readonly<Record<string, string>>
  readonly sessionMs?: number
  readonly rebalanceMs?: number
  readonly joinVersion?: number
  readonly signal?: AbortSignal
}

export class Consumer {
  readonly #world: GroupWorld
  readonly group: string
  readonly instanceId: string | null
  protocols: Readonly<Record<string, string>>
  readonly #options: ConsumerOptions
  memberId = ''
  generation = -1

  constructor(world: GroupWorld, options: ConsumerOptions = {}) {
    this.#world = world
    this.#options = options
    this.group = options.group ?? 'g'
    this.instanceId = options.instanceId ?? null
    this.protocols = options.protocols ?? { range: 'topics' }
  }

  /** What identifies it in every request. */
  get identity() {
    const { group, memberId, instanceId, generation } = this
    return { groupId: group, memberId, groupInstanceId: instanceId, generationId: generation }
  }

  /** One JoinGroup. */
  async ask(): Promise<ResponseOf<typeof joinGroup> | null> {
    const { type = 'consumer', sessionMs = 10_000, rebalanceMs = 60_000, joinVersion, signal } = this.#options
    const protocols = Object.entries(this.protocols).map(([name, text]) => ({ name, metadata: Buffer.from(text) }))
    const timeouts = { sessionTimeoutMs: sessionMs, rebalanceTimeoutMs: rebalanceMs }
    return await this.#world.ask(
      joinGroup,
      { ...this.identity, ...timeouts, protocolType: type, protocols },
      { ...(joinVersion !== undefined && { version: joinVersion }), ...(signal && { signal }) }
    )
  }

  /** JoinGroup, again with the id that it is given. */
  async join(): Promise<ResponseOf<typeof joinGroup>> {
    const first = (await this.ask())!
    this.memberId = first.memberId || this.memberId
    const answer = first.errorCode === KafkaError.MEMBER_ID_REQUIRED ? (await this.ask())! : first
    if (answer.errorCode === KafkaError.NONE) {
      this.memberId = answer.memberId
      this.generation = answer.generationId!
    }
    return answer
  }

  async sync(assignments: Readonly<Record<string, string>> = {}): Promise<ResponseOf<typeof syncGroup>> {
    const given = Object.entries(assignments).map(([memberId, text]) => ({ memberId, assignment: Buffer.from(text) }))
    return await this.#world.call(syncGroup, {
      ...this.identity,
      protocolType: this.#options.type ?? 'consumer',
      protocolName: Object.keys(this.protocols)[0]!,
      assignments: given
    })
  }

  async heartbeat(generation = this.generation): Promise<number> {
    return (await this.#world.call(heartbeat, { ...this.identity, generationId: generation })).errorCode
  }

  async leave(): Promise<number> {
    const members = [{ memberId: this.memberId, groupInstanceId: this.instanceId }]
    return (await this.#world.call(leaveGroup, { groupId: this.group, members })).members![0]!.errorCode
  }

  /** Commits an offset of `orders`, and gives the partition's error code. */
  async commit(offset: number, { partition = 0, generation = this.generation } = {}): Promise<number> {
    const answer = await this.#world.call(offsetCommit, {
      ...this.identity,
      generationIdOrMemberEpoch: generation,
      topics: [commitOf(partition, offset)]
    })
    return answer.topics[0]!.partitions[0]!.errorCode
  }
}

export function commitOf(partitionIndex: number, committedOffset: number, committedMetadata: string | null = null) {
  return {
    name: 'orders',
    topicId: ORDERS_ID,
    partitions: [{ partitionIndex, committedOffset, committedLeaderEpoch: 3, committedMetadata }]
  }
}

/** The committed offsets of the three partitions of `orders`. */
export async function committed(world: GroupWorld, groupId: string): Promise<number[]> {
  const topics = [{ name: 'orders', topicId: ORDERS_ID, partitionIndexes: [0, 1, 2] }]
  const { groups } = await world.call(offsetFetch, { groups: [{ groupId, topics }] })
  return groups![0]!.topics[0]!.partitions.map(({ committedOffset }) => committedOffset)
}

/** Brings consumers into a first generation, the first of them as its leader. */
export async function gather(...consumers: Consumer[]): Promise<ResponseOf<typeof joinGroup>[]> {
  const answers: Promise<ResponseOf<typeof joinGroup>>[] = []
  for (const consumer of consumers) {
    answers.push(consumer.join())
    await pass(0) // a member with an instance id needs one message less, and would be first
  }
  await pass(INITIAL)
  return await Promise.all(answers)
}

/** Brings consumers into a first stable generation; the first of them leads, and each is assigned its place in the list. */
export async function settle(...consumers: Consumer[]): Promise<void> {
  await gather(...consumers)
  await Promise.all(consumers.map(consumer => consumer.sync(placesOf(consumers))))
}

export function placesOf(consumers: readonly Consumer[]): Record<string, string> {
  return Object.fromEntries(consumers.map(({ memberId }, i) => [memberId, `place ${i}`]))
}
