// Replaces the brokers' addresses in answers by the proxy's own, so that clients come back through it.

import type { Address, Api, ResponseOf } from 'millrace/kafka'
import { KafkaError, messages, responseBodyStart, responseFrame } from 'millrace/kafka'
import { offeredVersions } from './versions.ts'

export interface NodeMap {
  /** Makes sure that each of these brokers has its listener. Called before an answer that names them goes out. */
  reconcile(brokers: ReadonlyMap<number, Address>): Promise<void>
  /** Where clients reach a broker. */
  addressOf(nodeId: number): Address
}

export interface RewriteContext {
  readonly nodes: NodeMap
  /** Sees every Metadata answer. */
  onTopics(topics: ResponseOf<typeof messages.metadata>['topics']): void
}

/** The APIs whose answers are rewritten, beside Produce, whose answers are decoded anyway. */
const rewriters = new Map<number, (frame: Buffer, version: number, context: RewriteContext) => Promise<Buffer>>([
  [messages.metadata.key, rewriteMetadata],
  [messages.findCoordinator.key, rewriteFindCoordinator],
  [messages.apiVersions.key, rewriteApiVersions],
  [messages.describeCluster.key, rewriteDescribeCluster]
])

export function isRewritten(key: number): boolean {
  return rewriters.has(key)
}

/** The answer with our addresses in it. Throws WIRE_CORRUPT, LISTEN_FAILED. */
export function rewrite(key: number, version: number, frame: Buffer, context: RewriteContext): Promise<Buffer> {
  return rewriters.get(key)!(frame, version, context)
}

/** Replaces host and port of one node entry; entries without a node or host are left alone. */
export function relocate<N extends { host: string; port: number }>(node: N, nodeId: number, nodes: NodeMap): N {
  return nodeId < 0 || node.host === '' ? node : { ...node, ...nodes.addressOf(nodeId) }
}

async function rewriteMetadata(frame: Buffer, version: number, { nodes, onTopics }: RewriteContext): Promise<Buffer> {
  const { answer, encode } = open(messages.metadata, frame, version)
  onTopics(answer.topics)
  await nodes.reconcile(new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }])))
  return encode({ ...answer, brokers: answer.brokers.map(broker => relocate(broker, broker.nodeId, nodes)) })
}

async function rewriteDescribeCluster(frame: Buffer, version: number, { nodes }: RewriteContext): Promise<Buffer> {
  const { answer, encode } = open(messages.describeCluster, frame, version)
  await nodes.reconcile(new Map(answer.brokers.map(({ brokerId, host, port }) => [brokerId, { host, port }])))
  return encode({ ...answer, brokers: answer.brokers.map(broker => relocate(broker, broker.brokerId, nodes)) })
}

async function rewriteFindCoordinator(frame: Buffer, version: number, { nodes }: RewriteContext): Promise<Buffer> {
  const { answer, encode } = open(messages.findCoordinator, frame, version)
  if (answer.coordinators) {
    const coordinators = answer.coordinators.map(one => relocate(one, one.nodeId, nodes))
    return encode({ ...answer, coordinators })
  }
  const { nodeId = -1, host = '', port = -1 } = answer
  return encode({ ...answer, ...relocate({ host, port }, nodeId, nodes) })
}

async function rewriteApiVersions(frame: Buffer, version: number): Promise<Buffer> {
  // A broker that does not know the version answers in version 0 with this error (KIP-511); the client reads that itself.
  if (frame.readInt16BE(8) === KafkaError.UNSUPPORTED_VERSION) return frame
  const { answer, encode } = open(messages.apiVersions, frame, version)
  return encode(offeredVersions(answer))
}

function open<A extends Api>(api: A, frame: Buffer, version: number) {
  const answer = api.response.decode(frame, version, responseBodyStart(frame, api, version)) as ResponseOf<A>
  return {
    answer,
    encode: (changed: ResponseOf<A>): Buffer =>
      responseFrame(api, version, frame.readInt32BE(4), api.response.encode(changed, version))
  }
}
