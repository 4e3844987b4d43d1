// `npm start`: from nothing to a broker, a proxy and an archive, and each line that it prints works when it is pasted.
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import type { GuardedChild } from '../support/child.ts'
import { runToEnd, spawnGuarded } from '../support/child.ts'
import { kafkaClient } from '../support/kafka-client.ts'
import { freePortRange } from '../support/ports.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))

let folder: TempFolder
let config: string
let ports: { proxy: number; broker: number; http: number; serve: number }
const children: GuardedChild[] = []

beforeEach(async () => {
  folder = await tempFolder('quick-start')
  config = join(folder.path, 'worker.yaml')
  const first = await freePortRange(6)
  ports = { proxy: first, broker: first + 3, http: first + 4, serve: first + 5 }
  // The checkout's own connector files, on ports and in a folder of this test.
  const connectors = join(folder.path, 'connectors')
  await mkdir(connectors)
  await cp(join(checkout, 'config', 'connectors'), connectors, { recursive: true })
  const adapt = async (name: string, from: RegExp, to: string) => {
    const file = join(connectors, name)
    const text = await readFile(file, 'utf8')
    expect(text).toMatch(from)
    await writeFile(file, text.replace(from, to))
  }
  await adapt('kafka-proxy.yaml', /^listen: .*$/m, `listen: 127.0.0.1:${ports.proxy}`)
  await adapt('kafka-proxy.yaml', /^node.port.base: .*$/m, `node.port.base: ${ports.proxy}`)
  await adapt('file-archive.yaml', /^archive.url: .*$/m, `archive.url: file:${join(folder.path, 'data', 'archive')}`)
  const worker = {
    'broker.listen': `127.0.0.1:${ports.broker}`,
    listeners: `http://127.0.0.1:${ports.http}`,
    'data.dir': join(folder.path, 'data'),
    'connectors.dir': connectors
  }
  await writeFile(config, stringify(worker))
})

afterEach(async () => {
  await Promise.all(children.splice(0).map(child => child.terminate(20_000)))
  await folder.dispose()
})

interface Started {
  readonly child: GuardedChild
  stdout(): string
  stderr(): string
}

/** A line of a user's shell, in the checkout, left running. */
function start(line: string, env: Record<string, string | undefined> = {}): Started {
  const child = spawnGuarded('bash', ['-c', `exec ${line}`], {
    cwd: checkout,
    stdio: 'pipe',
    env: { ...userEnv(), ...env },
    folder: undefined
  })
  children.push(child)
  const output = { stdout: '', stderr: '' }
  child.process.stdout?.on('data', chunk => (output.stdout += chunk))
  child.process.stderr?.on('data', chunk => (output.stderr += chunk))
  return { child, stdout: () => output.stdout, stderr: () => output.stderr }
}

/** Our environment as a user would have it: without what npm and vitest add. */
function userEnv(): NodeJS.ProcessEnv {
  const ours = /^(npm_|NODE_ENV$|NODE_OPTIONS$|VITEST|MILLRACE_)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)))
}

/** `npm start` with this test's config, once it has said what to try next; and the lines that it gives. */
async function npmStart(args = '', env: Record<string, string> = {}): Promise<Started & { steps: string[] }> {
  const started = start(`npm start --silent -- --config ${config} ${args}`, env)
  await until(
    () => {
      if (started.child.ended()) throw new Error(`npm start ended: ${started.stderr()}`)
      return started.stdout().includes('millrace -- serve') && started.stdout().endsWith('\n\n')
    },
    { what: 'npm start says what to try next', timeout: 30_000 }
  )
  const steps = started
    .stdout()
    .split('\n')
    .filter(line => /^ {2}[^#\s]/.test(line))
    .map(line => line.trim())
  return { ...started, steps }
}

async function paste(line: string): Promise<string> {
  const { code, stdout, stderr } = await runToEnd('bash', ['-c', line], {
    cwd: checkout,
    env: { ...Object.fromEntries(Object.keys(process.env).map(name => [name, undefined])), ...userEnv() }
  })
  expect(code, `${line}\n${stdout}${stderr}`).toBe(0)
  return stdout.toString()
}

describe('npm start', () => {
  test('runs everything on its own, and each line that it prints works', async () => {
    const { steps, stdout } = await npmStart()
    expect(stdout()).toContain('embedded broker')
    expect(stdout()).toContain('npm start -- --no-samples')
    expect(stdout()).toContain('MILLRACE_BOOTSTRAP_SERVERS=host:9092 npm start')
    const [produce, search, flush, tar, verify, replay, serve, consume, ...more] = steps as [string, ...string[]]
    expect(more).toEqual([])

    expect(await paste(produce)).toBe('greetings, partition 0, offset 0\n')
    expect(await paste(search!)).toContain('hello from the mill')
    expect(await paste(flush!)).toContain('greetings')
    expect(await paste(tar!)).toContain('segment.json')
    expect(await paste(verify!)).toContain('orders')
    expect(await paste(replay!)).toContain('records')
    // A port that is free on every machine, in both lines, as who finds theirs taken does it.
    const elsewhere = (line: string) => {
      expect(line).toContain('127.0.0.1:9094')
      return line.replace('127.0.0.1:9094', `127.0.0.1:${ports.serve}`)
    }
    const serving = start(elsewhere(serve!))
    await until(() => serving.stderr().includes('"ready"'), { what: 'serve is ready', timeout: 20_000 })
    const read = (await paste(elsewhere(consume!))).trim().split('\n')
    expect(read.length).toBeGreaterThanOrEqual(25)
    for (const line of read) expect(JSON.parse(line.split('\t')[1]!).id).toMatch(/^o-\d+$/)
  })

  test('writes sample orders on the first run alone, and keeps all that it was sent', async () => {
    const first = await npmStart()
    expect(first.stdout()).toContain('Sample orders')
    const held = await orders()
    await until(async () => (await orders()) > held, { what: 'more orders' })
    // npm itself ends with the signal; what it started drains.
    await first.child.terminate(20_000)
    expect(first.stderr()).toContain('"msg":"stopped"')

    const second = await npmStart()
    expect(second.stdout()).not.toContain('Sample orders')
    const count = await orders()
    expect(count).toBeGreaterThan(held)
    // What would have sent the next one has had its time.
    await paste(second.steps[0]!)
    expect(await orders()).toBe(count)
  })

  test('writes none when it is told so', async () => {
    const { stdout, steps } = await npmStart('--no-samples')
    expect(stdout()).not.toContain('Sample orders')
    await paste(steps[0]!)
    expect(await topics(`127.0.0.1:${ports.proxy}`)).toEqual(['greetings'])
  })

  test.each([
    ['broker', 'broker.listen'],
    ['proxy', 'listen'],
    ['http', 'listeners']
  ] as const)('names a taken port and the remedy: %s', async (which, key) => {
    const holder = createServer().listen(ports[which], '127.0.0.1')
    try {
      const started = start(`npm start --silent -- --config ${config}`)
      expect((await started.child.exited).code).toBe(2)
      expect(started.stderr()).toContain(`${key}: cannot listen on 127.0.0.1:${ports[which]}`)
      expect(started.stderr()).toMatch(/free port/)
    } finally {
      holder.close()
    }
  })
})

// Its own, for others make topics in that of all.
describeWith(['kafka-own'], 'npm start in front of a cluster', () => {
  const cluster = useOwnKafka({ nodes: 1 })

  test('needs one variable, and writes nothing into it', async () => {
    const { bootstrap } = cluster()
    const before = await topics(bootstrap)
    const { stdout } = await npmStart('', { MILLRACE_BOOTSTRAP_SERVERS: bootstrap })
    expect(stdout()).toContain(`in front of ${bootstrap.split(',').join(', ')}`)
    expect(stdout()).not.toContain('Sample orders')
    expect(await topics(bootstrap)).toEqual(before)
  })
})

async function topics(bootstrap: string): Promise<string[]> {
  await using admin = await connected(bootstrap)
  return (await admin.value.listTopics()).sort()
}

/** How many sample orders the topic has. */
async function orders(): Promise<number> {
  await using admin = await connected(`127.0.0.1:${ports.proxy}`)
  const offsets = await admin.value.fetchTopicOffsets('orders')
  return offsets.reduce((sum, { high }) => sum + Number(high), 0)
}

async function connected(bootstrap: string) {
  const admin = kafkaClient(bootstrap).admin()
  await admin.connect()
  return { value: admin, [Symbol.asyncDispose]: () => admin.disconnect() }
}
