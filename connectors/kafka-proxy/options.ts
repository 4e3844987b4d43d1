// The options of the kafka-proxy source, under Kafka's names where Kafka has them.
import type { Values } from 'millrace/connect'
import { option, sslOptions } from 'millrace/connect'

type ForListener<D> = { readonly [K in keyof D & string as `listener.${K}`]: D[K] }

/** The names that Kafka's brokers have for settings of one listener. */
function forListener<const D extends object>(options: D): ForListener<D> {
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [`listener.${key}`, value])) as ForListener<D>
}

const MAX_CONNECTIONS = 2 ** 31 - 1

export const proxyOptions = {
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
  'node.removed.after.ms': {
    schema: option.duration(1000),
    default: '10m',
    doc: 'a broker that the cluster has not named for so long has left: its port is closed until it is named again'
  },
  'advertised.host': {
    schema: option.text,
    optional: true,
    doc: 'the host that clients are told; by default that of listen, which 0.0.0.0 and :: cannot be'
  },
  topics: { schema: option.list, default: '', doc: 'topics to capture, by name; internal topics only so' },
  'topics.regex': {
    schema: option.regex,
    default: '.*',
    doc: 'topics to capture, by pattern; used when topics is empty'
  },
  'topics.exclude': { schema: option.list, default: '', doc: 'topics that are let through without being captured' },
  backfill: {
    schema: option.oneOf('captured', 'earliest'),
    default: 'captured',
    doc: "what is archived of a topic without having been captured: captured: what comes from now on, if producers send to it through the proxy; earliest: all, from the beginning of the brokers' logs"
  },
  'capture.inflight.bytes': {
    schema: option.bytes(1024 * 1024),
    default: '128MiB',
    doc: 'Produce bytes in flight over all connections, above which clients have to wait; beside them go at most two requests for which there is no room, each to another broker'
  },
  'frame.max.bytes': {
    schema: option.bytes(1024, 2 ** 31 - 1),
    default: '104857600',
    doc: "a client whose request is larger is cut off; the brokers' socket.request.max.bytes, unless they have another"
  },
  'request.read.timeout.ms': {
    schema: option.duration(1, option.LONGEST_TIMER_MS),
    default: '30s',
    doc: 'how long a client may take for a request that it has begun, or for each further MiB of it'
  },
  'connections.max': {
    schema: option.integer(1, MAX_CONNECTIONS),
    default: String(MAX_CONNECTIONS),
    doc: 'connections of clients over all ports; more are cut off at once'
  },
  'connections.max.per.ip': {
    schema: option.integer(1, MAX_CONNECTIONS),
    default: String(MAX_CONNECTIONS),
    doc: 'the same from one address'
  },
  'connections.max.idle.ms': {
    schema: option.duration(1, option.LONGEST_TIMER_MS),
    default: '10m',
    doc: 'a client that is owed nothing and sends nothing for so long is cut off'
  },
  'proxy.protocol': {
    schema: option.oneOf('off', 'allowed', 'required'),
    default: 'off',
    doc: 'whether a load balancer in front tells who the client is (PROXY protocol 1 or 2); allowed believes anybody who says so'
  },
  'listener.security.protocol': {
    schema: option.oneOf('PLAINTEXT', 'SSL'),
    default: 'PLAINTEXT',
    doc: 'what clients speak; SASL passes through to the brokers with either'
  },
  ...forListener(sslOptions),
  'listener.ssl.client.auth': {
    schema: option.oneOf('none', 'requested', 'required'),
    default: 'none',
    doc: 'whether clients show a certificate that the truststore has signed'
  }
} as const satisfies Record<string, option.Option>

export type ProxyConfig = Values<typeof proxyOptions>
