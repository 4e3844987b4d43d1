// The generations of a group: when one begins, who is in it, and what its members are told. A rebalance has two phases: all
// join again, then the leader's assignment is handed out. Source: ClassicGroup and GroupMetadataManager in
// org.apache.kafka.coordinator.group.
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { Deadline } from './deadline.ts'
import type { JoinAnswer, Member, SyncAnswer } from './member.ts'
import { NOTHING, syncRefused } from './member.ts'
import { Roster } from './roster.ts'

/** `Dead` is a group that was removed, or never was. */
export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead'

/**
 * How long an empty group waits for more members, from the first one's JoinGroup on, and again if someone joined meanwhile.
 * Kafka's default is 3 s, and its own quick start sets 0. Consumers that one program starts together come within this time,
 * and nobody who waits for a single one notices it.
 */
export const INITIAL_DELAY_MS = 200

export class Generations {
  readonly roster = new Roster()
  #state: GroupState = 'Empty'
  #number = 0
  #protocol: string | null = null
  /** This rebalance began with an empty group, so it takes its time even if all have joined. */
  #initial = false
  #newcomer = false
  /** Members that have not yet asked for their assignment of this generation. */
  readonly #unsynced = new Set<Member>()
  readonly #joinPhase = new Deadline()
  readonly #syncPhase = new Deadline()

  get state(): GroupState {
    return this.#state
  }

  /** Counts up from 0, which is no generation. */
  get number(): number {
    return this.#number
  }

  /** What the members of this generation agreed on, as in "range"; null before the first, and in an empty group. */
  get protocol(): string | null {
    return this.#protocol
  }

  /** Adds a member that waits for the next generation, which it may be the reason for. */
  enter(member: Member, protocolType: string): void {
    this.roster.add(member, protocolType)
    this.#newcomer = true
  }

  /** Takes a member out; a rebalance is for the caller to start. */
  remove(member: Member): void {
    this.roster.remove(member)
    this.#unsynced.delete(member)
  }

  /** Puts a static member in the place of the one that it was. */
  replace(old: Member, member: Member): void {
    this.roster.replace(old, member)
    if (this.#unsynced.delete(old)) this.#unsynced.add(member)
    member.isNew = false
  }

  /** A sign of life. */
  heard(member: Member): void {
    member.session.set(member.sessionTimeoutMs, () => this.expire(member))
  }

  /** Nothing was heard of a member for its time. */
  expire(member: Member): void {
    // Who waits for the others is not silent; its session begins when the answer is out.
    if (!member.isNew && (member.awaitsJoin || member.awaitsSync)) return
    this.remove(member)
    this.rebalance()
  }

  /** Takes note that a member has asked for its assignment. */
  synced(member: Member): void {
    this.#unsynced.delete(member)
    if (this.#unsynced.size === 0) this.#syncPhase.cancel()
  }

  /** Someone came, left or has something new to say: all have to join again, unless they are at it. */
  rebalance(): void {
    if (this.#state === 'PreparingRebalance') this.completeIfAllJoined()
    else this.#prepare()
  }

  #prepare(): void {
    if (this.#state === 'CompletingRebalance') {
      for (const member of this.roster) member.assignment = NOTHING
      this.#answerSyncs(() => syncRefused(KafkaError.REBALANCE_IN_PROGRESS))
    }
    this.#unsynced.clear()
    this.#syncPhase.cancel()

    this.#initial = this.#state === 'Empty'
    this.#state = 'PreparingRebalance'
    if (this.#initial) this.#awaitMore(this.roster.rebalanceTimeoutMs)
    else if (this.roster.allJoined) this.#completeJoin()
    else this.#joinPhase.set(this.roster.rebalanceTimeoutMs, () => this.#completeJoin())
  }

  /** Waits for the first members, for `leftMs` milliseconds at most. */
  #awaitMore(leftMs: number): void {
    const delay = Math.min(INITIAL_DELAY_MS, leftMs)
    this.#newcomer = false
    this.#joinPhase.set(delay, () => {
      if (this.#newcomer && leftMs > delay) this.#awaitMore(leftMs - delay)
      else this.#completeJoin()
    })
  }

  /** Ends the first phase if there is nobody left to wait for. */
  completeIfAllJoined(): void {
    if (this.#state === 'PreparingRebalance' && !this.#initial && this.roster.allJoined) this.#completeJoin()
  }

  /** The next generation begins, without the members that have not joined again; static ones have until their session ends. */
  #completeJoin(): void {
    this.#joinPhase.cancel()
    for (const member of [...this.roster]) {
      if (!member.awaitsJoin && member.instanceId === null) this.remove(member)
    }
    if (this.roster.size > 0 && !this.roster.electLeader()) {
      this.#joinPhase.set(this.roster.rebalanceTimeoutMs, () => this.#completeJoin())
      return
    }

    this.#number += 1
    if (this.roster.size === 0) {
      this.#state = 'Empty'
      this.#protocol = null
      return
    }
    this.#state = 'CompletingRebalance'
    this.#protocol = this.roster.selectProtocol()
    for (const member of this.roster) {
      this.#unsynced.add(member)
      member.isNew = false
      this.heard(member)
      member.answerJoin(this.generationFor(member))
    }
    this.#syncPhase.set(this.roster.rebalanceTimeoutMs, () => this.#dropUnsynced())
  }

  /** Whoever has not asked for its assignment by now is taken for lost. */
  #dropUnsynced(): void {
    for (const member of [...this.#unsynced]) this.remove(member)
    this.#prepare()
  }

  /** The leader's decision; who is not in it gets nothing. */
  assign(assignments: ReadonlyMap<string, Buffer>): void {
    for (const member of this.roster) member.assignment = assignments.get(member.id) ?? NOTHING
    this.#state = 'Stable'
    this.#answerSyncs(member => this.assignmentOf(member))
  }

  #answerSyncs(answer: (member: Member) => SyncAnswer): void {
    for (const member of this.roster) {
      if (!member.awaitsSync) continue
      this.heard(member)
      member.answerSync(answer(member))
    }
  }

  /** The answer to a JoinGroup, as of this generation. */
  generationFor(member: Member): JoinAnswer {
    const { leader, protocolType } = this.roster
    const describe = (other: Member) => ({
      memberId: other.id,
      groupInstanceId: other.instanceId,
      metadata: other.metadata(this.#protocol)
    })
    return {
      errorCode: KafkaError.NONE,
      generationId: this.#number,
      protocolType,
      protocolName: this.#protocol,
      leader: leader ?? '',
      memberId: member.id,
      members: leader === member.id ? [...this.roster].map(describe) : []
    }
  }

  /** The answer to a SyncGroup, as of this generation. */
  assignmentOf(member: Member): SyncAnswer {
    const { protocolType } = this.roster
    return { errorCode: KafkaError.NONE, protocolType, protocolName: this.#protocol, assignment: member.assignment }
  }

  /** Ends all timers, and all requests that wait, with COORDINATOR_NOT_AVAILABLE. */
  close(): void {
    this.#joinPhase.cancel()
    this.#syncPhase.cancel()
    this.#unsynced.clear()
    this.#state = 'Dead'
    this.roster.dismissAll(KafkaError.COORDINATOR_NOT_AVAILABLE)
  }
}
