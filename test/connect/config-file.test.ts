// Configuration files: the same keys and texts from YAML, JSON and properties, and what is said of a file that is none.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { ConfigFile } from '../../src/connect/config-file.ts'
import { readConfigFile } from '../../src/connect/config-file.ts'
import { formatFault } from '../../src/connect/options.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'

let folder: TempFolder
beforeAll(async () => {
  folder = await tempFolder('config-file')
})
afterAll(() => folder.dispose())

async function read(name: string, content: string): Promise<ConfigFile> {
  const file = join(folder.path, name)
  await writeFile(file, content)
  return readConfigFile(file)
}

/** Keys and texts alone. */
async function texts(name: string, content: string): Promise<Record<string, string>> {
  const { values, fault } = await read(name, content)
  expect(fault).toBeUndefined()
  return Object.fromEntries([...values].map(([key, { text }]) => [key, text]))
}

/** What is said of the whole file, without the folder. */
async function faultOf(name: string, content: string): Promise<string> {
  const { values, fault } = await read(name, content)
  expect(values.size).toBe(0)
  return formatFault(fault!).replaceAll(`${folder.path}/`, '')
}

const expected = {
  name: 'orders',
  listen: '127.0.0.1:19092',
  'tasks.max': '1',
  'topics.regex': 'a=b:.*',
  topics: 'a,b'
}

test('YAML, JSON, properties and the JSON that Connect takes say the same', async () => {
  const yaml =
    'name: orders # the name\nlisten: 127.0.0.1:19092\ntasks.max: 1\ntopics.regex: "a=b:.*"\ntopics: [a, b]\n'
  const properties =
    '# a comment\n! another\n\nname=orders\r\nlisten: 127.0.0.1:19092\n  tasks.max = 1\ntopics.regex=a=b:.*\ntopics=a,\\\n    b\n'
  const { name, ...config } = { ...expected, 'tasks.max': 1, topics: ['a', 'b'] }
  expect(await texts('a.yaml', yaml)).toEqual(expected)
  expect(await texts('a.yml', yaml)).toEqual(expected)
  expect(await texts('a.json', JSON.stringify({ name, ...config }))).toEqual(expected)
  expect(await texts('connect.json', JSON.stringify({ name, config }))).toEqual(expected)
  expect(await texts('connect-2.json', JSON.stringify({ config: { name, ...config } }))).toEqual(expected)
  expect(await texts('a.properties', properties)).toEqual(expected)
})

test('a backslash in properties means what it does to Java', async () => {
  const lines = [String.raw`a=one\\two\"three\:\u00e9\n`, String.raw`b=ends with \\`, 'c=goes \\', '   on', '']
  const same = { a: 'one\\two"three:é\n', b: 'ends with \\', c: 'goes on' }
  expect(await texts('escapes.properties', lines.join('\n'))).toEqual(same)
})

test('a comment in properties ends with its line, whatever it ends in, and begins none that goes on', async () => {
  const lines = [
    '# C:\\data\\',
    'a=1',
    '  ! and \\',
    'b=2',
    'c=one \\',
    '  # two \\',
    '! three',
    '#\\',
    '#',
    'd=4 \\\\',
    'e=5'
  ]
  const same = { a: '1', b: '2', c: 'one # two ! three', d: '4 \\', e: '5' }
  expect(await texts('comments.properties', lines.join('\n'))).toEqual(same)
  expect(await texts('windows.properties', lines.join('\r\n'))).toEqual(same)
})

describe('a number or a boolean is read as it is written', () => {
  const written = [
    '1.10',
    '007',
    '0123456',
    '0x1F',
    '12345678901234567890',
    '1e3',
    '-0',
    '.inf',
    'TRUE',
    'true',
    '8192'
  ]
  const same = Object.fromEntries(written.map((text, i) => [`k${i}`, text]))

  test('in YAML, also in a list and where an alias repeats it', async () => {
    const yaml = written.map((text, i) => `k${i}: ${text}\n`).join('')
    expect(await texts('numbers.yaml', yaml)).toEqual(same)
    const repeated = 'a: [1.10, 007, true]\nb: &anchor 1.50 # one and a half\nc: *anchor\n007: d\n'
    expect(await texts('repeated.yaml', repeated)).toEqual({ a: '1.10,007,true', b: '1.50', c: '1.50', '007': 'd' })
  })

  test('in JSON', async () => {
    const json = written.filter(text => /^(-?[1-9].*|-0|true)$/.test(text))
    expect(json).toHaveLength(6)
    const content = `{${json.map((text, i) => `"k${i}": ${text}`).join(', ')}}`
    expect(await texts('numbers.json', content)).toEqual(Object.fromEntries(json.map((text, i) => [`k${i}`, text])))
  })
})

test('text in YAML may be quoted, folded or in lines, and what is quoted is no null', async () => {
  const yaml =
    'a: "1.10"\nb: \'null\'\nc: >-\n  one\n  two\nd: |\n  1.0\n  2.0\ne: one\n  two\nf: "\\u00e9\\n"\ng: ~\nh: NULL\n'
  const same = { a: '1.10', b: 'null', c: 'one two', d: '1.0\n2.0\n', e: 'one two', f: 'é\n' }
  expect(await texts('strings.yaml', yaml)).toEqual(same)
})

test('keys without a value are as if they were not there', async () => {
  expect(await texts('empty-keys.yaml', 'a:\nb: null\nc: ""\nd: false\n')).toEqual({ c: '', d: 'false' })
  expect(await texts('empty.yaml', '')).toEqual({})
  expect(await texts('comments.yaml', '# nothing yet\n')).toEqual({})
})

test('every value says which file it is from', async () => {
  const { values } = await read('source.yaml', 'a: 1\n')
  expect(values.get('a')).toEqual({ text: '1', source: join(folder.path, 'source.yaml') })
})

test('nested YAML is refused with the way to write it', async () => {
  const { values } = await read('nested.yaml', 'segment:\n  bytes: 1MiB\nservers: [{host: a}]\n')
  const broken = 'must be a single value: write nested keys with dots'
  expect(values.get('segment')).toMatchObject({ broken, text: '{"bytes":"1MiB"}' })
  expect(values.get('servers')).toMatchObject({ broken, text: '[{"host":"a"}]' })
})

describe('an environment variable in a value', () => {
  test('is replaced, wherever it stands', async () => {
    vi.stubEnv('CONFIG_TEST_HOST', 'kafka')
    vi.stubEnv('CONFIG_TEST_EMPTY', '')
    try {
      const content = `a: \${env:CONFIG_TEST_HOST}:\${env:CONFIG_TEST_HOST}\nb: "x\${env:CONFIG_TEST_EMPTY}"\nc: \${HOME}\n`
      const same = { a: 'kafka:kafka', b: 'x', c: `\${HOME}` }
      expect(await texts('env.yaml', content)).toEqual(same)
      expect(await texts('env.properties', content.replaceAll('"', ''))).toEqual(same)
    } finally {
      vi.unstubAllEnvs()
    }
  })

  test('is a fault of the key when the variable is not set', async () => {
    const { values } = await read('missing.yaml', `a: \${env:CONFIG_TEST_NONE}/\${env:CONFIG_TEST_NEITHER}\n`)
    expect(values.get('a')).toMatchObject({
      text: `\${env:CONFIG_TEST_NONE}/\${env:CONFIG_TEST_NEITHER}`,
      broken: 'environment variable CONFIG_TEST_NONE, CONFIG_TEST_NEITHER must be set'
    })
  })
})

test('a file that cannot be read is named, in one line', async () => {
  expect(formatFault(readConfigFile('no/such.yaml').fault!)).toMatch(/^no\/such\.yaml: cannot be read: ENOENT/)
  expect(formatFault(readConfigFile(folder.path).fault!)).toMatch(/cannot be read: EISDIR/)
})

test.each([
  ['a tab', 'a: 1\n\tb: 2\n', /^x\.yaml: cannot be read: .* at line 2, column 1$/],
  ['a key twice', 'a: 1\nb: 2\na: 3\n', /^x\.yaml: cannot be read: Map keys must be unique at line 3, column 1$/],
  ['a mapping in a value', 'a: b: c\n', /^x\.yaml: cannot be read: Nested mappings .* at line 1, column 4$/],
  ['a list', '- a\n- b\n', /^x\.yaml: cannot be read: it must hold keys with values$/],
  ['a word', 'word\n', /^x\.yaml: cannot be read: it must hold keys with values$/],
  ['an unquoted star', 'topics.regex: *\n', /^x\.yaml: cannot be read: .*[Aa]lias.* at line 1, column 15$/],
  ['an unquoted pattern', 'topics.regex: *orders\n', /^x\.yaml: cannot be read: .*[Aa]lias.*orders/],
  ['an unfinished JSON object', '{"a": 1,\n', /^x\.yaml: cannot be read: .* at line 2, column 1$/]
])('%s is one line with its place', async (_, content, line) => {
  expect(await faultOf('x.yaml', content)).toMatch(line)
})
