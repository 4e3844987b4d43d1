// The package as npm makes and installs it, away from the checkout: its commands run, connectors compile against its types,
// and what only development needs does not come along.

import { cp, mkdir, open, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Exit, GuardedChild } from './support/child.ts'
import { runOrThrow, runToEnd, spawnGuarded } from './support/child.ts'
import { askCluster, kafkaClient } from './support/kafka-client.ts'
import { withoutOurs } from './support/millrace.ts'
import { freePort, freePortRange } from './support/ports.ts'
import type { TempFolder } from './support/temp.ts'
import { tempFolder } from './support/temp.ts'
import { until } from './support/until.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
// The Node that runs these tests, whatever else is on PATH.
const env = { ...withoutOurs(), PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH']}` }
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))

let folder: TempFolder
/** A project of a user's, with the package in its node_modules. */
let project: string
let packed: { size: number; unpackedSize: number; files: { path: string }[] }

beforeAll(async () => {
  folder = await tempFolder('package')
  project = join(folder.path, 'project')
  // A copy of the checkout: packing builds dist/, and another run may be packing too.
  const checkout = join(folder.path, 'checkout')
  const kept = (path: string) => !/^(node_modules|data|dist|\.git)(\/|$)/.test(path.slice(root.length))
  await cp(root, checkout, { recursive: true, filter: kept })
  await symlink(join(root, 'node_modules'), join(checkout, 'node_modules'))
  const tarball = await runOrThrow('npm', ['pack', '--json', '--pack-destination', folder.path], { cwd: checkout, env })
  packed = Object.values(JSON.parse(tarball.toString()))[0] as typeof packed
  await mkdir(project)
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'trial', private: true, type: 'module' }))
  const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', `../millrace-${manifest.version}.tgz`]
  await runOrThrow('npm', install, { cwd: project, env, timeout: 120_000 })
}, 180_000)

afterAll(() => folder?.dispose())

/** Runs `millrace` as npx finds it in the project. */
async function npx(...args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await runToEnd('npx', ['millrace', ...args], { cwd: project, env })
  return { code, stdout: stdout.toString(), stderr: stderr.toString() }
}

const logFile = () => join(folder.path, 'log')

/** Starts `millrace` in the project, in the foreground. */
async function startInstalled(args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<GuardedChild> {
  const log = await open(logFile(), 'w')
  try {
    return spawnGuarded(join(project, 'node_modules', '.bin', 'millrace'), args, {
      stdio: ['ignore', log.fd, log.fd],
      cwd: project,
      folder: folder.path,
      env: { ...process.env, ...env, ...more }
    })
  } finally {
    await log.close()
  }
}

test('holds what runs and what is read, and no more', async () => {
  const strange = packed.files
    .map(({ path }) => path)
    .filter(path => !/^(dist\/(src|connectors)\/.*\.(js|d\.ts)|(config|docs)\/.*|[A-Z]+\.md|package\.json)$/.test(path))
  expect(strange).toEqual([])
  for (const needed of ['config/worker.yaml', 'README.md', 'CHANGELOG.md', 'dist/src/connect/index.d.ts']) {
    expect(packed.files).toContainEqual(expect.objectContaining({ path: needed }))
  }
  expect(packed.size).toBeLessThan(500_000)
})

test('brings what it needs, and nothing that only development needs', async () => {
  const listed = await runOrThrow('npm', ['ls', '--all', '--parseable'], { cwd: project, env })
  const installed = listed
    .toString()
    .trim()
    .split('\n')
    .map(path => path.replace(/^.*\/node_modules\//, ''))
  expect(installed).toEqual(expect.arrayContaining(Object.keys(manifest.dependencies)))
  expect(Object.keys(manifest.devDependencies).filter(name => installed.includes(name))).toEqual([])
  expect(await folderBytes(join(project, 'node_modules'))).toBeLessThan(120e6)
})

test('says its version, its commands, and what is wrong', async () => {
  expect(await npx('--version')).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' })
  const help = await npx('--help')
  expect(help).toMatchObject({ code: 0, stderr: '' })
  for (const command of ['run', 'flush', 'search', 'read', 'replay', 'verify', 'broker', 'serve']) {
    expect(help.stdout).toMatch(new RegExp(`^ +millrace ${command}\\b`, 'm'))
  }
  const verify = await npx('verify', '--archive', 'file:nowhere')
  expect(verify.code).toBe(3)
  expect(verify.stderr).not.toMatch(/^ +at /m)
})

test('runs a worker with the sample configuration: captures, seals, searches, verifies, stops', async () => {
  const ports = await freePortRange(4)
  const config = join(project, 'config')
  await cp(join(project, 'node_modules', 'millrace', 'config'), config, { recursive: true })
  const proxyFile = join(config, 'connectors', 'kafka-proxy.yaml')
  const proxy = await readFile(proxyFile, 'utf8')
  // The embedded broker is node 1.
  const moved = proxy.replace('listen: 127.0.0.1:19092', `listen: 127.0.0.1:${ports}`)
  await writeFile(proxyFile, moved.replace('node.port.base: 19100', `node.port.base: ${ports}`))
  const httpUrl = `http://127.0.0.1:${ports + 2}`
  const worker = await startInstalled(['run'], {
    MILLRACE_LISTENERS: httpUrl,
    MILLRACE_BROKER_LISTEN: `127.0.0.1:${ports + 3}`
  })
  let end: Exit
  try {
    await until(async () => worker.ended() ?? (await fetch(`${httpUrl}/readyz`)).ok, {
      what: 'the worker is ready',
      timeout: 30_000
    })
    expect(worker.ended(), await readFile(logFile(), 'utf8')).toBeUndefined()
    const producer = kafkaClient(`127.0.0.1:${ports}`).producer()
    await producer.connect()
    await producer.send({ topic: 'greetings', messages: [{ value: 'hello from the package' }] })
    await producer.disconnect()
    expect(await npx('flush', '--set', `listeners=${httpUrl}`)).toMatchObject({ code: 0 })
    const { stdout } = await npx('search', 'package', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ topic: 'greetings', offset: 0, value: 'hello from the package' })
    expect(await npx('verify')).toMatchObject({ code: 0, stdout: expect.stringContaining('ok     greetings-0') })
  } finally {
    end = await worker.terminate(30_000)
  }
  expect(end).toEqual({ code: 0, signal: null })
})

test('runs the embedded broker alone', async () => {
  const address = `127.0.0.1:${await freePort()}`
  const broker = await startInstalled(['broker', '--listen', address])
  let end: Exit
  try {
    const answer = async () => broker.ended() ?? (await askCluster(address))
    expect(await until(answer, { what: 'the broker answers' }), await readFile(logFile(), 'utf8')).toMatchObject({
      nodes: [{ id: 1 }]
    })
  } finally {
    end = await broker.terminate(30_000)
  }
  expect(end).toEqual({ code: 0, signal: null })
})

describe('connectors', () => {
  const source = `import type { CapturedBatch } from 'millrace/connect'
import { defineSource, isMillraceError, MillraceError, option } from 'millrace/connect'
import type { Address } from 'millrace/kafka'
import { formatAddress } from 'millrace/kafka'

const connector = defineSource({
  type: 'source',
  name: 'mine',
  aliases: [],
  doc: 'Brings nothing.',
  options: {
    at: { schema: option.address, doc: 'where' },
    often: { schema: option.integer(1, 3), optional: true, doc: 'how often' }
  },
  async start({ at, often = 1 }, context) {
    const address: Address = at
    const batches: CapturedBatch[] = []
    for (let i: number = 0; i < often; i++) await context.capture(batches)
    context.logger.info({ cluster: context.clusterId }, 'there')
    return { addresses: { at: formatAddress(address) }, stop: async () => undefined }
  }
})
export default connector
console.log(connector.name, formatAddress({ host: '::1', port: 1 }), isMillraceError(new MillraceError('USAGE', '')))
`
  let own: string
  const tsc = async () => {
    const program = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const { code, stdout } = await runToEnd(process.execPath, [program], { cwd: own, env })
    return { code, stdout: stdout.toString() }
  }

  beforeAll(async () => {
    own = join(project, 'own')
    const compilerOptions = { module: 'nodenext', target: 'esnext', strict: true, noEmit: true, types: ['node'] }
    // Of types, a user adds Node's own.
    await mkdir(join(own, 'node_modules', '@types'), { recursive: true })
    await symlink(join(root, 'node_modules', '@types', 'node'), join(own, 'node_modules', '@types', 'node'))
    await writeFile(join(own, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['mine.ts'] }))
  })

  test('compile against the types, which hold in themselves', async () => {
    await writeFile(join(own, 'mine.ts'), source)
    expect(await tsc()).toEqual({ code: 0, stdout: '' })
  })

  test('do not compile when they take an option for something else', async () => {
    await writeFile(join(own, 'mine.ts'), source.replace('const address: Address', 'const address: string'))
    const { code, stdout } = await tsc()
    expect(code).not.toBe(0)
    expect(stdout).toMatch(/mine\.ts\(16,\d+\): error TS2322: Type 'Address' is not assignable to type 'string'/)
  })

  test('run', async () => {
    await writeFile(join(own, 'mine.ts'), source)
    const output = await runOrThrow(process.execPath, ['mine.ts'], { cwd: own, env })
    expect(output.toString()).toBe('mine [::1]:1 true\n')
  })
})

const oldNode = await findOldNode()

test.skipIf(oldNode === undefined)(
  `a Node that is too old is told so${oldNode === undefined ? ' [needs a Node older than 24 on PATH]' : ''}`,
  async () => {
    const main = join(project, 'node_modules', 'millrace', manifest.bin.millrace)
    const { code, stderr } = await runToEnd(oldNode!, [main, 'verify', '--archive', 'file:nowhere'], { env })
    expect({ code, stderr: stderr.toString() }).toEqual({
      code: 2,
      stderr: expect.stringMatching(
        new RegExp(`^Millrace needs Node ${manifest.engines.node.replace('>=', '')} or newer \\(this is [\\d.]+\\)\\n$`)
      )
    })
  }
)

/** A Node on PATH that is too old, but not so old that yargs does not run on it. */
async function findOldNode(): Promise<string | undefined> {
  for (const directory of new Set((process.env['PATH'] ?? '').split(delimiter))) {
    const node = join(directory, 'node')
    const version = await runOrThrow(node, ['--version']).catch(() => '')
    const major = Number(/^v(\d+)\./.exec(version.toString())?.[1])
    if (major >= 20 && major < 24) return node
  }
  return undefined
}

async function folderBytes(path: string): Promise<number> {
  const names = await readdir(path, { recursive: true })
  const sizes = await Promise.all(names.map(async name => (await stat(join(path, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}
