// The settings of the tests' Kafka brokers: KRaft, combined roles but for brokers that join later, everything on loopback.

import type { NodePlan } from './kafka-node.ts'

export interface SettingsPlace {
  /** The node's folder as the broker sees it. */
  folder: string
  /** The address that clients' listener binds to. */
  bind: string
}

/** A node's server.properties. Timings and sizes not set here are Kafka's own. */
export function nodeSettings(node: NodePlan, all: readonly NodePlan[], place: SettingsPlace): Record<string, string> {
  const voters = all.filter(({ isController }) => isController)
  const copies = String(voters.length)
  const minInSync = String(Math.min(2, voters.length))
  const controller = node.isController ? `,CONTROLLER://127.0.0.1:${node.controllerPort}` : ''
  const more = Object.entries(node.listeners)
  const moreAt = (host: string) => more.map(([name, port]) => `,${name}://${host}:${port}`).join('')
  return {
    'process.roles': node.isController ? 'broker,controller' : 'broker',
    'node.id': String(node.id),
    'controller.quorum.voters': voters.map(({ id, controllerPort }) => `${id}@127.0.0.1:${controllerPort}`).join(','),
    listeners: `PLAINTEXT://${place.bind}:${node.port}${controller}${moreAt(place.bind)}`,
    // Certificates name a host, no address.
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${node.port}${moreAt('localhost')}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': `${place.folder}/data`,
    'broker.rack': `rack-${node.id}`,
    'default.replication.factor': copies,
    'min.insync.replicas': minInSync,
    'offsets.topic.replication.factor': copies,
    'transaction.state.log.replication.factor': copies,
    'transaction.state.log.min.isr': minInSync,
    'share.coordinator.state.topic.replication.factor': copies,
    'share.coordinator.state.topic.min.isr': minInSync,
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.num.partitions': '4',
    'group.initial.rebalance.delay.ms': '0',
    'auto.create.topics.enable': 'true',
    // Records with fixed, old timestamps must not be deleted under a test.
    'log.retention.ms': '-1'
  }
}

/** Settings as a .properties file. */
export function propertiesFile(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`)
    .join('')
}
