// The table of contents: found from the end, believed only where it fits the file.
import { gunzipSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Toc } from '../../src/segment/toc.ts'
import { decodeToc, encodeToc, MAX_TOC_BYTES } from '../../src/segment/toc.ts'

/** Two files of 600 and 0 bytes, laid out as the writer lays them. */
const toc: Toc = {
  members: [
    { name: 'segment.json', offset: 512, size: 600 },
    { name: 'x.log', offset: 2048, size: 0 }
  ],
  chunks: [
    { compressed: 100, size: 1536 },
    { compressed: 90, size: 512 },
    { compressed: 30, size: 1024 }
  ]
}
const CHUNK_BYTES = 220

function decode(member: Buffer, chunkBytes = CHUNK_BYTES): Toc {
  return decodeToc(member, chunkBytes + member.length, 'some/segment')
}

test('comes back as it was written, also from behind other bytes', () => {
  const member = encodeToc(toc)
  expect(decode(member)).toEqual(toc)
  expect(decodeToc(Buffer.concat([Buffer.alloc(99, 7), member]), CHUNK_BYTES + member.length, 's')).toEqual(toc)
})

test('is an empty gzip member', () => {
  expect(gunzipSync(encodeToc(toc))).toHaveLength(0)
})

test('has room for a segment of 2 GiB, in one read from the end', () => {
  const chunks = Array.from({ length: 10_000 }, (_, i) => ({
    compressed: 60_000 + ((i * 7919) % 9_000),
    size: 262_144
  }))
  const size = chunks.length * 262_144
  const big: Toc = {
    members: [{ name: 'a.log', offset: 512, size: size - 512 }],
    chunks: [...chunks, { compressed: 30, size: 1024 }]
  }
  const member = encodeToc(big)
  expect(member.length).toBeLessThanOrEqual(MAX_TOC_BYTES)
  expect(
    decode(
      member,
      big.chunks.reduce((sum, { compressed }) => sum + compressed, 0)
    )
  ).toEqual(big)
})

test('every flipped bit is noticed', () => {
  const member = encodeToc(toc)
  for (let bit = 0; bit < member.length * 8; bit++) {
    const flipped = Buffer.from(member)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    expect(() => decode(flipped), `bit ${bit}`).toThrow(expect.objectContaining({ code: 'SEGMENT_CORRUPT' }))
  }
})

test('any other bytes are refused by name', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
      expect(() => decodeToc(Buffer.from(bytes), bytes.length, 'some/segment')).toThrow(
        expect.objectContaining({ code: 'SEGMENT_CORRUPT', message: expect.stringContaining('some/segment') })
      )
    })
  )
})

const [first, second, end] = toc.chunks as [Toc['chunks'][0], Toc['chunks'][0], Toc['chunks'][0]]
const [json, log] = toc.members as [Toc['members'][0], Toc['members'][0]]
const hostile: [what: string, toc: Toc, message: string][] = [
  ['a path', { ...toc, members: [json, { ...log, name: '../../etc/passwd' }] }, 'members.1.0'],
  ['a name that is only dots', { ...toc, members: [json, { ...log, name: '..' }] }, 'members.1.0'],
  ['a name twice', { ...toc, members: [json, { ...log, name: json.name }] }, 'where it cannot be'],
  ['a file that ends behind the tar', { ...toc, members: [json, { ...log, size: 2 ** 40 }] }, 'files up to byte'],
  ['files over each other', { ...toc, members: [json, { ...log, offset: 512 }] }, 'where it cannot be'],
  ['a file inside a gzip member', { ...toc, members: [{ ...json, size: 100 }, log] }, 'where it cannot be'],
  ['a negative size', { ...toc, members: [json, { ...log, size: -1 }] }, 'members.1.2'],
  ['fewer chunks than the file has', { ...toc, chunks: [first, second] }, 'bytes of chunks'],
  [
    'a chunk that no deflate stream can fill',
    { ...toc, chunks: [{ ...first, size: 2 ** 20 }, second, end] },
    'gzip member of'
  ],
  ['a huge chunk', { ...toc, chunks: [{ ...first, size: 2 ** 33 }, second, end] }, 'chunks.0.1'],
  ['an empty chunk', { ...toc, chunks: [first, second, { compressed: 30, size: 0 }] }, 'chunks.2.1']
]

test.for(hostile)('%s is refused', ([, wrong, message]) => {
  expect(() => decode(encodeToc(wrong))).toThrow(
    expect.objectContaining({ code: 'SEGMENT_CORRUPT', message: expect.stringContaining(message) })
  )
})

test('a later version is named', async () => {
  const { deflateRawSync } = await import('node:zlib')
  const member = encodeToc(toc)
  const table = deflateRawSync('{"version":7}')
  const check = Buffer.alloc(8)
  check.writeUInt32LE(crc32c(table))
  const total = 16 + table.length + 8 + 10
  check.writeUInt32LE(total, 4)
  const later = Buffer.concat([member.subarray(0, 16), table, check, member.subarray(-10)])
  later.writeUInt16LE(table.length + 12, 10)
  later.writeUInt16LE(table.length + 8, 14)
  expect(() => decode(later)).toThrow(/version 7; this Millrace reads 1/)
})
