// DescribeConfigs over an archive: tools ask for the settings of a topic before they show it.
import type { RequestOf, ResponseOf } from '../../kafka/api.ts'
import { KafkaError } from '../../kafka/kafka-errors.ts'
import { describeConfigs } from '../../kafka/messages-admin.ts'
import type { Handler } from '../handler.ts'
import { handler } from '../handler.ts'
import type { LogStore } from '../log-store.ts'

type Resource = RequestOf<typeof describeConfigs>['resources'][number]
type Result = ResponseOf<typeof describeConfigs>['results'][number]

/** Kafka's numbers (ConfigResource.Type, DescribeConfigsResponse.ConfigSource and ConfigType). */
const ResourceType = { TOPIC: 2, BROKER: 4 } as const
const DEFAULT_CONFIG = 5
const Type = { LONG: 5, LIST: 7 } as const

/** What holds for every topic here; how it was set in its cluster the archive does not say. */
const topicConfigs = [
  { name: 'cleanup.policy', value: 'delete', configType: Type.LIST },
  { name: 'retention.bytes', value: '-1', configType: Type.LONG },
  { name: 'retention.ms', value: '-1', configType: Type.LONG }
]

/** Tells that topics are kept, and of nothing else. */
export function describeArchiveConfigsHandler(store: LogStore): Handler {
  return handler(describeConfigs, async ({ resources }) => ({
    throttleTimeMs: 0,
    results: await Promise.all(resources.map(describe))
  }))

  async function describe({ resourceType, resourceName, configurationKeys }: Resource): Promise<Result> {
    const resource = { resourceType, resourceName, configs: [] }
    if (resourceType === ResourceType.BROKER) return { ...resource, errorCode: KafkaError.NONE, errorMessage: null }
    if (resourceType !== ResourceType.TOPIC) {
      const errorMessage = 'An archive has only settings of topics.'
      return { ...resource, errorCode: KafkaError.INVALID_REQUEST, errorMessage }
    }
    if ((await store.topic(resourceName)) === undefined) {
      const errorMessage = `There is no topic '${resourceName}'.`
      return { ...resource, errorCode: KafkaError.UNKNOWN_TOPIC_OR_PARTITION, errorMessage }
    }
    const asked = topicConfigs.filter(({ name }) => !configurationKeys?.length || configurationKeys.includes(name))
    const configs = asked.map(({ name, value, configType }) => ({
      ...{ name, value, configType },
      readOnly: true,
      configSource: DEFAULT_CONFIG,
      isSensitive: false,
      synonyms: [],
      documentation: null
    }))
    return { ...resource, errorCode: KafkaError.NONE, errorMessage: null, configs }
  }
}
