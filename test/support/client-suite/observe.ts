// A group as its coordinator describes it, and as its members read.
import kafkajs from 'kafkajs'
import { expect } from 'vitest'
import type { Member, ReadRecord } from '../clients/client.ts'
import { send, withAdmin } from '../topics.ts'
import { until } from '../until.ts'

const { AssignerProtocol } = kafkajs

export interface GroupView {
  state: string
  /** By client id. */
  members: Record<string, { memberId: string; partitions: number[] }>
}

export async function groupView(bootstrap: string, group: string): Promise<GroupView> {
  const { groups } = await withAdmin(bootstrap, admin => admin.describeGroups([group]))
  const { state, members } = groups[0]!
  const rows = members.map(({ clientId, memberId, memberAssignment }) => {
    const assignment = memberAssignment.length > 0 ? AssignerProtocol.MemberAssignment.decode(memberAssignment) : null
    const partitions = Object.values(assignment?.assignment ?? {}).flat()
    return [clientId, { memberId, partitions: partitions.sort((a, b) => a - b) }] as const
  })
  return { state, members: Object.fromEntries(rows) }
}

/** Waits until the group is stable and each client has as many partitions as given: the view then. */
export async function settled(bootstrap: string, group: string, counts: Record<string, number>): Promise<GroupView> {
  let last: GroupView | undefined
  const isSettled = async () => {
    last = await groupView(bootstrap, group)
    const held = Object.entries(last.members).map(([clientId, { partitions }]) => [clientId, partitions.length])
    const wanted = Object.keys(counts).length === 0 ? 'Empty' : 'Stable'
    expect(last.state).toBe(wanted)
    expect(Object.fromEntries(held)).toEqual(counts)
    return last
  }
  return await until(isSettled, { what: `the group has ${JSON.stringify(counts)}`, timeout: 30_000, interval: 100 })
}

/** Sends `count` values to each of the partitions, and gives them. */
export async function sendToEach(bootstrap: string, topic: string, partitions: number, name: string, count = 5) {
  const sent: string[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const values = Array.from({ length: count }, (_, i) => `${name} ${partition} ${i}`)
    await send(bootstrap, topic, [values.map(value => ({ value }))], { partition })
    sent.push(...values)
  }
  return sent
}

/** Waits until the members together have exactly these values, none of them twice. */
export async function haveRead(members: readonly Member[], values: readonly string[]): Promise<void> {
  const all = () => members.flatMap(({ records }) => records)
  await until(() => all().length >= values.length, { what: `${values.length} records are read`, timeout: 20_000 })
  expect(all().map(valueIn).sort()).toEqual([...values].sort())
}

const valueIn = ({ value }: ReadRecord): string | null => value

/** The committed offsets of a topic, by partition. */
export async function committed(bootstrap: string, group: string, topic: string): Promise<number[]> {
  const found = await withAdmin(bootstrap, admin => admin.fetchOffsets({ groupId: group, topics: [topic] }))
  const { partitions } = found[0]!
  return partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset))
}
