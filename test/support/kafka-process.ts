// A Kafka node as a Java process of ours.

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { GuardedChild } from './child.ts'
import { runOrThrow, spawnGuarded } from './child.ts'
import type { KafkaJars } from './kafka-jars.ts'
import { javaArgs } from './kafka-jars.ts'
import type { ClusterPlan, NodeRunner, NodeRunners } from './kafka-node.ts'
import { nodeSettings } from './kafka-settings.ts'

/** Runs nodes from Kafka's jars. */
export function processRunners(jars: KafkaJars): NodeRunners {
  return {
    settings: (node, all) => nodeSettings(node, all, { folder: node.folder, bind: '127.0.0.1' }),
    open: async plan => ({
      runners: new Map(plan.nodes.map(node => [node.id, processRunner(jars, node.folder, plan)])),
      close: async () => undefined
    })
  }
}

function processRunner(
  jars: KafkaJars,
  folder: string,
  { clusterId, folder: clusterFolder, systemProperties }: ClusterPlan
): NodeRunner {
  const properties = join(folder, 'server.properties')
  const format = ['format', '-t', clusterId, '-c', properties]
  let isFormatted = false
  let child: GuardedChild | undefined
  return {
    async start() {
      if (!isFormatted)
        await runOrThrow('java', javaArgs(jars, 'kafka.tools.StorageTool', format), { folder: clusterFolder })
      isFormatted = true
      const log = await open(join(folder, 'server.log'), 'a')
      try {
        const stdio = ['ignore', log.fd, log.fd] as const
        const args = javaArgs(jars, 'kafka.Kafka', [properties], { logLevel: 'info', systemProperties })
        child = spawnGuarded('java', args, { stdio: [...stdio], folder: clusterFolder })
      } finally {
        await log.close()
      }
    },
    async stop() {
      await child?.terminate(30_000)
    },
    async kill() {
      child?.signal('SIGKILL')
      await child?.exited
    },
    async freeze() {
      child?.signal('SIGSTOP')
    },
    async thaw() {
      child?.signal('SIGCONT')
    },
    hasDied: () => child?.ended() !== undefined
  }
}
