// Replaces the brokers' addresses in answers by the proxy's own, so that clients come back through it.

import type { Address, Api, ResponseOf } from 'millrace/kafka'
import { checkCluster, KafkaError, messages, responseBodyStart, responseFrame } from 'millrace/kafka'
import { offeredVersions } from './versions.ts'

export interface NodeMap {
  /**
   * Sees to it that each of these brokers has its listener. Called before an answer that names them goes out. Gives those that
   * have one: a port may be taken.
   */
  reconcile(brokers: ReadonlyMap<number, Address>): Promise<ReadonlySet<number>>
  /** Where clients reach a broker. */
  addressOf(nodeId: number): Address
}

export interface RewriteContext {
  readonly nodes: NodeMap
  /** Of which the brokers have to be. */
  readonly clusterId: string
  /** Where the broker is that answers. */
  readonly broker: Address
  /** Sees every Metadata answer. */
  onTopics(topics: ResponseOf<typeof messages.metadata>['topics']): Promise<void>
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

/** The answer with our addresses in it. Throws WIRE_CORRUPT; BROKER_ERROR for the answer of another cluster. */
export function rewrite(key: number, version: number, frame: Buffer, context: RewriteContext): Promise<Buffer> {
  return rewriters.get(key)!(frame, version, context)
}

/**
 * The nodes with our addresses in place of theirs; entries without a node or host stay as they are. Left out are those that have
 * no listener: to name them would lead clients to whoever has taken the port, or past us.
 */
export async function relocate<N extends Address>(
  entries: readonly N[],
  idOf: (entry: N) => number,
  nodes: NodeMap
): Promise<N[]> {
  const isNode = (entry: N) => idOf(entry) >= 0 && entry.host !== ''
  const named = new Map(entries.filter(isNode).map(one => [idOf(one), { host: one.host, port: one.port }]))
  const offered = await nodes.reconcile(named)
  return entries
    .filter(entry => !isNode(entry) || offered.has(idOf(entry)))
    .map(entry => (isNode(entry) ? { ...entry, ...nodes.addressOf(idOf(entry)) } : entry))
}

/** A reused address may lead elsewhere, and all clients would be led there. Where there is an error, no cluster is named. */
function checkOrigin(named: string | null | undefined, { clusterId, broker }: RewriteContext): void {
  if (named) checkCluster(broker, named, clusterId)
}

async function rewriteMetadata(frame: Buffer, version: number, context: RewriteContext): Promise<Buffer> {
  const { answer, encode } = open(messages.metadata, frame, version)
  const { nodes, onTopics } = context
  checkOrigin(answer.clusterId, context)
  await onTopics(answer.topics)
  return encode({ ...answer, brokers: await relocate(answer.brokers, broker => broker.nodeId, nodes) })
}

async function rewriteDescribeCluster(frame: Buffer, version: number, context: RewriteContext): Promise<Buffer> {
  const { answer, encode } = open(messages.describeCluster, frame, version)
  checkOrigin(answer.clusterId, context)
  return encode({ ...answer, brokers: await relocate(answer.brokers, broker => broker.brokerId, context.nodes) })
}

/** What is answered of a coordinator that is a broker without a listener: clients ask again. */
const nowhere = { errorCode: KafkaError.COORDINATOR_NOT_AVAILABLE, nodeId: -1, host: '', port: -1 }

async function rewriteFindCoordinator(frame: Buffer, version: number, { nodes }: RewriteContext): Promise<Buffer> {
  const { answer, encode } = open(messages.findCoordinator, frame, version)
  if (answer.coordinators) {
    const found = new Map((await relocate(answer.coordinators, one => one.nodeId, nodes)).map(one => [one.key, one]))
    return encode({
      ...answer,
      coordinators: answer.coordinators.map(one => found.get(one.key) ?? { ...one, ...nowhere })
    })
  }
  const { nodeId = -1, host = '', port = -1 } = answer
  const [place] = await relocate([{ host, port }], () => nodeId, nodes)
  return encode({ ...answer, ...(place ?? nowhere) })
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
