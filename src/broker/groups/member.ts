// One member of a group: what it said of itself when it joined, what it was assigned, and the answers it waits for.
import type { RequestOf, ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import type { joinGroup, syncGroup } from '../../kafka/messages-groups.ts'
import { Deadline } from './deadline.ts'

export type JoinRequest = RequestOf<typeof joinGroup>
export type JoinAnswer = ResponseOf<typeof joinGroup>
export type SyncRequest = RequestOf<typeof syncGroup>
export type SyncAnswer = ResponseOf<typeof syncGroup>
export type Protocol = JoinRequest['protocols'][number]

/** Who sends a request, as far as a group cares. */
export interface Client {
  readonly clientId: string
  readonly clientHost: string
}

export const NOTHING = Buffer.alloc(0)

export class Member {
  readonly id: string
  /** Set for a static member (KIP-345). */
  readonly instanceId: string | null
  readonly client: Client
  sessionTimeoutMs = 0
  rebalanceTimeoutMs = 0
  /** What it could work with, the one it likes best first. */
  protocols: readonly Protocol[] = []
  assignment: Buffer = NOTHING
  /** True until the first generation that it is part of: it cannot have sent a heartbeat yet. */
  isNew = true
  /** Runs out when nothing is heard of the member. */
  readonly session = new Deadline()
  #join: ((answer: JoinAnswer) => void) | undefined
  #sync: ((answer: SyncAnswer) => void) | undefined

  constructor(id: string, request: JoinRequest, client: Client) {
    this.id = id
    this.instanceId = request.groupInstanceId ?? null
    this.client = client
    this.update(request)
  }

  /** Takes over what a later JoinGroup says. */
  update(request: JoinRequest): void {
    this.sessionTimeoutMs = request.sessionTimeoutMs
    this.rebalanceTimeoutMs = request.rebalanceTimeoutMs ?? request.sessionTimeoutMs // version 0 has only the one
    this.protocols = request.protocols
  }

  get awaitsJoin(): boolean {
    return this.#join !== undefined
  }

  get awaitsSync(): boolean {
    return this.#sync !== undefined
  }

  /** The answer to its JoinGroup, once there is one. A JoinGroup that it sent before and that still waits is taken back. */
  awaitJoin(): Promise<JoinAnswer> {
    this.answerJoin(joinRefused(KafkaError.UNKNOWN_MEMBER_ID, this.id))
    const { promise, resolve } = Promise.withResolvers<JoinAnswer>()
    this.#join = resolve
    return promise
  }

  awaitSync(): Promise<SyncAnswer> {
    this.answerSync(syncRefused(KafkaError.UNKNOWN_MEMBER_ID))
    const { promise, resolve } = Promise.withResolvers<SyncAnswer>()
    this.#sync = resolve
    return promise
  }

  answerJoin(answer: JoinAnswer): void {
    this.#join?.(answer)
    this.#join = undefined
  }

  answerSync(answer: SyncAnswer): void {
    this.#sync?.(answer)
    this.#sync = undefined
  }

  /** Ends what waits for this member, with an error. */
  dismiss(errorCode: number): void {
    this.session.cancel()
    this.answerJoin(joinRefused(errorCode, ''))
    this.answerSync(syncRefused(errorCode))
  }

  /** Its metadata for a protocol; empty where it does not know the protocol. */
  metadata(protocol: string | null): Buffer {
    return this.protocols.find(({ name }) => name === protocol)?.metadata ?? NOTHING
  }

  supports(protocol: string): boolean {
    return this.protocols.some(({ name }) => name === protocol)
  }

  /** True when these are the protocols it had before, byte for byte. */
  matches(protocols: readonly Protocol[]): boolean {
    return (
      protocols.length === this.protocols.length &&
      protocols.every(({ name, metadata }, i) => {
        const own = this.protocols[i]!
        return name === own.name && metadata.equals(own.metadata)
      })
    )
  }
}

export function joinRefused(errorCode: number, memberId: string): JoinAnswer {
  return { errorCode, protocolName: null, leader: '', memberId, members: [] }
}

export function syncRefused(errorCode: number): SyncAnswer {
  return { errorCode, assignment: NOTHING }
}
