// What was archived in an older format version is searched like all else: by words, phrases, fields and keys.
import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SegmentManifest } from '../../src/segment/manifest.ts'
import { SEGMENT_FORMAT_VERSION } from '../../src/segment/manifest.ts'
import { World } from './world.ts'

const versions = Array.from({ length: SEGMENT_FORMAT_VERSION }, (_, i) => i + 1)

describe.each(versions)('an archive of format version %i', version => {
  const path = (kind: string) => fileURLToPath(new URL(`../fixtures/segment/v${version}.${kind}`, import.meta.url))
  let world: World
  let manifest: SegmentManifest

  beforeAll(async () => {
    world = await World.make()
    manifest = JSON.parse(await readFile(path('json'), 'utf8')).manifest
    const { clusterId, topic, topicId, partition, baseOffset } = manifest
    const stream = { clusterId, topic, topicId, partition }
    await world.archive.createRoot(stream, baseOffset, 'test')
    const contents = await readFile(path('tar.gz'))
    const segment = {
      path: path('tar.gz'),
      size: contents.length,
      sha256: hash('sha256', contents),
      manifest,
      batches: []
    }
    expect(await world.archive.append(stream, segment)).not.toBeNull()
  })
  afterAll(() => world[Symbol.asyncDispose]())

  test.for<[string, number[]]>([
    ['o-777', [777]],
    ['"777 o"', []],
    ['"status shipped" t.605', [605]],
    ['"shipped status" t.605', []],
    ['value.order:"o 777"', [777]],
    ['header.trace-id:t.778 OR value.order:o-777', [777, 778]],
    ['header:o-777', []],
    ['key:customer t.779', [779]],
    ['value:customer t.779', []],
    ['t.1000 key=customer-6', [1000]],
    ['t.1000 key=customer', []],
    ['t.1000 NOT "trace id"', []],
    ['(t.605 OR t.606) NOT "status shipped"', [606]],
    ['"o 77"* 777', [777]]
  ])('%s', async ([query, expected]) => {
    const { records } = await world.search(query, { order: 'oldest' })
    expect(records.map(({ offset }) => offset - manifest.baseOffset)).toEqual(expected)
    expect((await world.count(query, {})).count).toBe(expected.length)
  })
})
