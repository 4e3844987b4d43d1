// Real Apache Kafka clusters for tests and benches, of one node or three, started by us on loopback and always stopped.

import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasDocker } from './docker.ts'
import type { Missing } from './found.ts'
import { isMissing } from './found.ts'
import { askCluster } from './kafka-client.ts'
import { dockerRunners } from './kafka-docker.ts'
import { findKafkaJars } from './kafka-jars.ts'
import type { NodePlan, NodeRunner, NodeRunners } from './kafka-node.ts'
import { processRunners } from './kafka-process.ts'
import { propertiesFile } from './kafka-settings.ts'
import { freePortRange } from './ports.ts'
import { keepFolders, tempFolder } from './temp.ts'
import { until } from './until.ts'

/** Where a cluster answers and where its files lie; plain data, so that it can be handed to another process. */
export interface KafkaAddress {
  /** Addresses parted by commas. */
  readonly bootstrap: string
  readonly clusterId: string
  readonly nodes: readonly KafkaNode[]
}

export interface KafkaNode {
  readonly id: number
  readonly port: number
  /** The ports of KafkaOptions.listeners, by name, at `localhost`. */
  readonly listeners?: Readonly<Record<string, number>>
  /** The broker's log.dirs, undefined for a cluster that is not ours and did not say. */
  readonly logDir: string | undefined
}

export interface KafkaCluster extends KafkaAddress, AsyncDisposable {
  /** Starts a stopped or killed node and waits until it answers. */
  start(nodeId: number): Promise<void>
  /** Stops a node as an operator would: leadership is handed over first. */
  stop(nodeId: number): Promise<void>
  /** kill -9. */
  kill(nodeId: number): Promise<void>
  /** Lets a node do nothing, its connections open, until it is thawed. */
  freeze(nodeId: number): Promise<void>
  thaw(nodeId: number): Promise<void>
  restart(nodeId: number): Promise<void>
  /** Restarts a node at another port, which `nodes` and `bootstrap` name from then on. */
  move(nodeId: number): Promise<void>
  segmentFiles(topic: string, partition: number, nodeId?: number): Promise<string[]>
  /** Kills all and removes everything; after a failure the servers' logs stay, and where they are is printed. */
  dispose(outcome?: { failed: boolean }): Promise<void>
}

export interface KafkaOptions {
  nodes: 1 | 3
  /** Ids of nodes that are brokers only and join when they are started. */
  joining?: readonly number[]
  /** Listeners beside the plain one, by name; what they speak is said by `listener.security.protocol.map`. */
  listeners?: readonly string[]
  /** Broker settings over the usual ones. */
  settings?: Record<string, string>
  /** System properties of the brokers' Java. */
  systemProperties?: Record<string, string>
  /** Folders that the brokers can read under the same paths as we. */
  readable?: readonly string[]
}

/** What can run Kafka here: Docker if an engine answers, else Kafka's jars; or the reason why nothing can. */
export async function findKafkaRunners(): Promise<NodeRunners | Missing> {
  if (await hasDocker()) return dockerRunners()
  const jars = await findKafkaJars()
  return isMissing(jars) ? { missing: `no Docker engine, and ${jars.missing}` } : processRunners(jars)
}

/** Starts a cluster of our own and waits until every node answers and knows the others. Rejects with the reason when none can be run here. */
export async function startKafka(options: KafkaOptions): Promise<KafkaCluster> {
  const way = await findKafkaRunners()
  if (isMissing(way)) throw new Error(`Kafka cannot be started: ${way.missing}`)
  const folder = await tempFolder('kafka')
  const clusterId = randomUuid()
  const plans = await planNodes(folder.path, options)
  const configure = async (plan: NodePlan) => {
    const settings = { ...way.settings(plan, plans), ...options.settings }
    await writeFile(join(plan.folder, 'server.properties'), propertiesFile(settings))
  }
  for (const plan of plans) {
    await mkdir(plan.folder)
    await configure(plan)
  }
  const { systemProperties = {}, readable = [] } = options
  const { runners, close } = await way.open({
    nodes: plans,
    clusterId,
    folder: folder.path,
    systemProperties,
    readable
  })
  const nodes = () =>
    plans.map(({ id, port, listeners, folder }) => ({ id, port, listeners, logDir: join(folder, 'data') }))
  /** The nodes that are there from the beginning. */
  const first = () => plans.filter(({ isController }) => isController)
  const runnerOf = (nodeId: number) => {
    const runner = runners.get(nodeId)
    if (runner === undefined) throw new Error(`the cluster has no node ${nodeId}`)
    return runner
  }
  const dispose = async (outcome = { failed: false }) => {
    await Promise.all([...runners.values()].map(runner => runner.kill()))
    await close()
    if (!outcome.failed || keepFolders) return await folder.dispose()
    for (const { logDir } of nodes()) await rm(logDir, { recursive: true, force: true })
    console.error(`logs of Kafka: ${plans.map(plan => join(plan.folder, 'server.log')).join(' ')}`)
  }
  const start = async (nodeId: number) => {
    await runnerOf(nodeId).start()
    await ready(plans.find(({ id }) => id === nodeId)!, runnerOf(nodeId), [nodeId])
  }
  const cluster: KafkaCluster = {
    get bootstrap() {
      return first()
        .map(({ port }) => `127.0.0.1:${port}`)
        .join(',')
    },
    clusterId,
    get nodes() {
      return nodes()
    },
    start,
    stop: nodeId => runnerOf(nodeId).stop(),
    kill: nodeId => runnerOf(nodeId).kill(),
    freeze: nodeId => runnerOf(nodeId).freeze(),
    thaw: nodeId => runnerOf(nodeId).thaw(),
    restart: async nodeId => {
      await runnerOf(nodeId).stop()
      await start(nodeId)
    },
    move: async nodeId => {
      await runnerOf(nodeId).stop()
      const at = plans.findIndex(({ id }) => id === nodeId)
      const { port, sparePort, ...plan } = plans[at]!
      plans[at] = { ...plan, port: sparePort, sparePort: port }
      await configure(plans[at])
      await start(nodeId)
    },
    segmentFiles: (topic, partition, nodeId) => segmentFiles(nodes(), topic, partition, nodeId),
    dispose,
    [Symbol.asyncDispose]: () => dispose()
  }
  try {
    await Promise.all(first().map(({ id }) => runnerOf(id).start()))
    const ids = first().map(({ id }) => id)
    await Promise.all(first().map(plan => ready(plan, runnerOf(plan.id), ids)))
    return cluster
  } catch (error) {
    await dispose({ failed: true })
    throw error
  }
}

/**
 * The broker's own log files of a partition, in the order of their offsets, from the given node or else the first that holds
 * the partition. The newest may still grow.
 */
export async function segmentFiles(
  nodes: readonly KafkaNode[],
  topic: string,
  partition: number,
  nodeId?: number
): Promise<string[]> {
  for (const { id, logDir } of nodes) {
    if (logDir === undefined || (nodeId !== undefined && id !== nodeId)) continue
    const folder = join(logDir, `${topic}-${partition}`)
    const names = await readdir(folder).catch(() => [])
    const logs = names.filter(name => /^\d{20}\.log$/.test(name)).sort()
    if (logs.length > 0) return logs.map(name => join(folder, name))
  }
  throw new Error(`no log files of ${topic}-${partition} on ${nodeId === undefined ? 'any node' : `node ${nodeId}`}`)
}

async function planNodes(folder: string, options: KafkaOptions): Promise<NodePlan[]> {
  const { nodes: count, joining = [], listeners = [] } = options
  const ids = [...Array.from({ length: count }, (_, index) => index + 1), ...joining]
  const perNode = 3 + listeners.length
  const firstPort = await freePortRange(perNode * ids.length)
  return ids.map((id, index) => {
    const port = firstPort + index * perNode
    return {
      id,
      isController: index < count,
      port,
      sparePort: port + 1,
      controllerPort: port + 2,
      listeners: Object.fromEntries(listeners.map((name, at) => [name, port + 3 + at])),
      folder: join(folder, `node-${id}`)
    }
  })
}

/** Waits until the node at its own port says that the nodes `expected` are in the cluster and alive. */
async function ready(plan: NodePlan, runner: NodeRunner, expected: readonly number[]): Promise<void> {
  const died = new AbortController()
  const answers = async () => {
    if (runner.hasDied())
      died.abort(new Error(`Kafka's node ${plan.id} ended at its start`, { cause: await logEnd(plan) }))
    const alive = new Set((await askCluster(`127.0.0.1:${plan.port}`)).nodes.map(({ id }) => id))
    return expected.every(id => alive.has(id))
  }
  const what = `node ${plan.id} of Kafka answers with nodes ${expected.join(', ')} (log: ${plan.folder}/server.log)`
  await until(answers, { what, timeout: 90_000, interval: 100, signal: died.signal })
}

async function logEnd(plan: NodePlan): Promise<string> {
  const log = await readFile(join(plan.folder, 'server.log'), 'utf8').catch(() => '')
  return log.split('\n').slice(-20).join('\n')
}

/** A cluster id in Kafka's form: 16 bytes as base64url, never with a leading dash, which tools take for an option. */
function randomUuid(): string {
  for (;;) {
    const id = randomBytes(16).toString('base64url')
    if (!id.startsWith('-')) return id
  }
}
