// The Kafka messages by which topics are made, grown, deleted and described, field by field, in wire order.
// Source: clients/src/main/resources/common/message in apache/kafka 4.3.1; a test compares every field with it.
import { api } from './api.ts'
import { array, bool, int8, int16, int32, string, struct, uuid } from './wire.ts'

export const createTopics = api(
  19,
  'CreateTopics',
  { versions: [2, 7], flexible: 5 },
  {
    topics: array(
      struct({
        name: string,
        numPartitions: int32,
        replicationFactor: int16,
        assignments: array(struct({ partitionIndex: int32, brokerIds: array(int32) })),
        configs: array(struct({ name: string, value: string.nullable }))
      })
    ),
    timeoutMs: int32.or(60000),
    validateOnly: bool.since(1).or(false)
  },
  {
    throttleTimeMs: int32.since(2),
    topics: array(
      struct({
        name: string,
        topicId: uuid.since(7),
        errorCode: int16,
        errorMessage: string.nullable.since(1),
        topicConfigErrorCode: int16.tagged(0, 5),
        numPartitions: int32.since(5).or(-1),
        replicationFactor: int16.since(5).or(-1),
        configs: array(
          struct({
            name: string,
            value: string.nullable,
            readOnly: bool,
            configSource: int8.since(5).or(-1),
            isSensitive: bool
          })
        ).nullable.since(5)
      })
    )
  }
)

export const deleteTopics = api(
  20,
  'DeleteTopics',
  { versions: [1, 6], flexible: 4 },
  {
    topics: array(struct({ name: string.nullable, topicId: uuid }))
      .since(6)
      .or([]),
    topicNames: array(string).until(5).or([]),
    timeoutMs: int32
  },
  {
    throttleTimeMs: int32.since(1),
    responses: array(
      struct({
        name: string.nullable,
        topicId: uuid.since(6),
        errorCode: int16,
        errorMessage: string.nullable.since(5)
      })
    )
  }
)

export const describeConfigs = api(
  32,
  'DescribeConfigs',
  { versions: [1, 4], flexible: 4 },
  {
    resources: array(struct({ resourceType: int8, resourceName: string, configurationKeys: array(string).nullable })),
    includeSynonyms: bool.since(1),
    includeDocumentation: bool.since(3)
  },
  {
    throttleTimeMs: int32.or(0),
    results: array(
      struct({
        errorCode: int16,
        errorMessage: string.nullable,
        resourceType: int8,
        resourceName: string,
        configs: array(
          struct({
            name: string,
            value: string.nullable,
            readOnly: bool,
            configSource: int8.since(1).or(-1),
            isSensitive: bool,
            synonyms: array(struct({ name: string, value: string.nullable, source: int8 }))
              .since(1)
              .or([]),
            configType: int8.since(3),
            documentation: string.nullable.since(3)
          })
        )
      })
    )
  }
)

export const createPartitions = api(
  37,
  'CreatePartitions',
  { versions: [0, 3], flexible: 2 },
  {
    topics: array(
      struct({
        name: string,
        count: int32,
        assignments: array(struct({ brokerIds: array(int32) })).nullable
      })
    ),
    timeoutMs: int32,
    validateOnly: bool
  },
  {
    throttleTimeMs: int32.or(0),
    results: array(struct({ name: string, errorCode: int16, errorMessage: string.nullable }))
  }
)
