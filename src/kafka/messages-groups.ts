// The Kafka messages of consumer groups: membership, committed offsets, and what tools ask of groups.
// Source: clients/src/main/resources/common/message in apache/kafka 4.3.1; a test compares every field with it.
import { api } from './api.ts'
import { array, bool, bytes, int16, int32, int64, string, struct, uuid } from './wire.ts'

export const offsetCommit = api(
  8,
  'OffsetCommit',
  { versions: [2, 10], flexible: 8 },
  {
    groupId: string,
    generationIdOrMemberEpoch: int32.since(1).or(-1),
    memberId: string.since(1),
    groupInstanceId: string.nullable.since(7),
    retentionTimeMs: int64.since(2).until(4).or(-1),
    topics: array(
      struct({
        name: string.until(9),
        topicId: uuid.since(10),
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: int64,
            committedLeaderEpoch: int32.since(6).or(-1),
            committedMetadata: string.nullable
          })
        )
      })
    )
  },
  {
    throttleTimeMs: int32.since(3),
    topics: array(
      struct({
        name: string.until(9),
        topicId: uuid.since(10),
        partitions: array(struct({ partitionIndex: int32, errorCode: int16 }))
      })
    )
  }
)

export const offsetFetch = api(
  9,
  'OffsetFetch',
  { versions: [1, 10], flexible: 6 },
  {
    groupId: string.until(7),
    topics: array(struct({ name: string, partitionIndexes: array(int32) })).nullable.until(7),
    groups: array(
      struct({
        groupId: string,
        memberId: string.nullable.since(9),
        memberEpoch: int32.since(9).or(-1),
        topics: array(struct({ name: string.until(9), topicId: uuid.since(10), partitionIndexes: array(int32) }))
          .nullable
      })
    ).since(8),
    requireStable: bool.since(7)
  },
  {
    throttleTimeMs: int32.since(3),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            committedOffset: int64,
            committedLeaderEpoch: int32.since(5).or(-1),
            metadata: string.nullable,
            errorCode: int16
          })
        )
      })
    ).until(7),
    errorCode: int16.since(2).until(7),
    groups: array(
      struct({
        groupId: string,
        topics: array(
          struct({
            name: string.until(9),
            topicId: uuid.since(10),
            partitions: array(
              struct({
                partitionIndex: int32,
                committedOffset: int64,
                committedLeaderEpoch: int32.or(-1),
                metadata: string.nullable,
                errorCode: int16
              })
            )
          })
        ),
        errorCode: int16
      })
    ).since(8)
  }
)

export const joinGroup = api(
  11,
  'JoinGroup',
  { versions: [0, 9], flexible: 6 },
  {
    groupId: string,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: int32.since(1).or(-1),
    memberId: string,
    groupInstanceId: string.nullable.since(5),
    protocolType: string,
    protocols: array(struct({ name: string, metadata: bytes })),
    reason: string.nullable.since(8)
  },
  {
    throttleTimeMs: int32.since(2),
    errorCode: int16,
    generationId: int32.or(-1),
    protocolType: string.nullable.since(7),
    protocolName: string.nullable,
    leader: string,
    skipAssignment: bool.since(9),
    memberId: string,
    members: array(struct({ memberId: string, groupInstanceId: string.nullable.since(5), metadata: bytes }))
  }
)

export const heartbeat = api(
  12,
  'Heartbeat',
  { versions: [0, 4], flexible: 4 },
  {
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: string.nullable.since(3)
  },
  {
    throttleTimeMs: int32.since(1),
    errorCode: int16
  }
)

export const leaveGroup = api(
  13,
  'LeaveGroup',
  { versions: [0, 5], flexible: 4 },
  {
    groupId: string,
    memberId: string.until(2),
    members: array(
      struct({ memberId: string, groupInstanceId: string.nullable, reason: string.nullable.since(5) })
    ).since(3)
  },
  {
    throttleTimeMs: int32.since(1),
    errorCode: int16,
    members: array(struct({ memberId: string, groupInstanceId: string.nullable, errorCode: int16 })).since(3)
  }
)

export const syncGroup = api(
  14,
  'SyncGroup',
  { versions: [0, 5], flexible: 4 },
  {
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: string.nullable.since(3),
    protocolType: string.nullable.since(5),
    protocolName: string.nullable.since(5),
    assignments: array(struct({ memberId: string, assignment: bytes }))
  },
  {
    throttleTimeMs: int32.since(1),
    errorCode: int16,
    protocolType: string.nullable.since(5),
    protocolName: string.nullable.since(5),
    assignment: bytes
  }
)

export const describeGroups = api(
  15,
  'DescribeGroups',
  { versions: [0, 6], flexible: 5 },
  {
    groups: array(string),
    includeAuthorizedOperations: bool.since(3)
  },
  {
    throttleTimeMs: int32.since(1),
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: string.nullable.since(6),
        groupId: string,
        groupState: string,
        protocolType: string,
        protocolData: string,
        members: array(
          struct({
            memberId: string,
            groupInstanceId: string.nullable.since(4),
            clientId: string,
            clientHost: string,
            memberMetadata: bytes,
            memberAssignment: bytes
          })
        ),
        authorizedOperations: int32.since(3).or(-2147483648)
      })
    )
  }
)

export const listGroups = api(
  16,
  'ListGroups',
  { versions: [0, 5], flexible: 3 },
  {
    statesFilter: array(string).since(4),
    typesFilter: array(string).since(5)
  },
  {
    throttleTimeMs: int32.since(1),
    errorCode: int16,
    groups: array(
      struct({ groupId: string, protocolType: string, groupState: string.since(4), groupType: string.since(5) })
    )
  }
)

export const deleteGroups = api(
  42,
  'DeleteGroups',
  { versions: [0, 2], flexible: 2 },
  { groupsNames: array(string) },
  {
    throttleTimeMs: int32.or(0),
    results: array(struct({ groupId: string, errorCode: int16 }))
  }
)

export const offsetDelete = api(
  47,
  'OffsetDelete',
  { versions: [0, 0], flexible: Number.POSITIVE_INFINITY },
  {
    groupId: string,
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32 })) }))
  },
  {
    errorCode: int16,
    throttleTimeMs: int32.or(0),
    topics: array(struct({ name: string, partitions: array(struct({ partitionIndex: int32, errorCode: int16 })) }))
  }
)
