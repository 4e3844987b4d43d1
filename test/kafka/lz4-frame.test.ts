// LZ4 frames are read as the library that writes them reads them, and nothing in them leads out of their memory.
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { compressFrameSync } from 'lz4-napi'
import { expect, test } from 'vitest'
import { isMillraceError } from '../../src/errors.ts'
import { unlz4Frame } from '../../src/kafka/lz4-frame.ts'
import { runToEnd } from '../support/child.ts'

const LIMIT = 2 ** 24

/** Runs, words and noise: short matches and long ones, such that repeat themselves, and none. */
const contents = fc
  .array(
    fc.oneof(
      fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 400 })),
      fc.tuple(fc.uint8Array({ maxLength: 400 }), fc.constant(1))
    ),
    { maxLength: 40 }
  )
  .map(parts => Buffer.concat(parts.flatMap(([piece, times]) => Array<Uint8Array>(times).fill(piece))))

test('what the library wrote is read', () => {
  fc.assert(
    fc.property(contents, data => {
      expect(unlz4Frame(compressFrameSync(data), LIMIT)?.equals(data)).toBe(true)
      expect(unlz4Frame(compressFrameSync(data), data.length)?.equals(data)).toBe(true)
      if (data.length > 0) expect(unlz4Frame(compressFrameSync(data), data.length - 1)).toBeNull()
    }),
    { numRuns: 500 }
  )
})

test('a frame with any byte changed gives something, or is refused', () => {
  fc.assert(
    fc.property(contents, fc.nat(), fc.integer({ min: 1, max: 255 }), (data, at, change) => {
      const frame = compressFrameSync(data)
      frame[at % frame.length]! ^= change
      try {
        expect(unlz4Frame(frame, LIMIT)?.length ?? 0).toBeLessThanOrEqual(LIMIT)
      } catch (error) {
        if (!isMillraceError(error, 'BATCH_CORRUPT')) throw error
      }
    }),
    { numRuns: 2_000 }
  )
})

// V8's Maglev got a length of 270 and more wrong (Node 26.10) when the loop that reads it was in a closure over the position, and
// the loop around that was compiled while it ran. With this option that happens at the same place each time.
test.each([[[]], [['--no-concurrent-osr']]])(
  'what is read is right while it is being compiled, with %j',
  async flags => {
    const program = fileURLToPath(new URL('cold-lz4.ts', import.meta.url))
    const { code, stderr } = await runToEnd(process.execPath, [...flags, program])
    expect(stderr.toString()).toBe('')
    expect(code).toBe(0)
  }
)
