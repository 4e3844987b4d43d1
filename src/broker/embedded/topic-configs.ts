// The settings of an embedded topic: what each may be, and what it is unless told. Most are here to say what the broker does
// anyway, since clients name them when they make topics.
import { KafkaError } from '../../kafka/kafka-errors.ts'
import type { Refusal } from './refusal.ts'
import { refusal } from './refusal.ts'

/** Kafka's numbers for the type of a setting (DescribeConfigsResponse.ConfigType). */
const Type = { STRING: 2, INT: 3, LONG: 5, LIST: 7 } as const

export interface TopicConfig {
  readonly type: number
  readonly fallback: string
  /** What it can be, as it reads in "can only be …". */
  readonly possible: string
  readonly allows: (value: string) => boolean
  readonly doc: string
}

const FOREVER = String(2n ** 63n - 1n)

function oneOf(type: number, values: readonly [string, ...string[]], doc: string): TopicConfig {
  return { type, fallback: values[0], possible: values.join(' or '), allows: value => values.includes(value), doc }
}

const keepsAll = 'The embedded broker keeps records until its size limit, whatever their age and topic.'
const anyTime = 'The embedded broker takes records of any time.'

/** By name; the first of several possible values is the default. */
export const topicConfigs = {
  'cleanup.policy': oneOf(Type.LIST, ['delete'], 'The embedded broker does not compact.'),
  'compression.type': oneOf(Type.STRING, ['producer'], 'Batches stay as their producers compressed them.'),
  'max.message.bytes': {
    type: Type.INT,
    fallback: '1048588',
    possible: 'a whole number of bytes from 0 to 2147483647',
    allows: value => /^\d{1,10}$/.test(value) && Number(value) <= 0x7fffffff,
    doc: 'The largest record batch that the topic takes.'
  },
  'message.timestamp.after.max.ms': oneOf(Type.LONG, [FOREVER], anyTime),
  'message.timestamp.before.max.ms': oneOf(Type.LONG, [FOREVER], anyTime),
  'message.timestamp.type': oneOf(
    Type.STRING,
    ['CreateTime', 'LogAppendTime'],
    'Whether records keep the time that their producer gave them, or get that of their arrival.'
  ),
  'min.insync.replicas': oneOf(Type.INT, ['1'], 'There is one broker.'),
  'retention.bytes': oneOf(Type.LONG, ['-1'], keepsAll),
  'retention.ms': oneOf(Type.LONG, ['-1'], keepsAll)
} as const satisfies Record<string, TopicConfig>

export type TopicConfigName = keyof typeof topicConfigs

/** What was set for a topic beside the defaults. */
export type TopicSettings = Readonly<Partial<Record<TopicConfigName, string>>>

/** The settings that a client names; a refusal for the first one that cannot be. */
export function topicSettings(
  configs: readonly { readonly name: string; readonly value: string | null }[]
): TopicSettings | Refusal {
  const settings: Partial<Record<TopicConfigName, string>> = {}
  for (const { name, value } of configs) {
    if (!isTopicConfig(name)) {
      const names = Object.keys(topicConfigs).join(', ')
      return refusal(KafkaError.INVALID_CONFIG, `${name}: the embedded broker has only ${names}`)
    }
    const { allows, possible }: TopicConfig = topicConfigs[name]
    if (value === null || !allows(value)) {
      return refusal(
        KafkaError.INVALID_CONFIG,
        `${name}: can only be ${possible} in the embedded broker (got ${value})`
      )
    }
    settings[name] = value
  }
  return settings
}

/** What holds for a topic. */
export function settingOf(settings: TopicSettings, name: TopicConfigName): string {
  return settings[name] ?? topicConfigs[name].fallback
}

function isTopicConfig(name: string): name is TopicConfigName {
  return Object.hasOwn(topicConfigs, name)
}
