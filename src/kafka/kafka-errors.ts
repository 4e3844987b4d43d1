// The Kafka error codes that Millrace acts on or names. Source: org.apache.kafka.common.protocol.Errors.
import { MillraceError } from '../errors.ts'
import type { Address } from './address.ts'
import { formatAddress } from './address.ts'

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
  OFFSET_METADATA_TOO_LARGE: 12,
  NETWORK_EXCEPTION: 13,
  COORDINATOR_LOAD_IN_PROGRESS: 14,
  COORDINATOR_NOT_AVAILABLE: 15,
  NOT_COORDINATOR: 16,
  INVALID_TOPIC_EXCEPTION: 17,
  NOT_ENOUGH_REPLICAS: 19,
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 20,
  INVALID_REQUIRED_ACKS: 21,
  ILLEGAL_GENERATION: 22,
  INCONSISTENT_GROUP_PROTOCOL: 23,
  INVALID_GROUP_ID: 24,
  UNKNOWN_MEMBER_ID: 25,
  INVALID_SESSION_TIMEOUT: 26,
  REBALANCE_IN_PROGRESS: 27,
  TOPIC_AUTHORIZATION_FAILED: 29,
  GROUP_AUTHORIZATION_FAILED: 30,
  CLUSTER_AUTHORIZATION_FAILED: 31,
  INVALID_TIMESTAMP: 32,
  UNSUPPORTED_SASL_MECHANISM: 33,
  ILLEGAL_SASL_STATE: 34,
  UNSUPPORTED_VERSION: 35,
  TOPIC_ALREADY_EXISTS: 36,
  INVALID_PARTITIONS: 37,
  INVALID_REPLICATION_FACTOR: 38,
  INVALID_REPLICA_ASSIGNMENT: 39,
  INVALID_CONFIG: 40,
  INVALID_REQUEST: 42,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  DUPLICATE_SEQUENCE_NUMBER: 46,
  INVALID_PRODUCER_EPOCH: 47,
  INVALID_TXN_STATE: 48,
  CONCURRENT_TRANSACTIONS: 51,
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 53,
  KAFKA_STORAGE_ERROR: 56,
  SASL_AUTHENTICATION_FAILED: 58,
  NON_EMPTY_GROUP: 68,
  GROUP_ID_NOT_FOUND: 69,
  FETCH_SESSION_ID_NOT_FOUND: 70,
  FENCED_LEADER_EPOCH: 74,
  UNKNOWN_LEADER_EPOCH: 75,
  UNSUPPORTED_COMPRESSION_TYPE: 76,
  OFFSET_NOT_AVAILABLE: 78,
  MEMBER_ID_REQUIRED: 79,
  FENCED_INSTANCE_ID: 82,
  GROUP_SUBSCRIBED_TO_TOPIC: 86,
  INVALID_RECORD: 87,
  UNKNOWN_TOPIC_ID: 100,
  INCONSISTENT_TOPIC_ID: 103,
  MISMATCHED_ENDPOINT_TYPE: 114,
  UNSUPPORTED_ENDPOINT_TYPE: 115
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

/** What to do about a right that brokers say is missing; undefined for any other error. */
export function rightsHint(errorCode: number | undefined): string | undefined {
  if (errorCode === KafkaError.CLUSTER_AUTHORIZATION_FAILED)
    return 'Replay needs the right Write on the topic that it appends to, or IdempotentWrite on the cluster.'
  if (errorCode !== KafkaError.TOPIC_AUTHORIZATION_FAILED) return undefined
  return 'Millrace needs the rights Describe, DescribeConfigs and Read on the topics that it archives; replay needs Create and Write.'
}

/** Throws BROKER_ERROR for a topic that we may not see. */
export function checkRights(topic: string, errorCode: number): void {
  const hint = rightsHint(errorCode)
  if (hint !== undefined)
    throw new MillraceError('BROKER_ERROR', `topic ${topic}: ${kafkaErrorName(errorCode)}`, { hint })
}

/** Throws BROKER_ERROR where a broker is of another cluster than the one that is known. */
export function checkCluster(address: Address, found: string | null, known: string | null): void {
  if (known === null || found === known) return
  throw new MillraceError('BROKER_ERROR', `${formatAddress(address)} is of the cluster ${found}, not of ${known}`, {
    hint: 'The address leads elsewhere now. To go on with the other cluster, restart with a data folder of its own.',
    retriable: true
  })
}
