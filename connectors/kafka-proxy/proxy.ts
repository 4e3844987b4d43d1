// The listeners: one for bootstrap and one per broker, opened as brokers become known; and the sessions behind them.
import { once } from 'node:events'
import type net from 'node:net'
import type { RunningSource, SourceContext } from 'millrace/connect'
import { MillraceError, messageOf, mismatch } from 'millrace/connect'
import type { Address } from 'millrace/kafka'
import { formatAddress } from 'millrace/kafka'
import { Budget } from './budget.ts'
import { checkProxy } from './check.ts'
import { Departures } from './departures.ts'
import { FirstAnswers } from './first-answers.ts'
import type { Client } from './gate.ts'
import { Gate } from './gate.ts'
import type { SessionContext } from './link.ts'
import { showProxy } from './metrics.ts'
import type { ProxyConfig } from './options.ts'
import type { NodeMap } from './rewrite.ts'
import { Session } from './session.ts'
import { isCaptured, TopicIds } from './topics.ts'
import type { Dialer, Upstream } from './upstream.ts'
import { connectUpstream, isListenedOn } from './upstream.ts'

/** How long owed responses are waited for at shutdown, or when a broker has left. */
const DRAIN_TIMEOUT_MS = 15_000

export class KafkaProxy implements RunningSource, NodeMap, Dialer {
  readonly firstAnswers = new FirstAnswers()
  readonly #config: ProxyConfig
  readonly #source: SourceContext
  readonly #context: Omit<SessionContext, 'budget' | 'nodeId'>
  readonly #budget: Budget
  readonly #gate: Gate
  /** By node id; the bootstrap listener is -1. */
  readonly #listeners = new Map<number, Promise<net.Server>>()
  readonly #brokers = new Map<number, Address>()
  readonly #departures: Departures
  /** With the node id of the listener that each came to. */
  readonly #sessions = new Map<Session, number>()
  /** Brokers that have no listener, which has been said. */
  readonly #unoffered = new Set<number>()
  #unwatch = (): void => {}
  #stopping = false

  private constructor(config: ProxyConfig, source: SourceContext) {
    // Seen to before anything is opened, where the configuration comes from files.
    const [wrong] = checkProxy(config)
    if (wrong !== undefined) throw mismatch(wrong)
    this.#config = config
    this.#source = source
    const budget = new Budget(config['capture.inflight.bytes'])
    this.#budget = budget
    this.#departures = new Departures(config['node.removed.after.ms'])
    this.#context = {
      source,
      nodes: this,
      passed: new Set(),
      ids: new TopicIds(source.cluster),
      selection: { topics: config.topics, regex: config['topics.regex'], exclude: config['topics.exclude'] },
      limits: {
        frameBytes: config['frame.max.bytes'],
        readTimeoutMs: config['request.read.timeout.ms'],
        idleMs: config['connections.max.idle.ms']
      },
      figures: showProxy(source, {
        connections: () => this.#sessions.size,
        inflightBytes: () => budget.used,
        inflightLimit: budget.limit
      })
    }
    this.#gate = new Gate(config, source.logger, this.#context.figures)
  }

  /** Opens the bootstrap listener and one for each broker that the cluster has now. Throws LISTEN_FAILED, CONFIG_INVALID. */
  static async start(config: ProxyConfig, source: SourceContext): Promise<KafkaProxy> {
    const proxy = new KafkaProxy(config, source)
    try {
      await source.cluster.refresh([])
      const [fault] = (await proxy.#offer(source.cluster.brokers)).values()
      if (fault) throw fault
      await proxy.#listen(-1)
      proxy.#unwatch = source.cluster.watchBrokers(brokers => void proxy.#follow(brokers))
    } catch (error) {
      await proxy.stop()
      throw error
    }
    return proxy
  }

  get addresses(): Readonly<Record<string, string>> {
    const nodes = [...this.#brokers.keys()].map(id => [`node ${id}`, formatAddress(this.addressOf(id))] as const)
    return {
      bootstrap: formatAddress(this.addressOf(-1)),
      ...Object.fromEntries(nodes)
    }
  }

  watches(topic: string): ProxyConfig['backfill'] | null {
    return isCaptured(topic, this.#context.selection) ? this.#config.backfill : null
  }

  hasPassed(topic: string, topicId: string): boolean {
    const { passed } = this.#context
    return passed.has(topic) || passed.has(topicId)
  }

  get passedTopics(): number {
    return this.#context.passed.size
  }

  addressOf(nodeId: number): Address {
    return { host: this.#config['advertised.host'] ?? this.#config.listen.host, port: this.#portOf(nodeId) }
  }

  async isOwn(address: Address): Promise<boolean> {
    const isOurPort = [-1, ...this.#listeners.keys()].some(nodeId => this.#portOf(nodeId) === address.port)
    return isOurPort && (await isListenedOn(address.host, this.#config.listen.host))
  }

  async reconcile(brokers: ReadonlyMap<number, Address>): Promise<ReadonlySet<number>> {
    const faults = await this.#offer(brokers)
    for (const [nodeId, err] of faults) {
      // Metadata comes every few seconds; the same trouble is no news.
      const isNews = !this.#unoffered.has(nodeId) && !this.#stopping
      if (isNews) this.#source.logger.warn({ err }, 'a broker is not offered to clients')
      this.#unoffered.add(nodeId)
    }
    return new Set([...brokers.keys()].filter(nodeId => !faults.has(nodeId)))
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#unwatch()
    const servers = await Promise.allSettled(this.#listeners.values())
    for (const one of servers) if (one.status === 'fulfilled') one.value.close()
    this.#gate[Symbol.dispose]()
    await drain([...this.#sessions.keys()])
  }

  /** A client may know nothing but the port of a broker that joined or came back while no other client asked for metadata. */
  async #follow(brokers: ReadonlyMap<number, Address>): Promise<void> {
    if (this.#stopping) return
    for (const nodeId of this.#departures.see(this.#brokers.keys(), brokers)) void this.#close(nodeId)
    await this.reconcile(brokers)
  }

  /** Opens a listener for each broker. Gives, by node id, why one could not be opened. */
  async #offer(brokers: ReadonlyMap<number, Address>): Promise<ReadonlyMap<number, unknown>> {
    const faults = new Map<number, unknown>()
    for (const [nodeId, address] of brokers) {
      if (address.host === '') continue // a broker that is known but has no listener for us
      this.#brokers.set(nodeId, address)
      try {
        await this.#listen(nodeId)
        this.#unoffered.delete(nodeId)
      } catch (error) {
        faults.set(nodeId, error)
      }
    }
    return faults
  }

  /**
   * The broker has left. Its port is the same when it comes back, but until then it leads nowhere: who knows nothing else is to
   * hear so at once, as from the broker's own, and whoever gets its old address must not get its clients.
   */
  async #close(nodeId: number): Promise<void> {
    this.#brokers.delete(nodeId)
    const server = await this.#listeners.get(nodeId)?.catch(() => undefined) // its port could not be opened
    if (server === undefined) return
    this.#listeners.delete(nodeId)
    server.close()
    this.#source.logger.info({ node: nodeId }, 'a broker has left the cluster: its port is closed')
    await drain([...this.#sessions].filter(([, id]) => id === nodeId).map(([session]) => session))
  }

  #portOf(nodeId: number): number {
    if (nodeId < 0) return this.#config.listen.port
    return this.#config['node.ports']?.get(nodeId) ?? this.#config['node.port.base'] + nodeId
  }

  #listen(nodeId: number): Promise<net.Server> {
    let listening = this.#listeners.get(nodeId)
    if (listening === undefined) {
      // An answer that is still owed may name a new broker, whose port nobody would close.
      if (this.#stopping) throw new MillraceError('LISTEN_FAILED', 'the proxy stops')
      listening = this.#open(nodeId)
      this.#listeners.set(nodeId, listening)
      // A port that was taken may be free at the next try.
      listening.catch(() => this.#listeners.delete(nodeId))
    }
    return listening
  }

  async #open(nodeId: number): Promise<net.Server> {
    const { host } = this.#config.listen
    const port = this.#portOf(nodeId)
    const server = this.#gate.createServer(client => this.#accept(client, nodeId))
    try {
      if (port > 65535) throw new RangeError(`port ${port} does not exist`)
      server.listen({ host, port })
      await once(server, 'listening')
    } catch (cause) {
      const what = nodeId < 0 ? 'listen' : `node.port.base (broker ${nodeId})`
      throw new MillraceError('LISTEN_FAILED', `${what}: cannot listen on ${host}:${port}: ${messageOf(cause)}`, {
        cause,
        hint:
          nodeId < 0
            ? 'Stop what listens there, or set listen to a free port.'
            : `Set node.port.base so that base + ${nodeId} is free, or give the broker a port: node.ports=${nodeId}:PORT.`
      })
    }
    return server
  }

  async #accept(client: Client, nodeId: number): Promise<void> {
    const { figures } = this.#context
    try {
      const { socket: broker, address } = await this.#connectUpstream(nodeId)
      // What a client has sent before it closed is read, and only then has it ended.
      const { destroyed, readableEnded } = client.socket
      if (destroyed || readableEnded || this.#stopping) {
        client.socket.destroy()
        broker.destroy()
        return
      }
      const session = new Session(client, broker, { ...this.#context, nodeId, budget: this.#budget.of(nodeId) })
      this.firstAnswers.watch(client.socket, broker, address)
      this.#sessions.set(session, nodeId)
      session.closed.then(() => this.#sessions.delete(session))
    } catch (error) {
      figures.cut.no_broker += 1
      const { address } = client
      this.#source.logger.warn({ err: error, node: nodeId, client: address }, 'no broker could be reached for a client')
      client.socket.destroy()
    }
  }

  async #connectUpstream(nodeId: number): Promise<Upstream> {
    const { cluster, tls } = this.#source
    const candidates = this.#candidates(nodeId)
    try {
      return await connectUpstream(candidates, tls, this)
    } catch (error) {
      // It may have moved, and no client has asked where it is since.
      const named = await cluster.refresh([]).then(
        () => cluster.brokers,
        () => null
      )
      if (named === null) throw error // which says more than that the cluster is not reached
      await this.#follow(named)
      if (nodeId >= 0 && !named.has(nodeId)) throw absent(nodeId, error)
      const moved = this.#candidates(nodeId).filter(({ host, port }) =>
        candidates.every(one => one.host !== host || one.port !== port)
      )
      if (moved.length === 0) throw error
      return await connectUpstream(moved, tls, this)
    }
  }

  /**
   * Where a broker is; for bootstrap all that the cluster names now, which speak Kafka, before those that were configured, and last
   * those that keep others waiting.
   */
  #candidates(nodeId: number): readonly Address[] {
    const { cluster, bootstrap } = this.#source
    if (nodeId < 0) {
      const named = cluster.brokers.values().filter(({ host }) => host !== '')
      return this.firstAnswers.order([...named, ...bootstrap])
    }
    const known = this.#brokers.get(nodeId)
    return known === undefined ? [] : [known]
  }
}

/** Waits until the sessions have given what they owe, and ends those that take too long. */
async function drain(sessions: readonly Session[]): Promise<void> {
  const deadline = setTimeout(() => {
    for (const session of sessions) session.destroy()
  }, DRAIN_TIMEOUT_MS)
  await Promise.all(sessions.map(session => session.drain()))
  clearTimeout(deadline)
}

function absent(nodeId: number, cause: unknown): MillraceError {
  return new MillraceError('BROKER_UNREACHABLE', `broker ${nodeId} is not in the cluster: ${messageOf(cause)}`, {
    cause,
    hint: 'It is stopped or has left. Its port is closed when it has been away for node.removed.after.ms.'
  })
}
