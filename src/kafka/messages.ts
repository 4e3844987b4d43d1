// The Kafka messages that Millrace understands, field by field, in wire order.
// Source: clients/src/main/resources/common/message in apache/kafka 4.3.1; a test compares every field with it.
import { api } from './api.ts'
import { array, bool, bytes, inexactInt64, int8, int16, int32, int64, string, struct, uuid } from './wire.ts'

const nodeEndpoints = array(struct({ nodeId: int32, host: string, port: int32, rack: string.nullable }))
const leader = struct({ leaderId: int32, leaderEpoch: int32 })

export const produce = api(
  0,
  'Produce',
  { versions: [3, 13], flexible: 9 },
  {
    transactionalId: string.nullable.since(3),
    acks: int16,
    timeoutMs: int32,
    topicData: array(
      struct({
        name: string.until(12),
        topicId: uuid.since(13),
        partitionData: array(struct({ index: int32, records: bytes.nullable }))
      })
    )
  },
  {
    responses: array(
      struct({
        name: string.until(12),
        topicId: uuid.since(13),
        partitionResponses: array(
          struct({
            index: int32,
            errorCode: int16,
            baseOffset: int64,
            logAppendTimeMs: inexactInt64.since(2).or(-1),
            logStartOffset: int64.since(5).or(-1),
            recordErrors: array(struct({ batchIndex: int32, batchIndexErrorMessage: string.nullable }))
              .since(8)
              .or([]),
            errorMessage: string.nullable.since(8),
            currentLeader: leader.tagged(0, 10)
          })
        )
      })
    ),
    throttleTimeMs: int32.since(1),
    nodeEndpoints: nodeEndpoints.tagged(0, 10)
  }
)

export const fetch = api(
  1,
  'Fetch',
  { versions: [4, 18], flexible: 12 },
  {
    clusterId: string.nullable.tagged(0, 12),
    replicaId: int32.until(14).or(-1),
    replicaState: struct({ replicaId: int32, replicaEpoch: int64 }).tagged(1, 15),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: int32.since(3).or(0x7fffffff),
    isolationLevel: int8.since(4),
    sessionId: int32.since(7),
    sessionEpoch: int32.since(7).or(-1),
    topics: array(
      struct({
        topic: string.until(12),
        topicId: uuid.since(13),
        partitions: array(
          struct({
            partition: int32,
            currentLeaderEpoch: int32.since(9).or(-1),
            fetchOffset: int64,
            lastFetchedEpoch: int32.since(12).or(-1),
            logStartOffset: int64.since(5).or(-1),
            partitionMaxBytes: int32,
            replicaDirectoryId: uuid.tagged(0, 17),
            highWatermark: int64.tagged(1, 18)
          })
        )
      })
    ),
    forgottenTopicsData: array(struct({ topic: string.until(12), topicId: uuid.since(13), partitions: array(int32) }))
      .since(7)
      .or([]),
    rackId: string.since(11).or('')
  },
  {
    throttleTimeMs: int32.since(1),
    errorCode: int16.since(7),
    sessionId: int32.since(7),
    responses: array(
      struct({
        topic: string.until(12),
        topicId: uuid.since(13),
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            highWatermark: int64,
            lastStableOffset: int64.since(4).or(-1),
            logStartOffset: int64.since(5).or(-1),
            divergingEpoch: struct({ epoch: int32, endOffset: int64 }).tagged(0, 12),
            currentLeader: leader.tagged(1, 12),
            snapshotId: struct({ endOffset: int64, epoch: int32 }).tagged(2, 12),
            abortedTransactions: array(struct({ producerId: int64, firstOffset: int64 })).nullable.since(4),
            preferredReadReplica: int32.since(11).or(-1),
            records: bytes.nullable
          })
        )
      })
    ),
    nodeEndpoints: nodeEndpoints.tagged(0, 16)
  }
)

export const listOffsets = api(
  2,
  'ListOffsets',
  { versions: [1, 11], flexible: 6 },
  {
    replicaId: int32.or(-1),
    isolationLevel: int8.since(2),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({ partitionIndex: int32, currentLeaderEpoch: int32.since(4).or(-1), timestamp: int64 })
        )
      })
    ),
    timeoutMs: int32.since(10)
  },
  {
    throttleTimeMs: int32.since(2),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            timestamp: int64.since(1).or(-1),
            offset: int64.since(1).or(-1),
            leaderEpoch: int32.since(4).or(-1)
          })
        )
      })
    )
  }
)

export const metadata = api(
  3,
  'Metadata',
  { versions: [0, 13], flexible: 9 },
  {
    topics: array(struct({ topicId: uuid.since(10), name: string.nullable })).nullable,
    allowAutoTopicCreation: bool.since(4).or(true),
    includeClusterAuthorizedOperations: bool.since(8).until(10),
    includeTopicAuthorizedOperations: bool.since(8)
  },
  {
    throttleTimeMs: int32.since(3),
    brokers: array(struct({ nodeId: int32, host: string, port: int32, rack: string.nullable.since(1) })),
    clusterId: string.nullable.since(2),
    controllerId: int32.since(1).or(-1),
    topics: array(
      struct({
        errorCode: int16,
        name: string.nullable,
        topicId: uuid.since(10),
        isInternal: bool.since(1),
        partitions: array(
          struct({
            errorCode: int16,
            partitionIndex: int32,
            leaderId: int32,
            leaderEpoch: int32.since(7).or(-1),
            replicaNodes: array(int32),
            isrNodes: array(int32),
            offlineReplicas: array(int32).since(5).or([])
          })
        ),
        topicAuthorizedOperations: int32.since(8).or(-2147483648)
      })
    ),
    clusterAuthorizedOperations: int32.since(8).until(10).or(-2147483648),
    errorCode: int16.since(13)
  }
)

export const findCoordinator = api(
  10,
  'FindCoordinator',
  { versions: [0, 6], flexible: 3 },
  {
    key: string.until(3),
    keyType: int8.since(1),
    coordinatorKeys: array(string).since(4)
  },
  {
    throttleTimeMs: int32.since(1),
    errorCode: int16.until(3),
    errorMessage: string.nullable.since(1).until(3),
    nodeId: int32.until(3),
    host: string.until(3),
    port: int32.until(3),
    coordinators: array(
      struct({
        key: string,
        nodeId: int32,
        host: string,
        port: int32,
        errorCode: int16,
        errorMessage: string.nullable
      })
    ).since(4)
  }
)

export const apiVersions = api(
  18,
  'ApiVersions',
  { versions: [0, 4], flexible: 3 },
  {
    clientSoftwareName: string.since(3),
    clientSoftwareVersion: string.since(3)
  },
  {
    errorCode: int16,
    apiKeys: array(struct({ apiKey: int16, minVersion: int16, maxVersion: int16 })),
    throttleTimeMs: int32.since(1),
    supportedFeatures: array(struct({ name: string, minVersion: int16, maxVersion: int16 })).tagged(0, 3),
    finalizedFeaturesEpoch: int64.tagged(1, 3),
    finalizedFeatures: array(struct({ name: string, maxVersionLevel: int16, minVersionLevel: int16 })).tagged(2, 3),
    zkMigrationReady: bool.tagged(3, 3)
  }
)

export const offsetForLeaderEpoch = api(
  23,
  'OffsetForLeaderEpoch',
  { versions: [2, 4], flexible: 4 },
  {
    replicaId: int32.since(3).or(-1),
    topics: array(
      struct({
        topic: string,
        partitions: array(struct({ partition: int32, currentLeaderEpoch: int32.since(2).or(-1), leaderEpoch: int32 }))
      })
    )
  },
  {
    throttleTimeMs: int32.since(2),
    topics: array(
      struct({
        topic: string,
        partitions: array(
          struct({ errorCode: int16, partition: int32, leaderEpoch: int32.since(1).or(-1), endOffset: int64.or(-1) })
        )
      })
    )
  }
)

export const initProducerId = api(
  22,
  'InitProducerId',
  { versions: [0, 5], flexible: 2 },
  {
    transactionalId: string.nullable,
    transactionTimeoutMs: int32,
    producerId: int64.since(3).or(-1),
    producerEpoch: int16.since(3).or(-1)
  },
  {
    throttleTimeMs: int32,
    errorCode: int16,
    producerId: int64,
    producerEpoch: int16
  }
)

export const describeCluster = api(
  60,
  'DescribeCluster',
  { versions: [0, 2], flexible: 0 },
  {
    includeClusterAuthorizedOperations: bool,
    endpointType: int8.since(1).or(1),
    includeFencedBrokers: bool.since(2)
  },
  {
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: string.nullable,
    endpointType: int8.since(1).or(1),
    clusterId: string,
    controllerId: int32.or(-1),
    brokers: array(
      struct({ brokerId: int32, host: string, port: int32, rack: string.nullable, isFenced: bool.since(2) })
    ),
    clusterAuthorizedOperations: int32.or(-2147483648)
  }
)

const acknowledgements = array(struct({ firstOffset: int64, lastOffset: int64, acknowledgeTypes: array(int8) }))

export const shareFetch = api(
  78,
  'ShareFetch',
  { versions: [1, 2], flexible: 0 },
  {
    groupId: string.nullable,
    memberId: string.nullable,
    shareSessionEpoch: int32,
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: int32.or(0x7fffffff),
    maxRecords: int32,
    batchSize: int32,
    shareAcquireMode: int8.since(2),
    isRenewAck: bool.since(2),
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(struct({ partitionIndex: int32, acknowledgementBatches: acknowledgements }))
      })
    ),
    forgottenTopicsData: array(struct({ topicId: uuid, partitions: array(int32) }))
  },
  {
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: string.nullable,
    acquisitionLockTimeoutMs: int32,
    responses: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            partitionIndex: int32,
            errorCode: int16,
            errorMessage: string.nullable,
            acknowledgeErrorCode: int16,
            acknowledgeErrorMessage: string.nullable,
            currentLeader: leader,
            records: bytes,
            acquiredRecords: array(struct({ firstOffset: int64, lastOffset: int64, deliveryCount: int16 }))
          })
        )
      })
    ),
    nodeEndpoints
  }
)

export const shareAcknowledge = api(
  79,
  'ShareAcknowledge',
  { versions: [1, 2], flexible: 0 },
  {
    groupId: string.nullable,
    memberId: string.nullable,
    shareSessionEpoch: int32,
    isRenewAck: bool.since(2),
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(struct({ partitionIndex: int32, acknowledgementBatches: acknowledgements }))
      })
    )
  },
  {
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: string.nullable,
    acquisitionLockTimeoutMs: int32.since(2),
    responses: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({ partitionIndex: int32, errorCode: int16, errorMessage: string.nullable, currentLeader: leader })
        )
      })
    ),
    nodeEndpoints
  }
)
