// Who is in a group: members, static members by their instance ids, ids that were handed out but not used yet, the leader,
// and the protocol they agree on.
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { Deadline } from './deadline.ts'
import type { Member, Protocol } from './member.ts'

export class Roster {
  readonly #members = new Map<string, Member>()
  readonly #instances = new Map<string, Member>()
  readonly #pending = new Map<string, Deadline>()
  #leader: string | null = null
  #protocolType: string | null = null

  get size(): number {
    return this.#members.size
  }

  /** What kind of group it is or was last, as in "consumer"; null before the first member. */
  get protocolType(): string | null {
    return this.#protocolType
  }

  /** The member that makes the assignment. */
  get leader(): string | null {
    return this.#leader
  }

  get hasPending(): boolean {
    return this.#pending.size > 0
  }

  /** True when every member waits for the next generation and nobody is on the way. */
  get allJoined(): boolean {
    return !this.hasPending && this.every(member => member.awaitsJoin)
  }

  /** The longest time that a member wants to have for rejoining. */
  get rebalanceTimeoutMs(): number {
    return Math.max(0, ...[...this].map(member => member.rebalanceTimeoutMs))
  }

  [Symbol.iterator](): Iterator<Member> {
    return this.#members.values()
  }

  get(memberId: string): Member | undefined {
    return this.#members.get(memberId)
  }

  ofInstance(instanceId: string | null): Member | undefined {
    return instanceId === null ? undefined : this.#instances.get(instanceId)
  }

  every(condition: (member: Member) => boolean): boolean {
    return this.#members.values().every(condition)
  }

  /** The error code for a request that comes in the name of this member: NONE, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID. */
  check(memberId: string, instanceId: string | null): number {
    const owner = this.ofInstance(instanceId)
    if (owner !== undefined && owner.id !== memberId) return KafkaError.FENCED_INSTANCE_ID
    if (instanceId !== null && owner === undefined) return KafkaError.UNKNOWN_MEMBER_ID
    return this.#members.has(memberId) ? KafkaError.NONE : KafkaError.UNKNOWN_MEMBER_ID
  }

  /** Hands out an id (KIP-394); whoever does not come back with it in time is forgotten. */
  expect(memberId: string, timeoutMs: number, expired: () => void): void {
    const deadline = new Deadline()
    deadline.set(timeoutMs, expired)
    this.#pending.set(memberId, deadline)
  }

  isPending(memberId: string): boolean {
    return this.#pending.has(memberId)
  }

  /** Forgets an id that was handed out. */
  forget(memberId: string): void {
    this.#pending.get(memberId)?.cancel()
    this.#pending.delete(memberId)
  }

  add(member: Member, protocolType: string): void {
    this.forget(member.id)
    if (this.size === 0) this.#protocolType = protocolType
    this.#leader ??= member.id
    this.#members.set(member.id, member)
    if (member.instanceId !== null) this.#instances.set(member.instanceId, member)
  }

  /** Takes a member out, and ends what waits for it with UNKNOWN_MEMBER_ID, on which a client that is alive joins again. */
  remove(member: Member): void {
    this.#members.delete(member.id)
    if (member.instanceId !== null) this.#instances.delete(member.instanceId)
    if (this.#leader === member.id) this.#leader = this.#members.keys().next().value ?? null
    member.dismiss(KafkaError.UNKNOWN_MEMBER_ID)
  }

  /** A static member came back under a new id: it takes the old one's place and assignment, and the old one is fenced. */
  replace(old: Member, member: Member): void {
    this.#members.delete(old.id)
    this.#members.set(member.id, member)
    this.#instances.set(member.instanceId!, member)
    if (this.#leader === old.id) this.#leader = member.id
    member.assignment = old.assignment
    old.dismiss(KafkaError.FENCED_INSTANCE_ID)
  }

  /** Sees to it that the leader is one that waits for the next generation. False where nobody does. */
  electLeader(): boolean {
    if (this.#leader !== null && this.get(this.#leader)?.awaitsJoin) return true
    const waiting = this.#members.values().find(member => member.awaitsJoin)
    if (waiting === undefined) return false
    this.#leader = waiting.id
    return true
  }

  /** True when someone with these protocols can work with all who are there. */
  accepts(protocolType: string, protocols: readonly Protocol[]): boolean {
    if (this.size === 0) return protocolType !== '' && protocols.length > 0
    return (
      protocolType === this.#protocolType && protocols.some(({ name }) => this.every(other => other.supports(name)))
    )
  }

  /** The protocol with the most votes among those that all support. Each member votes for the one it likes best. */
  selectProtocol(): string {
    const votes = new Map<string, number>()
    for (const member of this) {
      const choice = member.protocols.find(({ name }) => this.every(other => other.supports(name)))!.name
      votes.set(choice, (votes.get(choice) ?? 0) + 1)
    }
    return [...votes].reduce((best, next) => (next[1] > best[1] ? next : best))[0]
  }

  /** Ends everything that waits or runs. */
  dismissAll(errorCode: number): void {
    for (const id of [...this.#pending.keys()]) this.forget(id)
    for (const member of this) member.dismiss(errorCode)
    this.#members.clear()
    this.#instances.clear()
    this.#leader = null
  }
}
