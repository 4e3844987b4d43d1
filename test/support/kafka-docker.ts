// Kafka nodes in Docker containers. They share the network of one idle container, which maps their ports to the same ones
// of this machine, so loopback addresses mean the same inside and outside.

import { chmod } from 'node:fs/promises'
import type { StartedTestContainer } from 'testcontainers'
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers'
import { kafkaVersion, propertyArgs } from './kafka-jars.ts'
import type { ClusterPlan, NodePlan, NodeRunner, NodeRunners } from './kafka-node.ts'
import { nodeSettings } from './kafka-settings.ts'

const image = `apache/kafka:${kafkaVersion}`

/** Runs nodes in containers of Apache's own image. */
export function dockerRunners(): NodeRunners {
  return {
    settings: (node, all) => nodeSettings(node, all, { folder: '/node', bind: '0.0.0.0' }),
    open: async plan => {
      const { nodes } = plan
      const ports = nodes.flatMap(({ port, sparePort, listeners }) => [port, sparePort, ...Object.values(listeners)])
      const network = await new GenericContainer(image)
        .withEntrypoint(['sleep', 'infinity'])
        .withCommand([])
        .withExposedPorts(...ports.map(port => ({ container: port, host: port })))
        .withWaitStrategy(Wait.forSuccessfulCommand('true'))
        .start()
      const runners = nodes.map(node => [node.id, dockerRunner(node, plan, network.getId())] as const)
      return { runners: new Map(runners), close: async () => void (await network.stop({ timeout: 0 })) }
    }
  }
}

function dockerRunner(
  node: NodePlan,
  { clusterId, systemProperties, readable }: ClusterPlan,
  network: string
): NodeRunner {
  const bin = '/opt/kafka/bin'
  const format = `${bin}/kafka-storage.sh format --ignore-formatted -t ${clusterId} -c /node/server.properties`
  const script = `${format} && exec ${bin}/kafka-server-start.sh /node/server.properties > /node/server.log 2>&1`
  let container: StartedTestContainer | undefined
  const own = async () => (await getContainerRuntimeClient()).container.getById(container!.getId())
  return {
    async start() {
      await chmod(node.folder, 0o777)
      container = await new GenericContainer(image)
        .withNetworkMode(`container:${network}`)
        // As ourselves, so that what it writes can be read and removed.
        .withUser(`${process.getuid?.() ?? 1000}:${process.getgid?.() ?? 1000}`)
        .withBindMounts([
          { source: node.folder, target: '/node', mode: 'rw' },
          ...readable.map(path => ({ source: path, target: path, mode: 'ro' as const }))
        ])
        .withEnvironment({ LOG_DIR: '/node/logs', KAFKA_OPTS: propertyArgs(systemProperties).join(' ') })
        .withEntrypoint(['sh', '-c', script])
        .withCommand([])
        .withWaitStrategy(Wait.forSuccessfulCommand('true'))
        .start()
    },
    async stop() {
      await container?.stop({ timeout: 30_000 })
      container = undefined
    },
    async kill() {
      await container?.stop({ timeout: 0 })
      container = undefined
    },
    async freeze() {
      await (await own()).pause()
    },
    async thaw() {
      await (await own()).unpause()
    },
    hasDied: () => false
  }
}
