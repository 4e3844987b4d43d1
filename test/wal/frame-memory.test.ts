// The memory in which appends are laid out: regions that are in use never share a byte, and what is given back is used again.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Region } from '../../src/wal/frame-memory.ts'
import { FrameMemory } from '../../src/wal/frame-memory.ts'

const MiB = 1024 * 1024

test('regions in use never share a byte, and memory does not grow beyond a few times what was in use at once', () => {
  const sizes = fc.oneof(fc.integer({ min: 1, max: MiB }), fc.integer({ min: 1, max: 9 * MiB }))
  // Appends are settled in their order, but for those of a commit, whose order is any.
  const steps = fc.array(fc.record({ bytes: sizes, settled: fc.nat(3) }), { minLength: 1, maxLength: 200 })
  fc.assert(
    fc.property(steps, steps => {
      const memory = new FrameMemory()
      const used: (Region & { bytes: number })[] = []
      const slabs: SharedArrayBuffer[] = []
      let peak = 0
      for (const { bytes, settled } of steps) {
        const region = memory.take(bytes)
        slabs.push(...memory.takeNew())
        expect(slabs[region.slab]).toBe(region.memory)
        expect(region.start + bytes).toBeLessThanOrEqual(region.memory.byteLength)
        for (const other of used.filter(({ slab }) => slab === region.slab)) {
          expect(other.start + other.bytes <= region.start || region.start + bytes <= other.start).toBe(true)
        }
        used.push({ ...region, bytes })
        peak = Math.max(
          peak,
          used.reduce((sum, one) => sum + one.bytes, 0)
        )
        for (const one of used.splice(0, settled)) memory.give(one)
      }
      const made = slabs.reduce((sum, { byteLength }) => sum + byteLength, 0)
      expect(made).toBeLessThanOrEqual(4 * peak + 8 * MiB)
    })
  )
})

test('an append after the other is laid out in the same slab, however many there are', () => {
  const memory = new FrameMemory()
  for (const bytes of [64 * 1024, 3 * MiB, 100]) for (let i = 0; i < 1000; i++) memory.give(memory.take(bytes))
  expect(memory.takeNew().map(({ byteLength }) => byteLength / MiB)).toEqual([2, 4])
})
