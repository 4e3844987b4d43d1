// A proxy between a client and a broker that do what the test says, byte by byte: real sockets, a scripted broker, and a
// capture that the test resolves.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import type { ConnectionOptions, TlsOptions } from 'node:tls'
import tls from 'node:tls'
import pino from 'pino'
import { expect, onTestFinished } from 'vitest'
import { proxyOptions } from '../../../connectors/kafka-proxy/options.ts'
import { KafkaProxy } from '../../../connectors/kafka-proxy/proxy.ts'
import type { CapturedBatch, MillraceError, SourceContext } from '../../../src/connect/index.ts'
import { parseOptions } from '../../../src/connect/options.ts'
import type { Address } from '../../../src/kafka/address.ts'
import type { Cluster, TopicMetadata } from '../../../src/kafka/cluster.ts'
import { LeaderEpochs } from '../../../src/kafka/leader-epochs.ts'
import { MetricRegistry } from '../../../src/server/metric-registry.ts'
import { freePortRange } from '../../support/ports.ts'
import { parseMetrics } from '../../support/prometheus.ts'
import { until } from '../../support/until.ts'

/** One end of a connection, as the test sees it: the frames that came, and whether the other side has closed. */
export class End {
  readonly socket: net.Socket
  readonly frames: Buffer[] = []
  bytes = 0
  /** The other side takes and gives nothing any more. */
  ended = false
  /** What came and is no whole frame yet, and how much there has to be of it until one is. */
  #rest: Buffer[] = []
  #needed = 4

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('data', data => this.#receive(data as Buffer))
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('close', () => {
      this.ended = true
    })
    socket.on('error', () => undefined)
    onTestFinished(() => void socket.destroy())
  }

  send(...frames: Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** The next frame that has not been asked for. */
  async next(): Promise<Buffer> {
    await until(() => this.frames.length > 0, { what: 'a frame', interval: 1 })
    return this.frames.shift()!
  }

  /** Resolves when the other side has closed. */
  async end(timeout = 5_000): Promise<void> {
    await until(() => this.ended, { what: 'the end of the connection', interval: 1, timeout })
  }

  #receive(data: Buffer): void {
    this.bytes += data.length
    this.#rest.push(data)
    this.#needed -= data.length
    if (this.#needed > 0) return // joining what there is with each chunk of a large frame would hold up the proxy beside us
    let rest = Buffer.concat(this.#rest)
    const frameBytes = () => (rest.length < 4 ? 4 : 4 + rest.readInt32BE(0))
    while (rest.length >= frameBytes()) {
      this.frames.push(rest.subarray(0, frameBytes()))
      rest = rest.subarray(frameBytes())
    }
    this.#rest = rest.length > 0 ? [rest] : [] // not the memory of what was taken from it
    this.#needed = frameBytes() - rest.length
  }
}

/** A call of the proxy's to make batches durable, waiting for the test to answer. */
export interface CaptureCall {
  readonly batches: readonly CapturedBatch[]
  resolve(): void
  reject(error: Error): void
}

export interface HarnessOptions {
  /** capture.inflight.bytes, 64 MiB unless told. */
  readonly budget?: number
  /** Options of the connector, by their keys. */
  readonly options?: Readonly<Record<string, string>>
  /** capture.on.failure, block unless told. */
  readonly onCaptureFailure?: SourceContext['onCaptureFailure']
  /** The certificate that the broker shows at `localhost`, and what the proxy trusts: with it the broker speaks TLS. */
  readonly brokerTls?: { readonly server: TlsOptions; readonly client: ConnectionOptions }
}

/** A line of the proxy's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string; readonly err?: LoggedError }

interface LoggedError {
  readonly message: string
  readonly code?: string
  readonly hint?: string
}

export interface Harness {
  readonly proxy: KafkaProxy
  /** Where the broker's clients connect. */
  readonly port: number
  readonly bootstrapPort: number
  readonly logs: readonly LogLine[]
  /** What the proxy counts, in Prometheus' text format. */
  metrics(): Promise<string>
  /** The value of one metric, with labels as `,name="value"`. */
  metric(name: string, labels?: string): Promise<number | undefined>
  /** Every call of capture so far. */
  readonly captures: CaptureCall[]
  /** Why the WAL takes nothing; the test sets it. */
  fault: MillraceError | null
  /** A client and the broker's end of its connection. */
  connect(): Promise<{ client: End; broker: End }>
  /** A client alone, whose first bytes go out at once. */
  connectWith(...frames: Buffer[]): End
  /** The broker's end of the next connection. */
  accepted(): Promise<End>
  /** A metadata answer of the cluster, which names these brokers; all of them are the scripted one, but where an address is given. */
  named(...nodes: (number | readonly [id: number, at: Address])[]): void
  /** Has nothing be found out about topics until the function that it returns is called. */
  holdMetadata(): () => void
  /** Has each question about topics fail with this error from now on. */
  failMetadata(error: Error): void
  /** How many connections have come to the broker that nobody asked for yet. */
  waiting(): number
}

/** Topic ids of the scripted cluster. */
export const topicIds = { orders: 'AAECAwQFBgcICQoLDA0ODw', other: 'EBESExQVFhcYGRobHB0eHw' }

/** A proxy in front of a scripted broker with node id 1; both are gone when the test is. Topic `other` is not captured. */
export async function startHarness({
  budget = 64 * 1024 * 1024,
  options = {},
  onCaptureFailure = 'block',
  brokerTls
}: HarnessOptions = {}): Promise<Harness> {
  const upstream: End[] = []
  // Like a real broker it closes when the other side has.
  const accept = (socket: net.Socket) => void upstream.push(new End(socket))
  const server = brokerTls ? tls.createServer(brokerTls.server, accept) : net.createServer({ noDelay: true }, accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const brokerAddress = { host: brokerTls ? 'localhost' : '127.0.0.1', port: (server.address() as AddressInfo).port }
  const captures: CaptureCall[] = []
  const logs: LogLine[] = []
  const ports = await freePortRange(3)
  const registry = new MetricRegistry()
  const { cluster, named, holdMetadata, failMetadata } = clusterOf(brokerAddress)
  const source: SourceContext = {
    name: 'proxy',
    logger: pino({ level: 'debug' }, { write: line => void logs.push(JSON.parse(line)) }),
    bootstrap: [brokerAddress],
    tls: brokerTls?.client,
    clusterId: 'test-cluster',
    cluster,
    capture: given => {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      // A copy, as the WAL makes one: the chunks are the proxy's again when this returns.
      const batches = given.map(({ chunks, ...batch }) => ({ ...batch, chunks: [Buffer.concat(chunks)] }))
      captures.push({ batches, resolve, reject })
      return promise
    },
    captureFault: () => harness.fault,
    onCaptureFailure,
    metrics: table => registry.of(table, { connector: 'proxy' })
  }
  const settings = {
    listen: `127.0.0.1:${ports}`,
    'node.port.base': String(ports),
    'topics.exclude': 'other',
    'capture.inflight.bytes': String(budget),
    ...options
  }
  const given = Object.entries(settings).map(([key, text]) => [key, { text, source: 'test' }] as const)
  const { values, faults } = parseOptions(proxyOptions, new Map(given), 'test')
  expect(faults).toEqual([])
  const proxy = await KafkaProxy.start(values, source)
  const open = () => {
    const socket = net.connect({ host: '127.0.0.1', port: ports + 1, noDelay: true, allowHalfOpen: true })
    return new End(socket)
  }
  const accepted = async () => {
    await until(() => upstream.length > 0, { what: 'a connection to the broker', interval: 1 })
    return upstream.shift()!
  }
  const harness: Harness = {
    proxy,
    port: ports + 1,
    bootstrapPort: ports,
    logs,
    metrics: () => registry.text(),
    metric: async (name, labels = '') => {
      const families = parseMetrics(await registry.text())
      const family = families.get(name) ?? families.get(name.replace(/_(count|sum)$/, ''))
      const all = `connector="proxy"${labels}`.split(',').sort().join(',')
      return family?.samples.get(`${name}{${all}}`)
    },
    captures,
    fault: null,
    accepted,
    named,
    holdMetadata,
    failMetadata,
    waiting: () => upstream.length,
    connect: async () => {
      const client = open()
      return { client, broker: await accepted() }
    },
    connectWith: (...frames) => {
      const client = open()
      if (frames.length > 0) client.send(...frames)
      return client
    }
  }
  onTestFinished(async () => {
    server.close()
    for (const end of upstream) end.socket.destroy()
    void proxy.stop() // a test may end while an answer is held
  })
  return harness
}

/** The cluster that has the broker as node 1, until it is said which ones there are. */
function clusterOf(address: Address): { cluster: Cluster } & Pick<Harness, 'named' | 'holdMetadata' | 'failMetadata'> {
  const topics = Object.entries(topicIds).map(
    ([name, topicId]): TopicMetadata => ({ name, topicId, isInternal: false, leaders: new Map([[0, 1]]) })
  )
  let brokers = new Map([[1, address]])
  let held = Promise.resolve()
  const watchers = new Set<(brokers: Cluster['brokers']) => void>()
  const cluster = {
    get brokers() {
      return brokers
    },
    refresh: () => held.then(() => topics),
    watchBrokers: (watcher: (brokers: Cluster['brokers']) => void) => {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
    epochs: new LeaderEpochs()
  }
  const named: Harness['named'] = (...nodes) => {
    brokers = new Map(nodes.map(node => (typeof node === 'number' ? [node, address] : node)))
    for (const watcher of watchers) watcher(brokers)
  }
  const holdMetadata = () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    held = promise
    return resolve
  }
  const failMetadata = (error: Error) => {
    held = Promise.reject(error)
    held.catch(() => {})
  }
  return { cluster: cluster as unknown as Cluster, named, holdMetadata, failMetadata }
}
