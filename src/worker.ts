// The worker: opens every part in the order of the flow, and closes them the other way round.
import os from 'node:os'
import type { Logger } from 'pino'
import { Archive } from './archive/archive.ts'
import { Catalog } from './archive/catalog.ts'
import { probeStore } from './archive/object-store.ts'
import { giveWay } from './archive/oldest-first.ts'
import { WarmSegments } from './archive/warm-segments.ts'
import { EmbeddedBroker } from './broker/embedded-broker.ts'
import type { Configuration, WorkerConfig } from './config.ts'
import { upstreamOf } from './config.ts'
import type { RunningSource } from './connect/connector.ts'
import { dataFolders } from './data-folders.ts'
import { before } from './deadline.ts'
import { messageOf } from './errors.ts'
import { formatAddress } from './kafka/address.ts'
import { Cluster } from './kafka/cluster.ts'
import type { Security } from './kafka/security.ts'
import { Pipeline } from './pipeline/pipeline.ts'
import type { Backfill } from './sealing/backfill.ts'
import { BrokerLog } from './sealing/broker-log.ts'
import { GapFinder } from './sealing/gap-finder.ts'
import { Sealer } from './sealing/sealer.ts'
import { SegmentBuilder } from './sealing/segment-builder.ts'
import { HotIndexing } from './search/hot-indexing.ts'
import type { WorkerState } from './server/health.ts'
import { archiveLimitMs, notReady } from './server/health.ts'
import { startHttp } from './server/http.ts'
import { MetricRegistry } from './server/metric-registry.ts'
import { countedCapture, showWorker, workerMetrics } from './server/metrics.ts'
import { Searcher } from './server/searcher.ts'
import { UpstreamWatch } from './server/upstream-watch.ts'
import { logRecovery } from './wal/recovery-report.ts'
import type { WalHealth } from './wal/wal.ts'
import { Wal } from './wal/wal.ts'

/** A partition whose leader does not answer is asked for again after a while: sealing it must not keep others waiting for long. */
const RETRY_FOR_MS = 2_000

/** At shutdown, how long what was captured may take to be archived; what takes longer stays in the WAL. */
const DRAIN_ARCHIVE_MS = 10_000
/** How long of that brokers may take to say how far their logs reach. */
const LAST_LOOK_MS = 2_000

/** Whatever else is local goes before the WAL has to stop: at this multiple of the reserve; warm copies are looked at so often. */
const GIVES_WAY_AT = 1.25
const WARM_LOOK_MS = 1_000

export interface RunningWorker {
  /** Where it can be reached, by what it is for. */
  readonly addresses: Readonly<Record<string, string>>
  /** Null in front of a cluster. */
  readonly embeddedBroker: EmbeddedBroker | null
  /** Finishes what is owed to clients, archives what it can, closes. */
  stop(): Promise<void>
}

/** Starts everything. Throws, with nothing left open, when any part cannot start. */
export async function startWorker(
  { worker, security, sources, archive: sink }: Configuration,
  logger: Logger
): Promise<RunningWorker> {
  await using opened = new AsyncDisposableStack()
  const folders = dataFolders(worker['data.dir'])

  // The WAL first: its lock keeps a second worker away from everything else in the folder.
  const reserveBytes = Math.max(worker['disk.reserve'], 2 * worker['segment.bytes'])
  const wal = opened.use(await Wal.open({ directory: folders.wal, maxBytes: worker['wal.max.bytes'], reserveBytes }))
  logRecovery(wal.recovery, logger, 'what it held is fetched from the broker if it still has it')
  wal.onSetAside(file => logger.warn({ file }, 'a damaged WAL file is set aside: all else in it is archived'))
  logHealth(wal, logger)
  const embeddedBroker = worker['bootstrap.servers'] ? null : opened.use(await openBroker(worker, logger))
  const bootstrap = upstreamOf(worker)
  logReloads(security, logger)
  const cluster = opened.use(new Cluster(bootstrap, security, { retryForMs: RETRY_FOR_MS, needsTopicIds: true }))
  const clusterId = await cluster.clusterId()
  const store = await sink.connector.open(sink.values, { create: true })
  const catalog = Catalog.open(folders.catalog, store.url, {
    damaged: err =>
      logger.warn({ err }, 'the catalog was damaged, and begins anew: what it knew is read from the archive'),
    failed: err => logger.warn({ err }, 'the catalog cannot be kept: what it would know is read from the archive')
  })
  const archive = opened.use(new Archive(store, catalog))
  await probeStore(store)
  const warm = new WarmSegments(folders.warm, worker['warm.max.bytes'])
  opened.defer(keepRoom([folders.searchIndexes, folders.warm], reserveBytes * GIVES_WAY_AT, logger))
  const builder = opened.use(
    new SegmentBuilder({ walDirectory: folders.wal, maxDecompressedBytes: worker['max.decompressed.bytes'] })
  )
  const sealer = new Sealer({
    wal,
    builder,
    archive,
    warm,
    broker: new BrokerLog(cluster, logger),
    logger,
    directory: folders.building,
    segmentBytes: worker['segment.bytes'],
    createdBy: os.hostname()
  })
  const watching: RunningSource[] = []
  const gaps = await GapFinder.start({
    cluster,
    clusterId,
    archiveUrl: store.url,
    wal,
    logger,
    file: folders.reached,
    watched: topic => watchedBy(watching, topic),
    hasPassed: (topic, topicId) => watching.some(source => source.hasPassed?.(topic, topicId) ?? false),
    passedTopics: () => watching.reduce((sum, { passedTopics = 0 }) => sum + passedTopics, 0),
    segmentMs: worker['segment.ms']
  })
  const pipeline = opened.use(
    new Pipeline({
      wal,
      clusterId,
      sealer,
      gaps,
      logger,
      segmentBytes: worker['segment.bytes'],
      segmentMs: worker['segment.ms'],
      walMaxBytes: worker['wal.max.bytes']
    })
  )

  const hotIndex = opened.use(
    HotIndexing.start(worker['hot.index'], {
      walDirectory: folders.wal,
      directory: folders.hotIndex,
      maxDecompressedBytes: worker['max.decompressed.bytes'],
      reserveBytes: reserveBytes * GIVES_WAY_AT,
      isReleased: (file, frame) => wal.isReleased(file, frame),
      logger
    })
  )
  const upstream = opened.use(await UpstreamWatch.start(cluster))
  let phase: WorkerState['phase'] = 'starting'
  const passes = worker['capture.on.failure'] === 'pass'
  const captureFault = () => (passes ? null : pipeline.captureFault())
  const state = (): WorkerState => ({
    phase,
    upstreamFault: upstream.fault,
    walFault: captureFault()?.message ?? null,
    unarchived: pipeline.unarchived(),
    archiveLimitMs: archiveLimitMs(worker['segment.ms']),
    now: Date.now()
  })
  const registry = new MetricRegistry()
  const metrics = registry.of(workerMetrics)
  showWorker(metrics, { wal, walMaxBytes: worker['wal.max.bytes'], sealer, gaps, hotIndex, pipeline, state })
  const archiveSink = { connector: sink.connector.name, values: sink.values }
  const searcher = opened.use(new Searcher({ worker, archive: archiveSink }, logger))
  const http = await startHttp(worker.listeners, worker['rest.auth'], {
    flush: request => pipeline.flush(request),
    notReady: () => notReady(state()),
    metrics: registry,
    searcher
  })
  opened.defer(() => http.close())
  const running = opened.use(new AsyncDisposableStack())
  const addresses: Record<string, string> = {
    http: `http://${formatAddress(worker.listeners)}`,
    ...(embeddedBroker && { 'embedded broker': formatAddress(embeddedBroker.address) })
  }
  for (const { name, connector, values } of sources) {
    const source = await connector.start(values, {
      name,
      logger: logger.child({ connector: name }),
      bootstrap,
      tls: security.tls,
      clusterId,
      cluster,
      capture: countedCapture(batches => pipeline.capture(batches), metrics, name),
      captureFault,
      onCaptureFailure: worker['capture.on.failure'],
      metrics: table => registry.of(table, { connector: name })
    })
    watching.push(source)
    running.defer(() => source.stop())
    for (const [what, address] of Object.entries(source.addresses)) addresses[`${name} ${what}`] = address
  }

  pipeline.start()
  phase = 'running'
  const parts = opened.move()
  return {
    addresses,
    embeddedBroker,
    async stop() {
      phase = 'draining'
      await Promise.all([running.disposeAsync(), http.drain()])
      // What came last of a topic may be all that ever came of it, and the next start would not know.
      const looking = gaps.look().catch(err => logger.warn({ err }, 'what was not captured could not be looked for'))
      const deadline = performance.now() + DRAIN_ARCHIVE_MS
      await before(performance.now() + LAST_LOOK_MS, looking)
      try {
        await pipeline.flush({ timeoutMs: Math.max(1, deadline - performance.now()), capturedOnly: true })
      } catch (error) {
        logger.warn({ reason: messageOf(error) }, 'not everything was archived; it stays in the WAL for the next start')
      }
      await parts.disposeAsync()
    }
  }
}

/** The most that any source wants of a topic. */
function watchedBy(sources: readonly RunningSource[], topic: string): Backfill | null {
  const wanted = sources.map(source => source.watches?.(topic) ?? null)
  return wanted.includes('earliest') ? 'earliest' : wanted.includes('captured') ? 'captured' : null
}

/** Says why nothing can be captured, at once and whenever that changes. */
function logHealth(wal: Wal, logger: Logger): void {
  const log = (health: WalHealth) => {
    if (health.ok) logger.info('the WAL takes batches again')
    else logger.error({ hint: health.error.hint }, `nothing is captured: ${health.error.message}`)
  }
  if (!wal.health.ok) log(wal.health)
  wal.onHealthChange(log)
}

/** Says when the certificates towards the brokers have changed. */
function logReloads({ tls }: Security, logger: Logger): void {
  if (tls === undefined) return
  tls.onReload = err => {
    if (err === undefined) logger.info('the certificates towards the brokers were read again')
    else logger.error({ err }, 'the changed certificates towards the brokers are not used; the old ones stay')
  }
}

/** Drops files of these folders, the first one's first, while the disk has less free than so many bytes; gives what ends it. */
function keepRoom(folders: readonly string[], bytes: number, logger: Logger): () => void {
  const look = () => {
    try {
      for (const folder of folders) giveWay(folder, bytes)
    } catch (err) {
      logger.warn({ err }, 'local copies of segments could not be dropped to make room')
    }
  }
  look()
  const timer = setInterval(look, WARM_LOOK_MS)
  return () => clearInterval(timer)
}

async function openBroker(worker: WorkerConfig, logger: Logger): Promise<EmbeddedBroker> {
  const address = formatAddress(worker['broker.listen'])
  const broker = await EmbeddedBroker.open({
    directory: dataFolders(worker['data.dir']).broker,
    maxBytes: worker['broker.max.bytes'],
    maxDecompressedBytes: worker['max.decompressed.bytes'],
    listen: worker['broker.listen'],
    what: 'broker.listen',
    hint: `If a Kafka broker listens there, stand in front of it: MILLRACE_BOOTSTRAP_SERVERS=${address}. Else set broker.listen to a free port.`,
    onError: (err, where) => logger.warn({ err, where }, 'embedded broker')
  })
  logRecovery(broker.recovery, logger, 'its records are lost, and readers go on behind them')
  return broker
}
