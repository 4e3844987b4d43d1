// The Kafka error codes that Millrace acts on or names. Source: org.apache.kafka.common.protocol.Errors.

export const KafkaError = {
  UNKNOWN_SERVER_ERROR: -1,
  NONE: 0,
  OFFSET_OUT_OF_RANGE: 1,
  CORRUPT_MESSAGE: 2,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  LEADER_NOT_AVAILABLE: 5,
  NOT_LEADER_OR_FOLLOWER: 6,
  REQUEST_TIMED_OUT: 7,
  BROKER_NOT_AVAILABLE: 8,
  REPLICA_NOT_AVAILABLE: 9,
  MESSAGE_TOO_LARGE: 10,
  NETWORK_EXCEPTION: 13,
  COORDINATOR_LOAD_IN_PROGRESS: 14,
  COORDINATOR_NOT_AVAILABLE: 15,
  NOT_COORDINATOR: 16,
  NOT_ENOUGH_REPLICAS: 19,
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 20,
  TOPIC_AUTHORIZATION_FAILED: 29,
  INVALID_TIMESTAMP: 32,
  UNSUPPORTED_VERSION: 35,
  TOPIC_ALREADY_EXISTS: 36,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  DUPLICATE_SEQUENCE_NUMBER: 46,
  CONCURRENT_TRANSACTIONS: 51,
  KAFKA_STORAGE_ERROR: 56,
  FENCED_LEADER_EPOCH: 74,
  UNKNOWN_LEADER_EPOCH: 75,
  OFFSET_NOT_AVAILABLE: 78,
  INVALID_RECORD: 87,
  UNKNOWN_TOPIC_ID: 100,
  INCONSISTENT_TOPIC_ID: 103
} as const

const names = new Map<number, string>(Object.entries(KafkaError).map(([name, code]) => [code, name]))

const retriable = new Set<number>([
  KafkaError.CORRUPT_MESSAGE,
  KafkaError.UNKNOWN_TOPIC_OR_PARTITION,
  KafkaError.LEADER_NOT_AVAILABLE,
  KafkaError.NOT_LEADER_OR_FOLLOWER,
  KafkaError.REQUEST_TIMED_OUT,
  KafkaError.BROKER_NOT_AVAILABLE,
  KafkaError.REPLICA_NOT_AVAILABLE,
  KafkaError.NETWORK_EXCEPTION,
  KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
  KafkaError.COORDINATOR_NOT_AVAILABLE,
  KafkaError.NOT_COORDINATOR,
  KafkaError.NOT_ENOUGH_REPLICAS,
  KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  KafkaError.CONCURRENT_TRANSACTIONS,
  KafkaError.KAFKA_STORAGE_ERROR,
  KafkaError.FENCED_LEADER_EPOCH,
  KafkaError.UNKNOWN_LEADER_EPOCH,
  KafkaError.OFFSET_NOT_AVAILABLE,
  KafkaError.UNKNOWN_TOPIC_ID,
  KafkaError.INCONSISTENT_TOPIC_ID
])

/** The name of an error code, as Kafka's documentation has it. */
export function kafkaErrorName(code: number): string {
  return names.get(code) ?? `error ${code}`
}

/** Whether a client may send the same request again after this code. */
export function isRetriableKafkaError(code: number): boolean {
  return retriable.has(code)
}
