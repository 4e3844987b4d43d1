// The worker as its users meet it: what it says when it cannot start, what flush does and says, how it stops.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { formatAddress } from '../../src/kafka/address.ts'
import { responseFrame } from '../../src/kafka/headers.ts'
import { apiVersions, metadata } from '../../src/kafka/messages.ts'
import { serve } from '../kafka/scripted-broker.ts'
import type { CommandResult, Settings } from '../support/millrace.ts'
import { freePort } from '../support/ports.ts'
import { describeWith, useKafka } from '../support/servers.ts'
import type { Acknowledged } from '../support/topics.ts'
import { createTopic, produceUntil, send } from '../support/topics.ts'
import { until } from '../support/until.ts'
import { dataPath, expectAcknowledged, expectBrokersLog, expectClean, flush, useWorker } from '../support/workers.ts'

describeWith(['kafka', 'kafka-files'], 'a worker that cannot start', () => {
  const running = useWorker()

  /** Runs a second worker beside the one that runs: with its configuration, but for these connectors and settings. */
  async function runSecond(
    connectors: { proxy?: Settings; archive?: Settings },
    settings: Settings = {},
    env: Record<string, string> = {}
  ): Promise<CommandResult & { folder: string }> {
    const folder = join(running().folder, `second-${crypto.randomUUID()}`)
    await mkdir(join(folder, 'connectors'), { recursive: true })
    const port = await freePort()
    const proxy = { listen: `127.0.0.1:${port}`, 'node.port.base': await freePort(), ...connectors.proxy }
    const archive = {
      'connector.class': 'file-archive',
      'archive.url': `file:${folder}/archive`,
      ...connectors.archive
    }
    const files = {
      proxy: { name: 'p', 'connector.class': 'kafka-proxy', ...proxy },
      archive: { name: 'a', ...archive }
    }
    for (const [name, content] of Object.entries(files)) {
      await writeFile(join(folder, 'connectors', `${name}.yaml`), stringify(content))
    }
    const all = {
      'data.dir': join(folder, 'data'),
      'connectors.dir': join(folder, 'connectors'),
      listeners: `http://127.0.0.1:${await freePort()}`,
      ...settings
    }
    const set = Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`])
    return { ...(await running().command(['run', ...set], { timeout: 30_000, env })), folder }
  }

  /** Its exit code and all that it said, one entry a line. */
  const said = ({ code, stdout, stderr }: CommandResult) => ({ code, stdout, lines: stderr.trim().split('\n') })

  test('since another one has its data folder', async () => {
    const folder = dataPath(running())
    const second = said(await runSecond({}, { 'data.dir': folder }))
    expect(second).toMatchObject({ code: 2, stdout: '' })
    expect(second.lines[0]).toContain(folder)
    expect(second.lines).toHaveLength(2)
  })

  test('since its HTTP port is taken', async () => {
    const { code, lines } = said(await runSecond({}, { listeners: running().httpUrl }))
    const address = running().httpUrl.replace('http://', '')
    expect({ code, lines }).toEqual({
      code: 2,
      lines: [
        expect.stringMatching(`^listeners: cannot listen on ${address}: .*EADDRINUSE`),
        expect.stringMatching(/^Stop what listens there, or set listeners to a free port/)
      ]
    })
  })

  test('since the port for clients is taken', async () => {
    const { code, lines } = said(await runSecond({ proxy: { listen: running().bootstrap } }))
    expect({ code, lines }).toEqual({
      code: 2,
      lines: [
        expect.stringMatching(`^listen: cannot listen on ${running().bootstrap}: .*EADDRINUSE`),
        expect.stringMatching(/set listen to a free port/)
      ]
    })
  })

  test("since a broker's port is taken", async () => {
    const { id } = useKafka().nodes[0]!
    const taken = Number(running().bootstrap.split(':')[1])
    const { code, lines } = said(await runSecond({ proxy: { 'node.port.base': taken - id } }))
    expect({ code, lines }).toEqual({
      code: 2,
      lines: [
        expect.stringMatching(`^node.port.base \\(broker ${id}\\): cannot listen on 127.0.0.1:${taken}: .*EADDRINUSE`),
        expect.stringMatching(`node.ports=${id}:PORT`)
      ]
    })
  })

  test('since no broker answers', async () => {
    const nobody = `127.0.0.1:${await freePort()}`
    const { code, lines } = said(await runSecond({}, { 'bootstrap.servers': nobody }))
    expect(code).toBe(3)
    expect(lines[0]).toContain(nobody)
    expect(lines[1]).toMatch(/Is the broker up/)
    expect(lines).toHaveLength(2)
  })

  test('since the brokers are older than Kafka 2.8, and know no topic ids', async () => {
    const { address } = await serve(frame => {
      const apiKeys = [{ apiKey: metadata.key, minVersion: 0, maxVersion: 9 }]
      const answer = apiVersions.response.encode({ errorCode: 0, apiKeys }, 3)
      return frame.readInt16BE(4) === apiVersions.key
        ? responseFrame(apiVersions, 3, frame.readInt32BE(8), answer)
        : responseFrame(metadata, 9, frame.readInt32BE(8), metadata.response.encode({ brokers: [], topics: [] }, 9))
    })
    const { code, lines } = said(await runSecond({}, { 'bootstrap.servers': formatAddress(address) }))
    expect(code).toBe(1)
    expect(lines[0]).toContain(`${formatAddress(address)} knows no topic ids`)
    expect(lines[1]).toMatch(/Kafka 2\.8/)
    expect(lines).toHaveLength(2)
  })

  test('since its archive cannot be written', async () => {
    const { code, lines } = said(await runSecond({ archive: { 'archive.url': `file:${running().configFile}/below` } }))
    expect(code).toBe(3)
    expect(lines[0]).toContain(`${running().configFile}/below`)
    expect(lines.length).toBeLessThanOrEqual(2)
  })

  test('since no store answers', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`
    const s3 = { 'connector.class': 's3-archive', 'archive.url': 's3://bucket/x', 's3.endpoint': nobody }
    const second = await runSecond({ archive: s3 }, {}, { AWS_ACCESS_KEY_ID: 'x', AWS_SECRET_ACCESS_KEY: 'x' })
    expect(second.code).toBe(3)
    expect(second.stderr).toMatch(/s3:\/\/bucket.*ECONNREFUSED.*\nNothing answers at s3\.endpoint/)
  })

  test('and the one that runs is not disturbed by any of it', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(running().bootstrap, topic, [[{ value: 'x' }]])
    await flush(running(), topic)
    await expectBrokersLog(running(), topic)
  })
})

describeWith(['kafka', 'kafka-files'], 'flush', () => {
  const worker = useWorker()

  test('archives what was captured, and prints it for people or for scripts', async () => {
    const [one, other] = [
      await createTopic(useKafka().bootstrap, { partitions: 2 }),
      await createTopic(useKafka().bootstrap)
    ]
    for (const partition of [0, 1]) {
      await send(worker().bootstrap, one, [[{ value: 'a' }, { value: 'b' }], [{ value: 'c' }]], { partition })
    }
    await send(worker().bootstrap, other, [[{ value: 'd' }]])
    const people = await worker().command(['flush', '--topic', one])
    expect(people).toMatchObject({ code: 0, stderr: '' })
    expect(people.stdout.trim().split('\n').sort()).toEqual([
      `${one}-0: archived through offset 2`,
      `${one}-1: archived through offset 2`
    ])
    const scripts = await worker().command(['flush', '--json'])
    expect(scripts).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(scripts.stdout)).toEqual({ partitions: [{ topic: other, partition: 0, archivedThrough: 0 }] })
    await expectBrokersLog(worker(), one, 0)
    await expectBrokersLog(worker(), one, 1)
    await expectBrokersLog(worker(), other)
  })

  test('has nothing to do for a topic that nobody produced to, and says so', async () => {
    const people = await worker().command(['flush', '--topic', 'never-heard-of'])
    expect(people).toEqual({
      code: 0,
      stdout: 'nothing to flush: the archive holds all that there is of never-heard-of\n',
      stderr: ''
    })
    const scripts = await worker().command(['flush', '--topic', 'never-heard-of', '--json'])
    expect(JSON.parse(scripts.stdout)).toEqual({ partitions: [] })
  })

  test('without a worker ends with 3, the address, and what to do', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`
    const { code, stdout, stderr } = await worker().command(['flush', '--set', `listeners=${nobody}`])
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
    expect(stderr).toMatch(`no worker answers at ${nobody}`)
    expect(stderr).toMatch('millrace run')
  })

  test.each(['0', 'soon', '30d'])('refuses --timeout %s', async timeout => {
    const { code, stderr } = await worker().command(['flush', '--timeout', timeout])
    expect(code).toBe(2)
    expect(stderr).toMatch(/^--timeout: must be a duration/)
  })
})

describeWith(['kafka', 'kafka-files'], 'a worker that is told to stop', () => {
  const worker = useWorker()

  test('while producers are at work, ends with 0, has all that it acknowledged, and goes on when started again', async () => {
    const topic = await createTopic(useKafka().bootstrap, { partitions: 2 })
    const acknowledged: Acknowledged = new Map()
    const running = new AbortController()
    const load = Promise.all(
      ['a', 'b', 'c', 'd'].map(name =>
        produceUntil(running.signal, { bootstrap: worker().bootstrap, topic, name }, acknowledged)
      )
    )
    for (let round = 0; round < 2; round++) {
      const before = acknowledged.size
      await until(() => acknowledged.size > before + 300, { what: 'records are acknowledged', timeout: 30_000 })
      expect(await worker().terminate()).toBe(0)
      await worker().start()
    }
    const before = acknowledged.size
    await until(() => acknowledged.size > before + 300, { what: 'records are acknowledged again', timeout: 30_000 })
    running.abort()
    await load
    await flush(worker(), topic)
    await expectAcknowledged(topic, acknowledged)
    await expectBrokersLog(worker(), topic, 0)
    await expectBrokersLog(worker(), topic, 1)
    await expectClean(worker(), topic)
    const logs = await worker().logs()
    expect(logs).not.toMatch(/"level":(50|60)/)
  })

  test('has archived what it captured by then, without a flush', async () => {
    const topic = await createTopic(useKafka().bootstrap)
    await send(worker().bootstrap, topic, [[{ value: 'the last words' }]])
    expect(await worker().terminate()).toBe(0)
    await expectBrokersLog(worker(), topic)
    await worker().start()
  })

  test('by Ctrl-C, ends with 130', async () => {
    expect(await worker().interrupt()).toBe(130)
    await worker().start()
  })
})
