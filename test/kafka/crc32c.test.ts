import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { combineCrc32c } from '../../src/kafka/crc32c.ts'

test('the CRC of two pieces is that of the whole', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 70_000 }), (first, second) => {
      expect(combineCrc32c(crc32c(first), crc32c(second), second.length)).toBe(crc32c(Buffer.concat([first, second])))
    })
  )
})

test.for([0, 1, 2 ** 16 - 1, 2 ** 16, 2 ** 26 + 12_345])('a second piece of %i bytes', length => {
  const [first, second] = [Buffer.from('first'), Buffer.alloc(length, 'second')]
  expect(combineCrc32c(crc32c(first), crc32c(second), length)).toBe(crc32c(second, crc32c(first)))
})
