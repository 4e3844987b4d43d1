// The kafka-proxy source: stands in front of a Kafka cluster, lets everything through and captures what brokers accept.
import { defineSource, option } from 'millrace/connect'
import { KafkaProxy } from './proxy.ts'

export default defineSource({
  type: 'source',
  name: 'kafka-proxy',
  aliases: ['KafkaProxySource', 'io.millrace.KafkaProxySource'],
  doc: 'Stands in front of a Kafka cluster and captures every batch that a broker accepts.',
  options: {
    listen: {
      schema: option.address,
      default: '127.0.0.1:19092',
      doc: 'where clients bootstrap: put this into their bootstrap.servers'
    },
    'node.port.base': {
      schema: option.integer(0, 65535),
      default: '19100',
      doc: 'broker n is offered at this port + n'
    },
    'node.ports': { schema: option.portMap, optional: true, doc: 'ports for single brokers: 1001:19101,1002:19102' },
    'advertised.host': {
      schema: option.text,
      optional: true,
      doc: 'the host that clients are told; by default that of listen'
    },
    topics: { schema: option.list, default: '', doc: 'topics to capture, by name; internal topics only so' },
    'topics.regex': {
      schema: option.regex,
      default: '.*',
      doc: 'topics to capture, by pattern; used when topics is empty'
    },
    'topics.exclude': { schema: option.list, default: '', doc: 'topics that are let through without being captured' },
    'capture.inflight.bytes': {
      schema: option.bytes(1024 * 1024),
      default: '128MiB',
      doc: 'Produce bytes in flight over all connections, above which clients have to wait'
    }
  },
  start: (config, context) => KafkaProxy.start(config, context)
})
