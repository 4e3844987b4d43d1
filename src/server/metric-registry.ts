// All metrics of a worker in Prometheus' text format: its own, its connectors' and those of the process.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Labels, MetricDeclaration, Metrics, MetricTable } from '../connect/metrics.ts'

/** A value of a counter or gauge, by its labels. */
interface Shown {
  readonly labels: Labels
  value(): number
}

export class MetricRegistry {
  readonly #registry = new Registry()
  readonly #shown = new Map<string, Shown[]>()

  constructor() {
    collectDefaultMetrics({ register: this.#registry })
  }

  /** The metrics of a table, which several may share; `common` labels go with each of their values. */
  of<T extends MetricTable>(table: T, common: Labels = {}): Metrics<T> {
    for (const [name, declaration] of Object.entries(table)) {
      if (this.#registry.getSingleMetric(name) === undefined) this.#register(name, declaration, Object.keys(common))
    }
    return {
      show: (name, value, labels = {}) => {
        this.#shown.get(name)!.push({ labels: { ...common, ...labels }, value })
      },
      observer: (name, labels = {}) => {
        const histogram = this.#registry.getSingleMetric(name) as Histogram
        const all = { ...common, ...labels }
        histogram.zero(all) // so that it is there before anything was observed
        const { observe } = histogram.labels(all)
        return observe
      }
    }
  }

  /** The media type of `text`. */
  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  #register(name: string, declaration: MetricDeclaration, common: readonly string[]): void {
    const shown: Shown[] = []
    this.#shown.set(name, shown)
    const registers = [this.#registry]
    const config = { name, help: declaration.help, labelNames: [...common, ...(declaration.labels ?? [])], registers }
    if (declaration.type === 'histogram') new Histogram({ ...config, buckets: [...declaration.buckets] })
    else if (declaration.type === 'gauge') {
      new Gauge({
        ...config,
        collect() {
          for (const { labels, value } of shown) this.set(labels, value())
        }
      })
    } else {
      new Counter({
        ...config,
        collect() {
          this.reset()
          for (const { labels, value } of shown) this.inc(labels, value())
        }
      })
    }
  }
}
