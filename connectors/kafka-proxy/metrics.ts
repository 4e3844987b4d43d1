// What the proxy counts. docs/metrics.md lists it, and a test compares the two.
import type { Metrics, MetricTable, SourceContext } from 'millrace/connect'
import { apiName } from './api-names.ts'

/** Each of these carries the label `connector` too. */
export const proxyMetrics = {
  millrace_proxy_connections: { type: 'gauge', help: 'Client connections that are open.' },
  millrace_proxy_connections_cut_total: {
    type: 'counter',
    labels: ['reason'],
    help: 'Client connections that the proxy ended: limit: connections.max or connections.max.per.ip; proxy_protocol: no PROXY header, or a wrong one; tls: no TLS, or no certificate that is trusted; no_broker: no broker could be reached; not_kafka: bytes that are no request, or one that is not offered, or that no client sends; too_slow: a request that did not come to its end; idle: connections.max.idle.ms; error: all else, as an answer that cannot be read.'
  },
  millrace_proxy_requests_total: {
    type: 'counter',
    labels: ['api', 'version'],
    help: "Requests, when they have wholly come, by Kafka's name of the API, or other."
  },
  millrace_proxy_bytes_total: {
    type: 'counter',
    labels: ['hop'],
    help: 'Bytes of requests and answers, without TLS, by where they went: client_to_proxy, proxy_to_broker, broker_to_proxy, proxy_to_client.'
  },
  millrace_proxy_produce_requests_total: {
    type: 'counter',
    labels: ['outcome'],
    help: 'Produce requests: answered as the broker did; withdrawn: the broker took it, but it could not be made durable, so the producer is told to retry; passed: the broker took it, it could not be made durable, and with capture.on.failure: pass the producer goes on; refused: not passed on, because the WAL takes nothing; unacknowledged: acks=0, which has no answer.'
  },
  millrace_proxy_answer_held_seconds: {
    type: 'histogram',
    help: "How long a broker's Produce answer was held back until the batches were durable.",
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30]
  },
  millrace_proxy_held_answers: {
    type: 'gauge',
    help: 'Produce answers of brokers that are held back now until the batches are durable.'
  },
  millrace_proxy_answer_delay_seconds: {
    type: 'histogram',
    labels: ['answer'],
    help: 'What an answer lost here: from when all of it had come from the broker until its last byte was given to the socket of the client. produce: held until durable; rewritten: its addresses were replaced; passed: all others, which wait only behind earlier answers of their connection.',
    buckets: [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30]
  },
  millrace_proxy_reads_paused_total: {
    type: 'counter',
    labels: ['waiting_for'],
    help: 'How often reading from a connection was paused: from a client, because capture.inflight.bytes are in flight (budget) or the broker takes bytes more slowly (broker) or the client does not take its answers or is owed 10,000 (client); from a broker, because the client takes bytes more slowly (client).'
  },
  millrace_proxy_inflight_bytes: {
    type: 'gauge',
    help: 'Bytes of Produce requests between their arrival and the end of their answer.'
  },
  millrace_proxy_inflight_limit_bytes: {
    type: 'gauge',
    help: 'Bytes in flight above which clients have to wait, capture.inflight.bytes.'
  }
} as const satisfies MetricTable

/** Numbers that begin at 0, by what they count. */
type Tally<K extends string> = Record<K, number>

export type CutReason = 'limit' | 'proxy_protocol' | 'tls' | 'no_broker' | 'not_kafka' | 'too_slow' | 'idle' | 'error'
/** How what an answer waits for here is called. */
export type AnswerKind = 'produce' | 'rewritten' | 'passed'

/** What a session adds to. */
export interface ProxyFigures {
  /** Produce requests by outcome. */
  readonly produced: Tally<'answered' | 'withdrawn' | 'passed' | 'refused' | 'unacknowledged'>
  readonly cut: Tally<CutReason>
  readonly bytes: Tally<'client_to_proxy' | 'proxy_to_broker' | 'broker_to_proxy' | 'proxy_to_client'>
  readonly paused: Tally<'budget' | 'broker' | 'client'>
  /** Produce answers that are held now. */
  holding: number
  /** Takes the seconds that a Produce answer was held. */
  readonly held: (seconds: number) => void
  /** Take the seconds that an answer lost here. */
  readonly delayed: Readonly<Record<AnswerKind, (seconds: number) => void>>
  readonly requests: RequestCounts
}

/** Shows the proxy's metrics and gives what its sessions count with. */
export function showProxy(
  source: SourceContext,
  read: { connections(): number; inflightBytes(): number; inflightLimit: number }
): ProxyFigures {
  const metrics = source.metrics(proxyMetrics)
  const delay = (answer: AnswerKind) => metrics.observer('millrace_proxy_answer_delay_seconds', { answer })
  const figures: ProxyFigures = {
    produced: { answered: 0, withdrawn: 0, passed: 0, refused: 0, unacknowledged: 0 },
    cut: { limit: 0, proxy_protocol: 0, tls: 0, no_broker: 0, not_kafka: 0, too_slow: 0, idle: 0, error: 0 },
    bytes: { client_to_proxy: 0, proxy_to_broker: 0, broker_to_proxy: 0, proxy_to_client: 0 },
    paused: { budget: 0, broker: 0, client: 0 },
    holding: 0,
    held: metrics.observer('millrace_proxy_answer_held_seconds'),
    delayed: { produce: delay('produce'), rewritten: delay('rewritten'), passed: delay('passed') },
    requests: new RequestCounts(metrics)
  }
  const tallies = [
    ['millrace_proxy_produce_requests_total', 'outcome', figures.produced],
    ['millrace_proxy_connections_cut_total', 'reason', figures.cut],
    ['millrace_proxy_bytes_total', 'hop', figures.bytes],
    ['millrace_proxy_reads_paused_total', 'waiting_for', figures.paused]
  ] as const
  for (const [name, label, tally] of tallies) {
    for (const key of Object.keys(tally) as (keyof typeof tally)[]) {
      metrics.show(name, () => tally[key], { [label]: key })
    }
  }
  metrics.show('millrace_proxy_connections', read.connections)
  metrics.show('millrace_proxy_held_answers', () => figures.holding)
  metrics.show('millrace_proxy_inflight_bytes', read.inflightBytes)
  metrics.show('millrace_proxy_inflight_limit_bytes', () => read.inflightLimit)
  return figures
}

/** Above any version that an API has: so hostile clients cannot make up labels without end. */
const VERSIONS = 32

/** Requests by API and version; one that nobody sends has no value. */
export class RequestCounts {
  readonly #metrics: Metrics<typeof proxyMetrics>
  readonly #counts = new Map<number, { value: number }>()

  constructor(metrics: Metrics<typeof proxyMetrics>) {
    this.#metrics = metrics
  }

  add(key: number, version: number): void {
    const isKnown = version >= 0 && version < VERSIONS && apiName(key) !== undefined
    const place = isKnown ? key * VERSIONS + version : -1
    const count = this.#counts.get(place) ?? this.#show(place)
    count.value++
  }

  #show(place: number): { value: number } {
    const count = { value: 0 }
    this.#counts.set(place, count)
    const labels =
      place < 0
        ? { api: 'other', version: 'other' }
        : { api: apiName(Math.floor(place / VERSIONS))!, version: String(place % VERSIONS) }
    this.#metrics.show('millrace_proxy_requests_total', () => count.value, labels)
    return count
  }
}
