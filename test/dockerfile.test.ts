// The Dockerfile's own instructions, replayed into a folder, and what they make run as a container would be.

import { lstat, open, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Exit } from './support/child.ts'
import { runToEnd, spawnGuarded } from './support/child.ts'
import type { Image } from './support/dockerfile.ts'
import { inStage, replayDockerfile } from './support/dockerfile.ts'
import { kafkaClient } from './support/kafka-client.ts'
import { freePortRange } from './support/ports.ts'
import type { TempFolder } from './support/temp.ts'
import { tempFolder } from './support/temp.ts'
import { until } from './support/until.ts'

const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

let scratch: TempFolder
let image: Image

beforeAll(async () => {
  scratch = await tempFolder('image')
  image = await replayDockerfile(root, scratch.path)
}, 300_000)

afterAll(() => scratch?.dispose())

test('the image stands on the Node of the tests, and runs as a user that is not root', () => {
  expect(image.base).toBe(`node:${/\d+/.exec(manifest.devDependencies.node)}-slim`)
  expect(image.user).toMatch(/^[1-9]\d*:[1-9]\d*$/)
})

test('the image holds what runs, and nothing that only development needs', async () => {
  expect((await readdir(join(image.root, 'app'))).sort()).toEqual(['dist', 'node_modules', 'package.json'])
  const installed = await readdir(join(image.root, 'app', 'node_modules'))
  expect(Object.keys(manifest.devDependencies).filter(name => installed.includes(name))).toEqual([])
  const files = await listFiles(image.root)
  expect([...files.keys()].filter(path => /^app\/dist\/.*(?<!\.js)$/.test(path))).toEqual([])
  expect([...files.values()].reduce((sum, { size }) => sum + size, 0)).toBeLessThan(80e6)
})

test('the container gets healthy, archives, writes to /data alone, and ends on SIGTERM', async () => {
  const ports = await freePortRange(4)
  await moveConfig(ports)
  const before = await listFiles(image.root)
  // Only what the image sets, and a port for the embedded broker, whose own may be taken here.
  const env = { ...image.env, MILLRACE_BROKER_LISTEN: `127.0.0.1:${ports + 3}` }
  const cwd = join(image.root, image.workdir)
  const run = async ([program, ...args]: readonly string[]) => {
    const { code, stderr } = await runToEnd('env', ['-i', ...asWords(env), program!, ...args], { cwd })
    return { code, stderr: stderr.toString() }
  }
  const healthcheck = image.healthcheck.map(word => word.replace(':8083', `:${ports}`))
  expect(await run(healthcheck)).toEqual({ code: 1, stderr: '' })

  const [program, ...args] = image.command
  const log = await open(join(scratch.path, 'log'), 'w+')
  const container = spawnGuarded(program!, args, { stdio: ['ignore', log.fd, log.fd], cwd, env, folder: scratch.path })
  await log.close()
  let end: Exit
  try {
    const isHealthy = async () => container.ended() ?? (await run(healthcheck)).code === 0
    await until(isHealthy, { what: 'the container is healthy', timeout: 30_000 })
    expect(container.ended(), await readFile(join(scratch.path, 'log'), 'utf8')).toBeUndefined()
    const producer = kafkaClient(`localhost:${ports + 1}`).producer()
    await producer.connect()
    await producer.send({ topic: 'greetings', messages: [{ value: 'hello from the image' }] })
    await producer.disconnect()
    expect(await run(['millrace', 'flush'])).toEqual({ code: 0, stderr: '' })
    const archived = await readdir(join(image.root, 'data', 'archive'), { recursive: true })
    expect(archived).toContainEqual(expect.stringMatching(/\/greetings\/[^/]+\/0\/0{20}\.tar\.gz$/))
  } finally {
    end = await container.terminate(30_000)
  }
  expect(end).toEqual({ code: 0, signal: null })
  const after = await listFiles(image.root)
  const outside = (files: typeof after) => [...files].filter(([path]) => !path.startsWith('data/'))
  expect(outside(after)).toEqual(outside(before))
})

/** Gives the configuration inside the image its paths in the folder, and ports from `first` on. */
async function moveConfig(first: number): Promise<void> {
  const folder = join(image.root, 'etc', 'millrace')
  const files = (await readdir(folder, { recursive: true })).filter(name => name.endsWith('.yaml'))
  expect(files.sort()).toEqual(['connectors/archive.yaml', 'connectors/kafka-proxy.yaml', 'worker.yaml'])
  for (const name of files) {
    const content = inStage(image, await readFile(join(folder, name), 'utf8'))
    // The embedded broker is node 1.
    const moved = content.replace(':8083', `:${first}`).replace(':19092', `:${first + 1}`)
    await writeFile(join(folder, name), moved.replace('base: 19100', `base: ${first + 1}`))
  }
}

/** Every file below a folder, with what tells whether it was written. */
async function listFiles(folder: string): Promise<Map<string, { size: number; changed: number }>> {
  const files = new Map<string, { size: number; changed: number }>()
  for (const path of await readdir(folder, { recursive: true })) {
    const found = await lstat(join(folder, path))
    if (!found.isDirectory()) files.set(path, { size: found.size, changed: found.mtimeMs })
  }
  return files
}

function asWords(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`)
}
