// What has to fit together in the proxy's file, beyond each value by itself.
import type { Mismatch } from 'millrace/connect'
import { topicNameFault } from 'millrace/kafka'
import type { ProxyConfig } from './options.ts'
import { isAny } from './upstream.ts'

const keystore = ['listener.ssl.keystore.location', 'listener.ssl.keystore.key'] as const
const truststore = ['listener.ssl.truststore.location', 'listener.ssl.truststore.certificates'] as const

/** Everything that does not, each with the key to be changed. */
export function checkProxy(config: ProxyConfig): readonly Mismatch[] {
  return [...checkAddresses(config), ...checkTopics(config), ...checkListenerTls(config)]
}

function* checkAddresses(config: ProxyConfig): Generator<Mismatch> {
  const { host, port } = config.listen
  if (config['advertised.host'] === undefined && isAny(host)) {
    yield {
      key: 'advertised.host',
      rule: `is required with listen on ${host}`,
      hint: 'Clients are told to connect there: it is the name or address by which they reach this machine.'
    }
  }
  const taken = new Map([[port, 'listen']])
  for (const [nodeId, own] of config['node.ports'] ?? []) {
    const by = taken.get(own)
    const rule = `must give each broker a port of its own: ${own} is that of ${by}`
    if (by !== undefined) yield { key: 'node.ports', rule, got: `${nodeId}:${own}` }
    taken.set(own, `broker ${nodeId}`)
  }
}

/** A name that no topic can have captures nothing, and excludes nothing, without a word. */
function* checkTopics(config: ProxyConfig): Generator<Mismatch> {
  for (const key of ['topics', 'topics.exclude'] as const) {
    for (const topic of config[key]) {
      const fault = topicNameFault(topic)
      if (fault === null) continue
      yield { key, rule: `must be names of topics: ${fault}`, hint: 'A pattern of names goes into topics.regex.' }
    }
  }
}

function* checkListenerTls(config: ProxyConfig): Generator<Mismatch> {
  const protocol = config['listener.security.protocol']
  const clientAuth = config['listener.ssl.client.auth']
  const isSet = (key: keyof ProxyConfig) => config[key] !== undefined
  if (protocol === 'PLAINTEXT') {
    // Who sets them takes the listener for secured.
    const unused = clientAuth === 'none' ? [...keystore, ...truststore].find(isSet) : 'listener.ssl.client.auth'
    if (unused === undefined) return
    yield { key: 'listener.security.protocol', rule: `must be SSL for ${unused} to be used`, got: protocol }
    return
  }
  if (!keystore.some(isSet)) yield { key: keystore[0], rule: 'is required with listener.security.protocol SSL' }
  if (clientAuth !== 'none' && !truststore.some(isSet)) {
    yield {
      key: truststore[0],
      rule: `is required with listener.ssl.client.auth ${clientAuth}`,
      hint: 'Else a certificate of any public authority would do.'
    }
  }
}
