// The settings of a topic that decide what becomes of batches that are sent to it.
import { MillraceError } from '../errors.ts'
import type { RequestOf, ResponseOf } from './api.ts'
import { isRetriableKafkaError, KafkaError, kafkaErrorName, rightsHint } from './kafka-errors.ts'
import type { describeConfigs } from './messages-admin.ts'

export interface TopicSettings {
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  /** `producer`, or the codec to which the broker recompresses. */
  readonly compressionType: string
  /** `delete`, `compact` or both. */
  readonly cleanupPolicy: readonly string[]
  /** Milliseconds after which records are deleted; infinite where they are not. */
  readonly retentionMs: number
  /** Bytes of a partition beyond which its oldest records are deleted; infinite where they are not. */
  readonly retentionBytes: number
  /** How far back and ahead of the broker's clock a timestamp may lie, in milliseconds. */
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
}

const settingNames = [
  'message.timestamp.type',
  'compression.type',
  'cleanup.policy',
  'retention.ms',
  'retention.bytes',
  'message.timestamp.before.max.ms',
  'message.timestamp.after.max.ms'
]

/** Kafka's number for a topic among what has settings (ConfigResource.Type). */
const TOPIC = 2

/** What any broker is asked for them. */
export function settingsQuestion(topic: string): RequestOf<typeof describeConfigs> {
  return { resources: [{ resourceType: TOPIC, resourceName: topic, configurationKeys: settingNames }] }
}

/** The settings in a broker's answer. Throws BROKER_ERROR. */
export function settingsOf(topic: string, { results: [result] }: ResponseOf<typeof describeConfigs>): TopicSettings {
  const { errorCode, configs } = result ?? { errorCode: KafkaError.UNKNOWN_SERVER_ERROR, configs: [] }
  if (errorCode !== KafkaError.NONE) {
    throw new MillraceError('BROKER_ERROR', `DescribeConfigs of ${topic}: ${kafkaErrorName(errorCode)}`, {
      hint: rightsHint(errorCode),
      retriable: isRetriableKafkaError(errorCode)
    })
  }
  const values = new Map(configs.map(({ name, value }) => [name, value ?? undefined]))
  return {
    timestampType: values.get('message.timestamp.type') === 'LogAppendTime' ? 'LogAppendTime' : 'CreateTime',
    compressionType: values.get('compression.type') ?? 'producer',
    cleanupPolicy: (values.get('cleanup.policy') ?? 'delete').split(','),
    retentionMs: limit(values.get('retention.ms')),
    retentionBytes: limit(values.get('retention.bytes')),
    timestampBeforeMaxMs: limit(values.get('message.timestamp.before.max.ms')),
    timestampAfterMaxMs: limit(values.get('message.timestamp.after.max.ms'))
  }
}

/** A limit as a number: infinite for -1 and for one that the broker does not know. */
function limit(value: string | undefined): number {
  return value === undefined || Number(value) < 0 ? Number.POSITIVE_INFINITY : Number(value)
}
