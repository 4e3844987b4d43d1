// One group, and what each request of the classic protocol does in it. Source: ClassicGroup and GroupMetadataManager in
// org.apache.kafka.coordinator.group. Requests take effect at once; what takes its time are the answers to some of them.
import { randomUUID } from 'node:crypto'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import type { GroupState } from './generations.ts'
import { Generations } from './generations.ts'
import type { Client, JoinAnswer, JoinRequest, SyncAnswer, SyncRequest } from './member.ts'
import { joinRefused, Member, syncRefused } from './member.ts'
import type { Roster } from './roster.ts'

/** A member that joins for the first time cannot send heartbeats yet; this is how long it may wait (as in Kafka). */
export const NEW_MEMBER_MS = 5 * 60_000

export interface JoinOptions {
  /** A member without an id is given one and has to join again with it (KIP-394): from JoinGroup 4 on. */
  readonly memberIdRequired: boolean
  /** The client understands `skipAssignment` (KIP-814): from JoinGroup 9 on. */
  readonly canSkipAssignment: boolean
}

export class Group {
  readonly id: string
  readonly #generations = new Generations()

  constructor(id: string) {
    this.id = id
  }

  get roster(): Roster {
    return this.#generations.roster
  }

  get state(): GroupState {
    return this.#generations.state
  }

  /** What the members agreed on, as in "range"; null before the first generation, and in an empty group. */
  get protocol(): string | null {
    return this.#generations.protocol
  }

  /** True when nobody is there or on the way. */
  get isIdle(): boolean {
    return this.state === 'Empty' && !this.roster.hasPending
  }

  /** Takes somebody in, or takes note of what a member has to say. */
  join(request: JoinRequest, client: Client, options: JoinOptions): Promise<JoinAnswer> {
    const { memberId, groupInstanceId = null, protocolType, protocols } = request
    const refuse = async (errorCode: number) => joinRefused(errorCode, memberId)

    if (!this.roster.accepts(protocolType, protocols)) return refuse(KafkaError.INCONSISTENT_GROUP_PROTOCOL)
    if (memberId === '') return this.#joinNew(request, client, options)
    if (groupInstanceId === null && this.roster.isPending(memberId)) return this.#enter(memberId, request, client)
    const error = this.roster.check(memberId, groupInstanceId)
    return error !== KafkaError.NONE ? refuse(error) : this.#rejoin(this.roster.get(memberId)!, request)
  }

  async #joinNew(request: JoinRequest, client: Client, options: JoinOptions): Promise<JoinAnswer> {
    const { groupInstanceId = null, sessionTimeoutMs } = request
    const id = `${groupInstanceId ?? client.clientId}-${randomUUID()}`
    const old = this.roster.ofInstance(groupInstanceId)
    if (old !== undefined) return await this.#replace(old, new Member(id, request, client), options)
    if (groupInstanceId !== null || !options.memberIdRequired) return await this.#enter(id, request, client)

    this.roster.expect(id, sessionTimeoutMs, () => {
      this.roster.forget(id)
      this.#generations.completeIfAllJoined()
    })
    return joinRefused(KafkaError.MEMBER_ID_REQUIRED, id)
  }

  #enter(id: string, request: JoinRequest, client: Client): Promise<JoinAnswer> {
    const member = new Member(id, request, client)
    const answer = member.awaitJoin()
    this.#generations.enter(member, request.protocolType)
    member.session.set(NEW_MEMBER_MS, () => this.#generations.expire(member))
    this.#generations.rebalance()
    return answer
  }

  /** A member joins again: with something new to say it starts a rebalance, else it is told what it may have missed. */
  async #rejoin(member: Member, request: JoinRequest): Promise<JoinAnswer> {
    const same = member.matches(request.protocols)
    const missed = this.state === 'CompletingRebalance' && same
    // A leader says by joining that the assignment has to be made anew: it saw that topics have changed, for example.
    const nothingNew = this.state === 'Stable' && same && this.roster.leader !== member.id
    if (missed || nothingNew) return this.#generations.generationFor(member)

    member.update(request)
    const answer = member.awaitJoin()
    this.#generations.rebalance()
    return await answer
  }

  /** A static member comes back without its id. In a stable group it takes up its old assignment, without a rebalance. */
  async #replace(old: Member, member: Member, { canSkipAssignment }: JoinOptions): Promise<JoinAnswer> {
    const formerLeader = this.roster.leader
    this.#generations.replace(old, member)
    this.#generations.heard(member)

    if (this.state === 'Stable' && this.roster.selectProtocol() === this.protocol) {
      const generation = this.#generations.generationFor(member)
      if (canSkipAssignment) return { ...generation, skipAssignment: this.roster.leader === member.id }
      // An older client would assign anew if it were told that it leads: it is told of the leader that was, and follows.
      return { ...generation, leader: formerLeader ?? '', members: [] }
    }
    const answer = member.awaitJoin()
    this.#generations.rebalance()
    return await answer
  }

  /** Gives a member its assignment, which the leader brings with the same request. */
  sync(request: SyncRequest): Promise<SyncAnswer> {
    const { memberId, groupInstanceId = null, generationId, protocolType, protocolName, assignments } = request
    const refuse = async (errorCode: number) => syncRefused(errorCode)

    const error = this.#check(memberId, groupInstanceId, generationId)
    if (error !== KafkaError.NONE) return refuse(error)
    if (differs(protocolType, this.roster.protocolType) || differs(protocolName, this.protocol)) {
      return refuse(KafkaError.INCONSISTENT_GROUP_PROTOCOL)
    }
    if (this.state === 'PreparingRebalance') return refuse(KafkaError.REBALANCE_IN_PROGRESS)

    const member = this.roster.get(memberId)!
    this.#generations.synced(member)
    if (this.state === 'Stable') return Promise.resolve(this.#generations.assignmentOf(member))

    const answer = member.awaitSync()
    if (this.roster.leader === memberId) {
      this.#generations.assign(new Map(assignments.map(given => [given.memberId, given.assignment])))
    }
    return answer
  }

  /** The error code of a heartbeat. */
  heartbeat(memberId: string, instanceId: string | null, generation: number): number {
    const error = this.#check(memberId, instanceId, generation)
    if (error !== KafkaError.NONE) return error
    this.#generations.heard(this.roster.get(memberId)!)
    return this.state === 'PreparingRebalance' ? KafkaError.REBALANCE_IN_PROGRESS : KafkaError.NONE
  }

  /** The error codes of members that leave, in order. With an empty member id it is an administrator, for a static member. */
  leave(leaving: readonly { memberId: string; groupInstanceId?: string | null }[]): number[] {
    const before = this.roster.size
    const codes = leaving.map(({ memberId, groupInstanceId = null }) => this.#leave(memberId, groupInstanceId))
    if (this.roster.size < before) this.#generations.rebalance()
    else this.#generations.completeIfAllJoined()
    return codes
  }

  #leave(memberId: string, instanceId: string | null): number {
    if (this.roster.isPending(memberId)) {
      this.roster.forget(memberId)
      return KafkaError.NONE
    }
    const id = memberId === '' ? (this.roster.ofInstance(instanceId)?.id ?? '') : memberId
    const error = this.roster.check(id, instanceId)
    if (error === KafkaError.NONE) this.#generations.remove(this.roster.get(id)!)
    return error
  }

  /** The error code of an OffsetCommit; one that is accepted is a sign of life. */
  commit(memberId: string, instanceId: string | null, generation: number): number {
    // Somebody who assigns partitions by hand, or a tool: only while no member is there.
    if (generation < 0 && this.state === 'Empty') return KafkaError.NONE
    const error = this.#check(memberId, instanceId, generation)
    if (error !== KafkaError.NONE) return error
    if (this.state === 'CompletingRebalance') return KafkaError.REBALANCE_IN_PROGRESS
    this.#generations.heard(this.roster.get(memberId)!)
    return KafkaError.NONE
  }

  /** Ends all timers, and all requests that wait, with COORDINATOR_NOT_AVAILABLE. */
  close(): void {
    this.#generations.close()
  }

  #check(memberId: string, instanceId: string | null, generation: number): number {
    const error = this.roster.check(memberId, instanceId)
    if (error !== KafkaError.NONE) return error
    return generation === this.#generations.number ? KafkaError.NONE : KafkaError.ILLEGAL_GENERATION
  }
}

function differs(claimed: string | null | undefined, actual: string | null): boolean {
  return claimed != null && actual !== null && claimed !== actual
}
