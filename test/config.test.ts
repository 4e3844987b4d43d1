// The whole configuration: where each value comes from, and that a wrong one is told in one line before anything starts.
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bundledConnectors } from '../src/bundled-connectors.ts'
import type { ConfigInputs } from '../src/config.ts'
import { loadConfiguration, loadWorkerConfig, upstreamOf } from '../src/config.ts'
import { isMillraceError, messageOf } from '../src/errors.ts'
import { millrace } from './support/millrace.ts'
import type { TempFolder } from './support/temp.ts'
import { tempFolder } from './support/temp.ts'
import { thrown } from './support/thrown.ts'

let folder: TempFolder
beforeEach(async () => {
  folder = await tempFolder('config')
})
afterEach(() => folder.dispose())

const proxy = 'name: proxy\nconnector.class: kafka-proxy\n'
const archive = 'name: archive\nconnector.class: file-archive\narchive.url: file:./archive\n'

/** Writes files below the folder; the usual ones unless told otherwise, none for `undefined`. */
async function write(files: Record<string, string | undefined> = {}): Promise<void> {
  const all: Record<string, string | undefined> = {
    'worker.yaml': worker(),
    'connectors/proxy.yaml': proxy,
    'connectors/archive.yaml': archive,
    ...files
  }
  await mkdir(join(folder.path, 'connectors'))
  for (const [name, content] of Object.entries(all)) {
    if (content === undefined) continue
    await mkdir(dirname(join(folder.path, name)), { recursive: true })
    await writeFile(join(folder.path, name), content)
  }
}

/** A right worker file, with these lines added. */
function worker(lines = ''): string {
  const data = join(folder.path, 'data')
  return `bootstrap.servers: 127.0.0.1:1\ndata.dir: ${data}\nconnectors.dir: ${join(folder.path, 'connectors')}\n${lines}`
}

function load(inputs: ConfigInputs = {}) {
  return loadConfiguration({ file: join(folder.path, 'worker.yaml'), env: {}, ...inputs }, bundledConnectors)
}

/** The lines of the error, without the folder. */
function faults(inputs: ConfigInputs = {}): string[] {
  const error = thrown(() => load(inputs))
  expect(isMillraceError(error, 'CONFIG_INVALID'), messageOf(error)).toBe(true)
  return withoutFolder(messageOf(error)).split('\n')
}

const withoutFolder = (text: string): string => text.replaceAll(`${folder.path}/`, '').replaceAll(folder.path, '.')

test('gives the worker, the sources and the one archive, with defaults', async () => {
  await write()
  const loaded = load()
  expect(loaded.worker).toMatchObject({
    'bootstrap.servers': [{ host: '127.0.0.1', port: 1 }],
    listeners: { host: '127.0.0.1', port: 8083 },
    'segment.bytes': 64 * 1024 * 1024,
    'segment.ms': 600_000,
    'wal.max.bytes': 10 * 1024 ** 3,
    'disk.reserve': 1024 ** 3,
    'max.decompressed.bytes': 256 * 1024 ** 2,
    'log.level': 'info'
  })
  expect(loaded.sources.map(({ name, values }) => [name, values.listen])).toEqual([
    ['proxy', { host: '127.0.0.1', port: 19092 }]
  ])
  expect(loaded.archive).toMatchObject({ name: 'archive', values: { 'archive.url': 'file:./archive' } })
})

test('is the same from YAML, JSON and properties, and with the class names that Connect would have', async () => {
  const properties = (yaml: string) => yaml.replaceAll(': ', '=')
  const json = (yaml: string) => {
    const entries = yaml
      .trim()
      .split('\n')
      .map(line => line.split(/: (.*)/).slice(0, 2))
    return Object.fromEntries(entries) as Record<string, string>
  }
  await write()
  const { name, ...config } = json(archive)
  const others: Record<string, string> = {
    'p/worker.properties': properties(worker().replace('/connectors', '/p/connectors')),
    'p/connectors/proxy.properties': properties(proxy).replace('kafka-proxy', 'io.millrace.KafkaProxySource'),
    'p/connectors/archive.properties': properties(archive),
    'j/worker.json': JSON.stringify(json(worker().replace('/connectors', '/j/connectors'))),
    'j/connectors/proxy.json': JSON.stringify(json(proxy)),
    'j/connectors/archive.json': JSON.stringify({ name, config: { ...config, 'connector.class': 'FileArchiveSink' } })
  }
  for (const [file, content] of Object.entries(others)) {
    await mkdir(dirname(join(folder.path, file)), { recursive: true })
    await writeFile(join(folder.path, file), content)
  }
  const shape = (file: string) => {
    const { worker, sources, archive } = load({ file: join(folder.path, file) })
    const connectors = [...sources, archive].map(({ name, connector, values }) => [
      name,
      connector.name,
      { ...values, 'connector.class': '' }
    ])
    return { worker: { ...worker, 'connectors.dir': '' }, connectors }
  }
  expect(shape('p/worker.properties')).toEqual(shape('worker.yaml'))
  expect(shape('j/worker.json')).toEqual(shape('worker.yaml'))
})

describe('what overrides what', () => {
  const levels = { file: '1m', env: '2m', set: '3m' }

  test('the file is overridden by the environment, and both by --set', async () => {
    await write({ 'worker.yaml': worker(`segment.ms: ${levels.file}\n`) })
    const env = { MILLRACE_SEGMENT_MS: levels.env }
    const set = [`segment.ms=${levels.set}`]
    expect(load().worker['segment.ms']).toBe(60_000)
    expect(load({ env }).worker['segment.ms']).toBe(120_000)
    expect(load({ env, set }).worker['segment.ms']).toBe(180_000)
    expect(load({ set }).worker['segment.ms']).toBe(180_000)
    expect(load({ set: [...set, 'segment.ms=4m'] }).worker['segment.ms']).toBe(240_000)
  })

  test('what is right overrides what is wrong', async () => {
    await write({ 'worker.yaml': worker(`segment.ms: never\nsegment.bytes: \${env:CONFIG_TEST_NONE}\n`) })
    const inputs = { env: { MILLRACE_SEGMENT_MS: '2m' }, set: ['segment.bytes=1MiB'] }
    expect(load(inputs).worker).toMatchObject({ 'segment.ms': 120_000, 'segment.bytes': 1024 * 1024 })
  })

  test('a wrong value is blamed on where it stands', async () => {
    await write()
    const rule = 'must be a duration of 100 ms or more, such as 500ms, 10m or 1h (got "never")'
    expect(faults({ env: { MILLRACE_SEGMENT_MS: 'never' } })).toEqual([
      `environment MILLRACE_SEGMENT_MS: segment.ms: ${rule}`
    ])
    expect(faults({ set: ['segment.ms=never'] })).toEqual([`--set: segment.ms: ${rule}`])
    expect(faults({ set: ['segment.mss=1m', 'whatever'] }).sort()).toEqual([
      '--set: segment.mss: unknown key: did you mean segment.ms? (got "1m")',
      '--set: whatever: must be key=value'
    ])
    expect(faults({ set: [`connectors.dir=${folder.path}/none`] })).toEqual([
      '--set: connectors.dir: must be a folder that can be read (got "none")'
    ])
  })

  test('the file is the one of --config, else of MILLRACE_CONFIG', async () => {
    await write({ 'other.yaml': worker('segment.ms: 1h\n') })
    const env = { MILLRACE_CONFIG: join(folder.path, 'other.yaml') }
    expect(load({ file: undefined, env }).worker['segment.ms']).toBe(3_600_000)
    expect(load({ env }).worker['segment.ms']).toBe(600_000)
  })
})

describe('one line for each fault', () => {
  test('of all files together', async () => {
    await write({
      'worker.yaml': worker('segment.byte: 1MiB\nlisteners: localhost\nmax.decompressed.bytes: 1GiB\n'),
      'connectors/proxy.yaml': `${proxy}listen: here\nnode.port.base: 99999\n`,
      'connectors/archive.yaml': archive.replace('file:./archive', 's3://bucket/x')
    })
    expect(faults()).toEqual([
      'worker.yaml: segment.byte: unknown key: did you mean segment.bytes? (got "1MiB")',
      'worker.yaml: listeners: must be http://host:port (got "localhost")',
      'worker.yaml: max.decompressed.bytes: must be a size, from 1MiB to 256MiB, such as 64MiB (got "1GiB")',
      'connectors/archive.yaml: archive.url: must be file:PATH (got "s3://bucket/x")',
      'connectors/proxy.yaml: listen: must be host:port (got "here")',
      'connectors/proxy.yaml: node.port.base: must be a whole number from 0 to 65535 (got "99999")'
    ])
  })

  test('of a class that is unknown, missing, or nearly right', async () => {
    await write({
      'connectors/a.yaml': 'name: a\nconnector.class: kafka-proxi\n',
      'connectors/b.yaml': 'name: b\n',
      'connectors/c.txt': 'not a connector'
    })
    const known = 'must be one of kafka-proxy, file-archive, s3-archive'
    expect(faults()).toEqual([
      `connectors/a.yaml: connector.class: ${known} (got "kafka-proxi")`,
      `connectors/b.yaml: connector.class: ${known}`
    ])
  })

  test('of two archives, of none, and of a name that is used twice', async () => {
    await write({ 'connectors/zweites.yaml': archive })
    expect(faults()).toEqual([
      'connectors/zweites.yaml: name: must be used once (got "archive")',
      'connectors: connector.class: must name exactly one archive (file-archive, s3-archive) (got "archive, archive")'
    ])
    await writeFile(join(folder.path, 'connectors/archive.yaml'), '# none\nname: x\nconnector.class: kafka-proxy\n')
    await writeFile(join(folder.path, 'connectors/zweites.yaml'), 'name: y\nconnector.class: kafka-proxy\n')
    expect(faults({ set: ['log.level=loud'] })).toEqual([
      '--set: log.level: must be fatal or error or warn or info or debug or trace (got "loud")',
      'connectors: connector.class: must name exactly one archive (file-archive, s3-archive)'
    ])
  })

  test('of connectors without a name', async () => {
    await write({
      'connectors/proxy.yaml': 'connector.class: kafka-proxy\n',
      'connectors/archive.yaml': 'connector.class: file-archive\n'
    })
    expect(faults()).toEqual([
      'connectors/archive.yaml: name: is required: a name of your choice',
      'connectors/proxy.yaml: name: is required: a name of your choice'
    ])
  })

  test('of what is nested, and of a variable that is not set, also where the key is required', async () => {
    await write({
      'worker.yaml': 'bootstrap:\n  servers: a:1\nconnectors.dir: connectors\n',
      'connectors/archive.yaml': archive.replace('file:./archive', `\${env:CONFIG_TEST_NONE}`)
    })
    expect(faults({ set: [`connectors.dir=${join(folder.path, 'connectors')}`] })).toEqual([
      String.raw`worker.yaml: bootstrap: must be a single value: write nested keys with dots (got "{\"servers\":\"a:1\"}")`,
      `connectors/archive.yaml: archive.url: environment variable CONFIG_TEST_NONE must be set (got "\${env:CONFIG_TEST_NONE}")`
    ])
  })

  test('of files that are no YAML, beside what is wrong in others', async () => {
    await write({
      'worker.yaml': worker('segment.ms: 1\n'),
      'connectors/archive.yaml': 'name: archive\n  connector.class: file-archive\n',
      'connectors/proxy.yaml': `${proxy}listen: here\n`
    })
    const [segmentMs, yaml, listen, ...more] = faults()
    expect(segmentMs).toMatch(/^worker\.yaml: segment\.ms: must be a duration of 100 ms or more.* \(got "1"\)$/)
    expect(yaml).toMatch(/^connectors\/archive\.yaml: cannot be read: .* at line \d, column \d+$/)
    expect(listen).toBe('connectors/proxy.yaml: listen: must be host:port (got "here")')
    expect(more).toEqual([])
  })

  test('of a worker file that is not there: nothing else is known then', async () => {
    const [line, ...more] = faults({ file: join(folder.path, 'none.yaml') })
    expect(line).toMatch(/^none\.yaml: cannot be read: ENOENT/)
    expect(more).toEqual([])
  })
})

test('the worker alone needs no connectors', async () => {
  await write({ 'connectors/archive.yaml': undefined })
  expect(loadWorkerConfig({ file: join(folder.path, 'worker.yaml'), env: {} }).listeners.port).toBe(8083)
})

describe('millrace run', () => {
  const run = (args: readonly string[], env: Record<string, string> = {}) =>
    millrace(['run', ...args], { cwd: folder.path, env })

  test('prints three lines for three mistakes, ends with 2, and has started and made nothing', async () => {
    await write({
      'worker.yaml': worker('segment.bytes: 12\n'),
      'connectors/proxy.yaml': `${proxy}topic.regex: orders\n`,
      'connectors/archive.yaml': archive.replace('file-archive', 'file-archiv')
    })
    const before = await readdir(folder.path, { recursive: true })
    const { code, stdout, stderr } = await run(['--config', 'worker.yaml'])
    expect({ code, stdout, stderr: withoutFolder(stderr) }).toEqual({
      code: 2,
      stdout: '',
      stderr: [
        'worker.yaml: segment.bytes: must be a size, from 1MiB to 1GiB, such as 64MiB (got "12")',
        'connectors/archive.yaml: connector.class: must be one of kafka-proxy, file-archive, s3-archive (got "file-archiv")',
        'connectors/proxy.yaml: topic.regex: unknown key: did you mean topics.regex? (got "orders")',
        ''
      ].join('\n')
    })
    expect(await readdir(folder.path, { recursive: true })).toEqual(before)
  })

  test('takes --set as often as it is given, each with one value, before or after the command', async () => {
    await write()
    const set = ['--set', 'segment.ms=1', '--set', 'segment.bytes=2']
    const inFront = await millrace([...set, 'run', '--config', 'worker.yaml'], { cwd: folder.path })
    const behind = await run(['--config', 'worker.yaml', ...set])
    expect(behind).toEqual(inFront)
    expect(behind.code).toBe(2)
    expect(behind.stderr.split('\n').map(line => line.slice(0, 18))).toEqual([
      '--set: segment.byt',
      '--set: segment.ms:',
      ''
    ])
  })

  test('reads the environment, and says so', async () => {
    await write()
    const { code, stderr } = await run([], {
      MILLRACE_CONFIG: 'worker.yaml',
      MILLRACE_LOG_LEVEL: 'loud',
      MILLRACE_BOOTSTRAP_SERVERS: 'nowhere'
    })
    expect({ code, lines: stderr.split('\n') }).toMatchObject({
      code: 2,
      lines: [
        'environment MILLRACE_BOOTSTRAP_SERVERS: bootstrap.servers: must be host:port, or several with commas (got "nowhere")',
        expect.stringMatching(/^environment MILLRACE_LOG_LEVEL: log\.level: .* \(got "loud"\)$/),
        ''
      ]
    })
  })

  test.each([
    ['an unknown flag', ['run', '--confg', 'x'], /confg/],
    ['an unknown command', ['rum'], /rum/],
    ['no command', [], /Name a command/],
    ['a flag twice', ['run', '--config', 'a.yaml', '--config', 'b.yaml'], /--config/]
  ])('%s ends with 2 and one sentence', async (_, args, message) => {
    const { code, stdout, stderr } = await millrace(args, { cwd: folder.path })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^ +at /m)
  })
})

describe('without any file', () => {
  const here = process.cwd()
  beforeEach(() => process.chdir(folder.path))
  afterEach(() => process.chdir(here))

  test('there is the embedded broker, with the connectors that come with Millrace', () => {
    const { worker, sources, archive } = loadConfiguration({ env: {} }, bundledConnectors)
    expect(worker['bootstrap.servers']).toBeUndefined()
    expect(upstreamOf(worker)).toEqual([{ host: '127.0.0.1', port: 9092 }])
    expect(sources.map(({ connector }) => connector.name)).toEqual(['kafka-proxy'])
    expect(archive.values['archive.url']).toBe('file:./data/archive')
  })

  test('a folder of connectors beside it is taken in place of those', async () => {
    await mkdir(join(folder.path, 'config', 'connectors'), { recursive: true })
    expect(thrown(() => loadConfiguration({ env: {} }, bundledConnectors))).toMatchObject({
      message: expect.stringMatching(/^config\/connectors: connector.class: must name exactly one archive/)
    })
  })
})

test('an embedded broker on all interfaces is reached by loopback', async () => {
  await write({ 'worker.yaml': `connectors.dir: ${join(folder.path, 'connectors')}\nbroker.listen: 0.0.0.0:9099\n` })
  expect(upstreamOf(load().worker)).toEqual([{ host: '127.0.0.1', port: 9099 }])
})

describe('the samples', () => {
  const sample = (name: string) => fileURLToPath(new URL(`../config/${name}`, import.meta.url))

  test('load as they are: a proxy in front of a local Kafka, and a folder', () => {
    const loaded = loadConfiguration(
      { file: sample('worker.yaml'), set: [`connectors.dir=${sample('connectors')}`], env: {} },
      bundledConnectors
    )
    expect(loaded.sources.map(({ connector }) => connector.name)).toEqual(['kafka-proxy'])
    expect(loaded.archive.connector.name).toBe('file-archive')
  })

  test('load with the bucket in place of the folder', async () => {
    await write({
      'connectors/proxy.yaml': await readFile(sample('connectors/kafka-proxy.yaml'), 'utf8'),
      'connectors/archive.yaml': await readFile(sample('examples/s3-archive.yaml'), 'utf8')
    })
    expect(load().archive.connector.name).toBe('s3-archive')
    expect(existsSync(sample('connectors/s3-archive.yaml'))).toBe(false)
  })
})
