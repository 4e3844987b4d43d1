// Every client in its own language, over Apache Kafka itself and through the proxy, and what of it is archived.
import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { batchesOf } from '../support/client-suite/batches.ts'
import { programTests } from '../support/client-suite/programs.ts'
import { findPrograms } from '../support/clients/programs.ts'
import { parseMetrics } from '../support/prometheus.ts'
import { describeWith, useKafka } from '../support/servers.ts'
import { expectBrokersLog, useWorker } from '../support/workers.ts'

const programs = await findPrograms()

describeWith(['kafka-files'], "every client's program", () => {
  describe('over Apache Kafka', () => {
    programTests(programs, `direct-${randomUUID()}`, () => useKafka().bootstrap)
  })

  describe('through the proxy', () => {
    const prefix = `proxied-${randomUUID()}`
    // From the beginning, since a topic may begin with what a proxy does not capture: what was sent with acks=0.
    const worker = useWorker(() => ({ proxy: { 'topics.regex': `${prefix}-.*`, backfill: 'earliest' } }))
    const runs = programTests(
      programs,
      prefix,
      () => worker().bootstrap,
      run => {
        test('all that it produced is archived byte for byte', async () => {
          for (const { topic, partition } of run().partitions) await expectBrokersLog(worker(), topic, partition)
        })
      }
    )
    beforeAll(async () => {
      const { code, stderr } = await worker().command(['flush'])
      expect(code, stderr).toBe(0)
    })

    test('what was acknowledged was captured as it passed, and only the rest was fetched', async () => {
      let rest = 0
      for (const { topic, partition } of runs().flatMap(({ partitions }) => partitions)) {
        const [file] = await useKafka().segmentFiles(topic, partition)
        const batches = await batchesOf(file!)
        rest += batches.filter(({ control }) => control || topic.endsWith('-unacknowledged')).length
      }
      const metrics = parseMetrics(await (await fetch(`${worker().httpUrl}/metrics`)).text())
      const { samples } = metrics.get('millrace_fetched_batches_total')!
      expect(samples.get('millrace_fetched_batches_total')).toBe(rest)
    })

    test('the archive verifies', async () => {
      const { code, stdout, stderr } = await worker().command(['verify'])
      expect(code, stdout + stderr).toBe(0)
    })
  })
})
