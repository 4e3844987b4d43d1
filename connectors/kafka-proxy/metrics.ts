// What the proxy counts. docs/metrics.md lists it, and a test compares the two.
import type { MetricTable, SourceContext } from 'millrace/connect'

/** Each of these carries the label `connector` too. */
export const proxyMetrics = {
  millrace_proxy_connections: { type: 'gauge', help: 'Client connections that are open.' },
  millrace_proxy_produce_requests_total: {
    type: 'counter',
    labels: ['outcome'],
    help: 'Produce requests: answered as the broker did; withdrawn: the broker took it, but it could not be made durable, so the producer is told to retry; refused: not passed on, because the WAL takes nothing; unacknowledged: acks=0, which has no answer.'
  },
  millrace_proxy_answer_held_seconds: {
    type: 'histogram',
    help: "How long a broker's Produce answer was held back until the batches were durable.",
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30]
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

const outcomes = ['answered', 'withdrawn', 'refused', 'unacknowledged'] as const

/** What a session adds to. */
export interface ProxyFigures {
  /** Produce requests by outcome. */
  readonly produced: Record<(typeof outcomes)[number], number>
  /** Takes the seconds that a Produce answer was held. */
  readonly held: (seconds: number) => void
}

/** Shows the proxy's metrics and gives what its sessions count with. */
export function showProxy(
  source: SourceContext,
  read: { connections(): number; inflightBytes(): number; inflightLimit: number }
): ProxyFigures {
  const metrics = source.metrics(proxyMetrics)
  const produced = { answered: 0, withdrawn: 0, refused: 0, unacknowledged: 0 }
  for (const outcome of outcomes) {
    metrics.show('millrace_proxy_produce_requests_total', () => produced[outcome], { outcome })
  }
  metrics.show('millrace_proxy_connections', read.connections)
  metrics.show('millrace_proxy_inflight_bytes', read.inflightBytes)
  metrics.show('millrace_proxy_inflight_limit_bytes', () => read.inflightLimit)
  return { produced, held: metrics.observer('millrace_proxy_answer_held_seconds') }
}
