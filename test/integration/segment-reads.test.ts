// A segment in a bucket: how many requests it takes to get to an offset, a time or a chunk.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, test, vi } from 'vitest'
import { openObjectStore } from '../../src/archive/object-store.ts'
import { SegmentReader } from '../../src/segment/reader.ts'
import { expectFewReads, large, small, write } from '../segment/few-reads.ts'
import { relayTo } from '../support/s3-relay.ts'
import { describeS3, useS3 } from '../support/servers.ts'
import { tempFolder } from '../support/temp.ts'

describeS3('a segment in a bucket', () => {
  beforeEach(() => {
    for (const [name, value] of Object.entries(useS3().env)) vi.stubEnv(name, value)
  })
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  test.each([
    ['small', small],
    ['large', large]
  ])('that is %s gives any offset, time or chunk for three requests', async (_, batches) => {
    await using folder = await tempFolder('segment')
    const file = join(folder.path, 'segment.tar.gz')
    write(batches, file)
    const bytes = await readFile(file)
    await using relay = await relayTo(useS3().endpoint)
    await using store = await openObjectStore(`s3://${await useS3().createBucket()}`, {
      s3: { endpoint: relay.endpoint }
    })
    await store.putIfAbsent('segment', bytes, createHash('sha256').update(bytes).digest('hex'))
    await expectFewReads(batches, async () => {
      relay.seen.length = 0
      const reader = await SegmentReader.open({
        name: 'segment',
        get: (start, end) => store.get('segment', { start, end }),
        tail: count => store.tail('segment', count)
      })
      return { reader, reads: () => relay.seen.length }
    })
  })
})
