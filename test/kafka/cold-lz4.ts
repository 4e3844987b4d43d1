// Decompresses one frame, the first of its process, of text in which few lengths are long: `node cold-lz4.ts`.
import assert from 'node:assert'
import { compressFrameSync } from 'lz4-napi'
import { unlz4Frame } from '../../src/kafka/lz4-frame.ts'

let state = 1
const random = (below: number): number => {
  state = (state * 48_271) % 0x7fffffff // Lehmer's generator: the same text each time
  return state % below
}
const words = Array.from({ length: 2_000 }, () => random(2 ** 30).toString(36))
const text = Array.from({ length: 9_000 }, () => words[random(words.length)]!).join(' ')
const data = Buffer.from(text)
assert(unlz4Frame(compressFrameSync(data), data.length)?.equals(data))
