// DescribeConfigs: the settings of topics, and the few of the broker itself.
import type { RequestOf, ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { describeConfigs } from '../../kafka/messages-admin.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import { NODE_ID } from '../metadata.ts'
import type { EmbeddedLogs } from './embedded-logs.ts'
import type { Refusal } from './refusal.ts'
import { isRefusal, refusal } from './refusal.ts'
import type { TopicConfig, TopicConfigName, TopicSettings } from './topic-configs.ts'
import { settingOf, topicConfigs } from './topic-configs.ts'

type Resource = RequestOf<typeof describeConfigs>['resources'][number]
type Result = ResponseOf<typeof describeConfigs>['results'][number]
type Config = Result['configs'][number]

/** Kafka's numbers for what has settings (ConfigResource.Type) and where one comes from (ConfigSource). */
const ResourceType = { TOPIC: 2, BROKER: 4 } as const
const Source = { TOPIC: 1, DEFAULT: 5 } as const

const names = Object.keys(topicConfigs) as TopicConfigName[]

/** Tells of settings; none can be changed. */
export function describeConfigsHandler(logs: EmbeddedLogs): Handler {
  return handler(describeConfigs, async ({ resources, includeSynonyms = false, includeDocumentation = false }) => ({
    results: resources.map(resource => {
      const { resourceType, resourceName, configurationKeys } = resource
      const found = configsOf(resource)
      if (isRefusal(found)) return { ...found, resourceType, resourceName, configs: [] }
      const isAsked = ({ name }: Config) => !configurationKeys?.length || configurationKeys.includes(name)
      const configs = found.filter(isAsked).map(({ synonyms = [], documentation = null, ...config }) => ({
        ...config,
        synonyms: includeSynonyms ? synonyms : [],
        documentation: includeDocumentation ? documentation : null
      }))
      return { errorCode: KafkaError.NONE, errorMessage: null, resourceType, resourceName, configs }
    })
  }))

  function configsOf({ resourceType, resourceName }: Resource): Config[] | Refusal {
    if (resourceType === ResourceType.TOPIC) {
      const topic = logs.find(resourceName)
      if (topic !== undefined) return describeTopicConfigs(topic.settings)
      return refusal(KafkaError.UNKNOWN_TOPIC_OR_PARTITION, `There is no topic '${resourceName}'.`)
    }
    if (resourceType !== ResourceType.BROKER) {
      return refusal(KafkaError.INVALID_REQUEST, 'The embedded broker has only settings of topics and of itself.')
    }
    if (resourceName === '' || resourceName === String(NODE_ID)) return []
    return refusal(KafkaError.INVALID_REQUEST, `The only broker is ${NODE_ID} (got ${resourceName}).`)
  }
}

/** All settings of a topic. They say what is so: none can be changed any more. */
export function describeTopicConfigs(settings: TopicSettings): Config[] {
  return names.map(name => {
    const { type, fallback, doc }: TopicConfig = topicConfigs[name]
    const own = settings[name]
    const chosen = own === undefined ? [] : [{ name, value: own, source: Source.TOPIC }]
    return {
      name,
      value: settingOf(settings, name),
      readOnly: true,
      configSource: own === undefined ? Source.DEFAULT : Source.TOPIC,
      isSensitive: false,
      synonyms: [...chosen, { name, value: fallback, source: Source.DEFAULT }],
      configType: type,
      documentation: doc
    }
  })
}
