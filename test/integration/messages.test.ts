// The message tables, field by field, against Kafka's own definitions: the JSON files inside its clients' jar.
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import type { Api } from '../../src/kafka/api.ts'
import { Cursor } from '../../src/kafka/cursor.ts'
import * as messages from '../../src/kafka/messages.ts'
import * as admin from '../../src/kafka/messages-admin.ts'
import * as groups from '../../src/kafka/messages-groups.ts'
import * as sasl from '../../src/kafka/messages-sasl.ts'
import type { Fields, Type } from '../../src/kafka/wire.ts'
import { runOrThrow } from '../support/child.ts'
import { kafkaVersion } from '../support/kafka-jars.ts'
import { describeWith, useKafkaJars } from '../support/servers.ts'
import { tempFolder } from '../support/temp.ts'

/** What Kafka says of a field; versions as `3+`, `0-12` or `4`. */
interface FieldSpec {
  readonly name: string
  readonly type: string
  readonly versions: string
  readonly tag?: number
  readonly taggedVersions?: string
  readonly nullableVersions?: string
  readonly fields?: readonly FieldSpec[]
}

interface MessageSpec {
  readonly apiKey: number
  readonly validVersions: string
  readonly flexibleVersions: string
  readonly fields: readonly FieldSpec[]
  readonly commonStructs?: readonly { name: string; fields: readonly FieldSpec[] }[]
}

type Range = readonly [min: number, max: number]

describeWith(['kafka-tools'], 'the message tables', () => {
  test.each(Object.values({ ...messages, ...admin, ...groups, ...sasl }) as Api[])(
    '$name is as Kafka defines it',
    async api => {
      const specs = await readSpecs(api.name)
      for (const side of ['request', 'response'] as const) {
        const spec = specs[side]
        const valid = range(spec.validVersions)
        expect(spec.apiKey).toBe(api.key)
        expect(spec.flexibleVersions).toBe(Number.isFinite(api.flexible) ? `${api.flexible}+` : 'none')
        expect(api.versions[0], 'lowest version').toBeGreaterThanOrEqual(valid[0])
        expect(api.versions[1], 'highest version').toBeLessThanOrEqual(valid[1])
        compare(`${api.name} ${side}`, api.fields[side], spec.fields, api.versions, spec)
      }
    }
  )
})

/** Compares the fields that are there in any of `versions`: names, order, versions, tags, types and nullability. */
function compare(path: string, ours: Fields, specs: readonly FieldSpec[], versions: Range, message: MessageSpec): void {
  const theirs = specs.filter(spec => overlap(range(spec.versions), versions) !== undefined)
  expect(Object.keys(ours), path).toEqual(theirs.map(({ name }) => camel(name)))
  for (const spec of theirs) {
    const at = `${path}: ${spec.name}`
    const field = ours[camel(spec.name)]!
    const there = overlap(range(spec.versions), versions)!
    expect(overlap([field.from, field.to], versions), `${at}, versions`).toEqual(there)
    expect(field.tag, `${at}, tag`).toBe(spec.tag ?? -1)
    if (spec.tag !== undefined)
      expect(range(spec.taggedVersions!), `${at}, tagged versions`).toEqual(range(spec.versions))
    const nested =
      spec.fields ?? message.commonStructs?.find(({ name }) => name === spec.type.replace('[]', ''))?.fields
    expect(field.fields === undefined, `${at}, has fields`).toBe(nested === undefined)
    if (nested) compare(at, field.fields!, nested, there, message)
    else if (!/^(bytes|records|\[\]\w+)$/.test(spec.type)) compareType(at, field, spec)
    compareNull(at, field, spec, there)
  }
}

/** A null that Kafka allows in some version must be readable; one that it never allows must be refused. */
function compareNull(path: string, field: Type<unknown, boolean>, spec: FieldSpec, versions: Range): void {
  const nullable = spec.nullableVersions !== undefined && overlap(range(spec.nullableVersions), versions) !== undefined
  const isText = /^(string|bytes|records|\[\])/.test(spec.type)
  if (!isText) return
  const flexible = { version: versions[1], flexible: true }
  const read = () => field.read(new Cursor(Buffer.from([0])), flexible)
  if (nullable) expect(read(), `${path}, null`).toBeNull()
  else expect(read, `${path}, null`).toThrow(/null/)
}

/** Scalars and strings, by what each reads of the same bytes. */
function compareType(path: string, field: Type<unknown, boolean>, { type }: FieldSpec): void {
  const bytes = Buffer.from('0001414243444546474849', 'hex')
  const cursor = new Cursor(Buffer.concat([bytes, bytes]))
  const [width, value] = expectations[type] ?? []
  expect(width, `${path}: a type this test does not know: ${type}`).toBeDefined()
  const read = field.read(cursor, { version: 0, flexible: false })
  expect([cursor.position, read], `${path}, type ${type}`).toEqual([width, value])
}

/** How many bytes each type takes of 00 01 41 42 …, in a version without compact lengths, and what it makes of them. */
const expectations: Readonly<Record<string, readonly [width: number, value: unknown]>> = {
  bool: [1, false],
  int8: [1, 0],
  int16: [2, 1],
  int32: [4, 0x00014142],
  int64: [8, 0x0001414243444546],
  uuid: [16, Buffer.from('00014142434445464748490001414243', 'hex').toString('base64url')],
  string: [3, 'A']
}

/** The definitions of an API's two messages, without the comments that JSON does not have. */
async function readSpecs(name: string): Promise<{ request: MessageSpec; response: MessageSpec }> {
  await using folder = await tempFolder('messages')
  const jar = join(dirname(useKafkaJars().classPath), `kafka-clients-${kafkaVersion}.jar`)
  const files = ['Request', 'Response'].map(side => `common/message/${name}${side}.json`)
  await runOrThrow('jar', ['xf', jar, ...files], { cwd: folder.path })
  const [request, response] = await Promise.all(
    files.map(async file => {
      const text = await readFile(join(folder.path, file), 'utf8')
      return JSON.parse(text.replace(/^\s*\/\/.*$/gm, '')) as MessageSpec
    })
  )
  return { request: request!, response: response! }
}

/** `3+` or `0-12` or `4` as numbers; `none` as no version at all. */
function range(versions: string): Range {
  const match = /^(\d+)(\+)?(?:-(\d+))?$/.exec(versions)
  if (match === null) return [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  const [, from, open, to] = match
  return [Number(from), open ? Number.POSITIVE_INFINITY : Number(to ?? from)]
}

function overlap(one: Range, other: Range): Range | undefined {
  const [min, max] = [Math.max(one[0], other[0]), Math.min(one[1], other[1])]
  return min <= max ? [min, max] : undefined
}

function camel(name: string): string {
  return name[0]!.toLowerCase() + name.slice(1)
}
