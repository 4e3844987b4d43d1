// A configuration that does not fit together, or does not fit the machine: told as any wrong value is, before anything starts.
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { workerOptions } from '../../src/config.ts'
import { strayVariables } from '../../src/connect/surroundings.ts'
import { millrace } from '../support/millrace.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'

let folder: TempFolder
beforeEach(async () => {
  folder = await tempFolder('config')
  await mkdir(join(folder.path, 'config', 'connectors'), { recursive: true })
  await write('config/worker.yaml', 'bootstrap.servers: 127.0.0.1:1\n')
  await proxy('')
  await write('config/connectors/archive.yaml', 'name: archive\nconnector.class: file-archive\n')
})
afterEach(() => folder.dispose())

const write = (name: string, content: string) => writeFile(join(folder.path, name), content)
const proxy = (lines: string) =>
  write('config/connectors/proxy.yaml', `name: p\nconnector.class: kafka-proxy\n${lines}`)
const run = (args: readonly string[], env = {}) => millrace(args, { cwd: folder.path, env })

/** The lines that a command prints which does not start and makes nothing. */
async function refusal(...args: string[]): Promise<string[]> {
  const before = await readdir(folder.path, { recursive: true })
  const { code, stdout, stderr } = await run(args)
  expect({ code, stdout }, stderr).toEqual({ code: 2, stdout: '' })
  expect(await readdir(folder.path, { recursive: true })).toEqual(before)
  return stderr.trimEnd().split('\n')
}

describe('keys of the proxy that do not fit together', () => {
  const file = 'config/connectors/proxy.yaml'

  test('are named with the file, all of them', async () => {
    await proxy('listen: 0.0.0.0:19092\nnode.ports: 1:19092,2:19101,3:19101\nlistener.security.protocol: SSL\n')
    expect(await refusal('run')).toEqual([
      `${file}: advertised.host: is required with listen on 0.0.0.0. Clients are told to connect there: it is the name or address by which they reach this machine.`,
      `${file}: node.ports: must give each broker a port of its own: 19092 is that of listen (got "1:19092")`,
      `${file}: node.ports: must give each broker a port of its own: 19101 is that of broker 2 (got "3:19101")`,
      `${file}: listener.ssl.keystore.location: is required with listener.security.protocol SSL`
    ])
  })

  test('are told of when each is right by itself', async () => {
    await proxy('listener.ssl.client.auth: required\nnode.ports: 1:99999\n')
    expect(await refusal('run')).toEqual([
      `${file}: node.ports: must be node:port, or several with commas (got "1:99999")`
    ])
    await proxy('listener.ssl.client.auth: required\n')
    expect(await refusal('run')).toEqual([
      `${file}: listener.security.protocol: must be SSL for listener.ssl.client.auth to be used (got "PLAINTEXT")`
    ])
  })
})

test('names that no topic can have are told where patterns go', async () => {
  await proxy('topics: orders,payments.*\ntopics.exclude: __*\n')
  const rule = (name: string) =>
    `must be names of topics: '${name}' contains other characters than ASCII letters, digits, '.', '_' and '-'`
  const hint = 'A pattern of names goes into topics.regex.'
  expect(await refusal('run')).toEqual([
    `config/connectors/proxy.yaml: topics: ${rule('payments.*')}. ${hint}`,
    `config/connectors/proxy.yaml: topics.exclude: ${rule('__*')}. ${hint}`
  ])
})

test('an endpoint that is no URL is named with file and key', async () => {
  const bucket = 'name: archive\nconnector.class: s3-archive\narchive.url: s3://b/x\ns3.endpoint: notaurl\n'
  await write('config/connectors/archive.yaml', bucket)
  expect(await refusal('search', 'x')).toEqual([
    'config/connectors/archive.yaml: s3.endpoint: must be an http:// or https:// URL without user and password (got "notaurl")'
  ])
})

test("a connector's key among the worker's is told where it belongs", async () => {
  const rule = (owners: string) => `belongs into the file of a connector (${owners}), in connectors.dir`
  expect(await refusal('run', '--set', 'listen=127.0.0.1:1', '--set', 'archive.url=file:x')).toEqual([
    `--set: listen: ${rule('kafka-proxy')} (got "127.0.0.1:1")`,
    `--set: archive.url: ${rule('file-archive, s3-archive')} (got "file:x")`
  ])
  expect(await refusal('flush', '--set', 'backfill=earliest')).toEqual([
    `--set: backfill: ${rule('kafka-proxy')} (got "earliest")`
  ])
})

describe('data.dir', () => {
  test.each(['run', 'broker', 'serve'])('%s says when it is no folder', async command => {
    await write('file', '')
    const path = join(folder.path, 'file')
    const rule = `data.dir: must be a folder that can be written: ${path} is no folder`
    expect(await refusal(command, '--set', 'data.dir=file')).toEqual([`--set: ${rule} (got "file")`])
    expect(await refusal(command, '--set', 'data.dir=./file/data')).toEqual([`--set: ${rule} (got "./file/data")`])
  })

  const isRoot = process.getuid?.() === 0
  test.skipIf(isRoot)(
    `run says when it cannot be written${isRoot ? ' [needs another user than root]' : ''}`,
    async () => {
      await mkdir(join(folder.path, 'closed'))
      await chmod(join(folder.path, 'closed'), 0o500)
      expect(await refusal('run', '--set', 'data.dir=closed/data')).toEqual([
        expect.stringMatching(/^--set: data\.dir: must be a folder that can be written: EACCES/)
      ])
    }
  )
})

describe('a variable that looks like an override and is none', () => {
  const line = 'environment MILLRACE_SEGMENT_MSS: segment.mss: has no effect: unknown key: did you mean segment.ms?'
  const others = {
    MILLRACE_SEGMENT_MS: '1m',
    MILLRACE_ADVERTISED_HOST: 'localhost',
    MILLRACE_PORT: 'tcp://10.0.0.1:8083',
    MILLRACE_PORT_8083_TCP_ADDR: '10.0.0.1',
    MILLRACE_BROKERS_SERVICE_HOST: '10.0.0.1',
    MILLRACE_SERVICE_PORT_HTTP: '8083'
  }

  test('is a line of its own, and stops nothing', async () => {
    const { code, stderr } = await run(['search', 'x'], { ...others, MILLRACE_SEGMENT_MSS: '1' })
    expect({ code, lines: stderr.split('\n') }).toEqual({ code: 0, lines: [line, expect.any(String), ''] })
  })

  test('is a warning in the log of a worker', async () => {
    // This stops it at once: its WAL cannot be opened.
    await mkdir(join(folder.path, 'data'))
    await write('data/wal', 'a file where a folder is needed')
    const { stderr } = await run(['run'], { ...others, MILLRACE_SEGMENT_MSS: '1' })
    expect(JSON.parse(stderr.split('\n')[0]!)).toMatchObject({ level: 40, msg: line })
    expect(stderr).not.toMatch(/environment MILLRACE_(?!SEGMENT_MSS)/)
  })

  test('is none where a file names it', async () => {
    await proxy(`advertised.host: \${env:MILLRACE_NAME_OF_OURS}\n`)
    const { code, stderr } = await run(['search', 'x'], { MILLRACE_NAME_OF_OURS: 'localhost' })
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining('MILLRACE_') })
  })

  test('is none that the repository itself reads', async () => {
    const below = async (folder: string) => {
      const root = fileURLToPath(new URL(`../../${folder}`, import.meta.url))
      const files = (await readdir(root, { recursive: true })).filter(name => name.endsWith('.ts'))
      return await Promise.all(files.map(name => readFile(join(root, name), 'utf8')))
    }
    const texts = [...(await below('test/support')), ...(await below('bench')), ...(await below('test/wal'))]
    const read = texts.flatMap(text => text.match(/\bMILLRACE_\w*[A-Z0-9]\b/g) ?? [])
    expect(read).toContain('MILLRACE_KAFKA')
    const keys = Object.keys(workerOptions)
    const strays = (names: string[]) =>
      strayVariables(Object.fromEntries(names.map(name => [name, 'x'])), keys, new Set())
    expect(strays(read)).toEqual([])
  })
})
