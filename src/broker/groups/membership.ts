// Handlers of what members send: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { heartbeat, joinGroup, leaveGroup, syncGroup } from '../../kafka/messages-groups.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { Coordinator } from './coordinator.ts'
import { joinRefused, syncRefused } from './member.ts'

/** As in Kafka: group.min.session.timeout.ms and group.max.session.timeout.ms. */
const MIN_SESSION_MS = 6_000
const MAX_SESSION_MS = 30 * 60_000

export function membershipHandlers(coordinator: Coordinator): Handler[] {
  return [
    handler(joinGroup, async (request, { version, clientId, clientHost, signal }) => {
      const { groupId, memberId, sessionTimeoutMs } = request
      const join = () => {
        if (groupId === '') return joinRefused(KafkaError.INVALID_GROUP_ID, memberId)
        if (sessionTimeoutMs < MIN_SESSION_MS || sessionTimeoutMs > MAX_SESSION_MS) {
          return joinRefused(KafkaError.INVALID_SESSION_TIMEOUT, memberId)
        }
        const group = memberId === '' ? coordinator.findOrCreate(groupId) : coordinator.find(groupId)
        const options = { memberIdRequired: version >= 4, canSkipAssignment: version >= 9 }
        return group?.join(request, { clientId, clientHost }, options)
      }
      const answer = await unlessAborted(join() ?? joinRefused(KafkaError.UNKNOWN_MEMBER_ID, memberId), signal)
      // A null name is for clients from version 7 on.
      return version < 7 && answer?.protocolName === null ? { ...answer, protocolName: '' } : answer
    }),

    handler(syncGroup, async (request, { version, signal }) => {
      if (request.groupId === '') return syncRefused(KafkaError.INVALID_GROUP_ID)
      if (version >= 5 && (request.protocolType === null || request.protocolName === null)) {
        return syncRefused(KafkaError.INCONSISTENT_GROUP_PROTOCOL)
      }
      const answer = coordinator.find(request.groupId)?.sync(request)
      return await unlessAborted(answer ?? syncRefused(KafkaError.UNKNOWN_MEMBER_ID), signal)
    }),

    handler(heartbeat, async ({ groupId, memberId, groupInstanceId = null, generationId }) => {
      if (groupId === '') return { errorCode: KafkaError.INVALID_GROUP_ID }
      const errorCode = coordinator.find(groupId)?.heartbeat(memberId, groupInstanceId, generationId)
      return { errorCode: errorCode ?? KafkaError.UNKNOWN_MEMBER_ID }
    }),

    handler(leaveGroup, async ({ groupId, memberId = '', members }) => {
      if (groupId === '') return { errorCode: KafkaError.INVALID_GROUP_ID, members: [] }
      const leaving = members ?? [{ memberId, groupInstanceId: null }]
      const codes = coordinator.find(groupId)?.leave(leaving) ?? leaving.map(() => KafkaError.UNKNOWN_MEMBER_ID)
      return {
        errorCode: members === undefined ? codes[0]! : KafkaError.NONE, // before version 3 a single one left
        members: leaving.map((member, i) => ({ ...member, errorCode: codes[i]! }))
      }
    })
  ]
}

/** The answer, or null once nobody waits for it: its sender is gone, though it stays a member until its session ends. */
async function unlessAborted<T>(answer: T | Promise<T>, signal: AbortSignal): Promise<T | null> {
  const aborted = Promise.withResolvers<null>()
  const abort = () => aborted.resolve(null)
  signal.addEventListener('abort', abort)
  if (signal.aborted) abort()
  try {
    return await Promise.race([answer, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
