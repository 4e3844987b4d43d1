// What the watch says of a cluster that answers, refuses or keeps silent: over a real client and a scripted server.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import net from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Cluster } from '../../src/kafka/cluster.ts'
import { UpstreamWatch } from '../../src/server/upstream-watch.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'

const quick = { everyMs: 20, silentMs: 300 }

test('a cluster that refuses connections is named, at once', async () => {
  const port = await freePort()
  using watch = await UpstreamWatch.start(clusterAt(port), quick)
  expect(watch.fault).toContain(`broker 127.0.0.1:${port}: connect ECONNREFUSED`)
})

test('a server that takes connections and never answers is not the cluster', async () => {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  let answers = true
  const cluster = clusterAt(port)
  using watch = await UpstreamWatch.start({ refresh: async topics => (answers ? [] : cluster.refresh(topics)) }, quick)
  expect(watch.fault).toBeNull()
  answers = false
  await until(() => watch.fault, { what: 'the silence is noticed', timeout: 5_000 })
  expect(watch.fault).toMatch(/^the cluster has not answered for \d+ s$/)
})

test('one failure alone is none, and after two the next answer makes it good', async () => {
  const outcomes = ['ok', 'fail', 'ok', 'fail', 'fail', 'ok']
  const seen: (string | null)[] = []
  let asked = 0
  const refresh = async () => {
    const outcome = outcomes[asked++] ?? 'ok'
    if (outcome === 'fail') throw new Error('away')
    return []
  }
  using watch = await UpstreamWatch.start({ refresh }, { everyMs: 5, silentMs: 60_000 })
  await until(() => seen.push(watch.fault) > 0 && asked > outcomes.length, { what: 'all looks', interval: 1 })
  expect(watch.fault).toBeNull()
  expect(seen.filter((fault, i) => i === 0 || fault !== seen[i - 1])).toEqual([null, 'away', null])
})

function clusterAt(port: number): Cluster {
  const cluster = new Cluster([{ host: '127.0.0.1', port }])
  onTestFinished(() => cluster[Symbol.dispose]())
  return cluster
}
