// What a node of the tests' Kafka is before it runs, and the contract of whatever runs it.

export interface NodePlan {
  readonly id: number
  /** False for a broker only, which has no vote in the quorum. */
  readonly isController: boolean
  readonly port: number
  /** A port of its own that it can be moved to. */
  readonly sparePort: number
  readonly controllerPort: number
  /** Listeners beside the plain one: the port of each by its name. */
  readonly listeners: Readonly<Record<string, number>>
  /** Where its server.properties, server.log and data lie, seen from us. */
  readonly folder: string
}

/** How one node is run. Each call returns when the process is started or ended; whether it answers is asked elsewhere. */
export interface NodeRunner {
  start(): Promise<void>
  /** As an operator would: the broker hands over its leaderships first. */
  stop(): Promise<void>
  /** kill -9. */
  kill(): Promise<void>
  /** Stops it where it is, connections open, until it is thawed. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** True when it is known to have ended. */
  hasDied(): boolean
}

export interface ClusterPlan {
  readonly nodes: readonly NodePlan[]
  readonly clusterId: string
  readonly folder: string
  /** Of the brokers' Java, by name. */
  readonly systemProperties: Readonly<Record<string, string>>
  /** Folders that the nodes can read under the same paths as we. */
  readonly readable: readonly string[]
}

/** A way of running nodes: as processes or in containers. */
export interface NodeRunners {
  /** The node's server.properties as this way needs them. */
  settings(node: NodePlan, all: readonly NodePlan[]): Record<string, string>
  open(cluster: ClusterPlan): Promise<{
    runners: ReadonlyMap<number, NodeRunner>
    close(): Promise<void>
  }>
}
