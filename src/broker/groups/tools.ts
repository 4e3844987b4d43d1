// Handlers of what tools ask: DescribeGroups, ListGroups, DeleteGroups.
import type { ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { deleteGroups, describeGroups, listGroups } from '../../kafka/messages-groups.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { Coordinator } from './coordinator.ts'
import type { Group } from './group.ts'
import { NOTHING } from './member.ts'

type Description = ResponseOf<typeof describeGroups>['groups'][number]

export function toolHandlers(coordinator: Coordinator): Handler[] {
  return [
    handler(describeGroups, async ({ groups }, { version }) => ({
      groups: groups.map(id => {
        const group = coordinator.find(id)
        if (group !== undefined) return describe(group)
        const dead = { groupId: id, groupState: 'Dead', protocolType: '', protocolData: '', members: [] }
        if (version < 6) return { ...dead, errorCode: KafkaError.NONE }
        return { ...dead, errorCode: KafkaError.GROUP_ID_NOT_FOUND, errorMessage: `Group ${id} not found.` }
      })
    })),

    handler(listGroups, async ({ statesFilter = [], typesFilter = [] }) => {
      const states = new Set(statesFilter.map(state => state.trim().toLowerCase()))
      const ofOurType = typesFilter.length === 0 || typesFilter.some(type => type.toLowerCase() === 'classic')
      const listed = coordinator.all().filter(({ state }) => states.size === 0 || states.has(state.toLowerCase()))
      return {
        errorCode: KafkaError.NONE,
        groups: (ofOurType ? listed : []).map(({ id, state, roster }) => ({
          groupId: id,
          protocolType: roster.protocolType ?? '',
          groupState: state,
          groupType: 'classic'
        }))
      }
    }),

    handler(deleteGroups, async ({ groupsNames }) => {
      const results = groupsNames.map(async groupId => ({
        groupId,
        errorCode: await deleteGroup(coordinator, groupId)
      }))
      return { results: await Promise.all(results) }
    })
  ]
}

function describe(group: Group): Description {
  const { id, state, roster, protocol } = group
  const stable = state === 'Stable' // before that the protocol may change
  return {
    errorCode: KafkaError.NONE,
    groupId: id,
    groupState: state,
    protocolType: roster.protocolType ?? '',
    protocolData: stable ? (protocol ?? '') : '',
    members: [...roster].map(member => ({
      memberId: member.id,
      groupInstanceId: member.instanceId,
      ...member.client,
      memberMetadata: stable ? member.metadata(protocol) : NOTHING,
      memberAssignment: member.assignment
    }))
  }
}

async function deleteGroup(coordinator: Coordinator, id: string): Promise<number> {
  const group = coordinator.find(id)
  if (group === undefined) return KafkaError.GROUP_ID_NOT_FOUND
  if (group.state !== 'Empty') return KafkaError.NON_EMPTY_GROUP
  coordinator.remove(group)
  await coordinator.offsets.removeGroup(coordinator.scope, id)
  return KafkaError.NONE
}
