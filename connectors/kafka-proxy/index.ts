// The kafka-proxy source: stands in front of a Kafka cluster, lets everything through and captures what brokers accept.
import { defineSource } from 'millrace/connect'
import { checkProxy } from './check.ts'
import { proxyOptions } from './options.ts'
import { KafkaProxy } from './proxy.ts'

export default defineSource({
  type: 'source',
  name: 'kafka-proxy',
  aliases: ['KafkaProxySource', 'io.millrace.KafkaProxySource'],
  doc: 'Stands in front of a Kafka cluster and captures every batch that a broker accepts.',
  options: proxyOptions,
  check: checkProxy,
  start: (config, context) => KafkaProxy.start(config, context)
})
