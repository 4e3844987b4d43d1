// The splitting of a byte stream into frames, at every place where a network may cut it.
import { describe, expect, test } from 'vitest'
import { FrameSplitter, REQUEST_HEAD_BYTES, RESPONSE_HEAD_BYTES } from '../../src/kafka/frames.ts'
import { frameFixture } from '../fixtures/load.ts'
import { thrown } from '../support/thrown.ts'

const first = frameFixture('kafkajs-FindCoordinator-v2-request').frame
const second = frameFixture('librdkafka-ApiVersions-v3-request').frame
const stream = Buffer.concat([first, second])

interface Seen {
  readonly head: Buffer
  readonly size: number
  data: Buffer
  ended: boolean
}

/** A splitter that notes each frame; `refuse` says no to one that begins. */
function noting(refuse: () => boolean = () => false, maxBytes?: number) {
  const frames: Seen[] = []
  const splitter = new FrameSplitter(
    {
      begin(head, size) {
        expect(frames.at(-1)?.ended).not.toBe(false)
        if (refuse()) return false
        frames.push({ head: Buffer.from(head), size, data: Buffer.alloc(0), ended: false })
        return true
      },
      data(chunk) {
        const frame = frames.at(-1)!
        expect(frame.ended).toBe(false)
        frame.data = Buffer.concat([frame.data, chunk])
      },
      end() {
        frames.at(-1)!.ended = true
      }
    },
    REQUEST_HEAD_BYTES,
    { maxBytes }
  )
  return { splitter, frames }
}

const whole = [first, second].map(frame => ({
  head: frame.subarray(0, 12),
  size: frame.length,
  data: frame,
  ended: true
}))

describe('two frames', () => {
  test('arrive the same wherever the stream is cut once', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const { splitter, frames } = noting()
      expect(splitter.push(stream.subarray(0, cut))).toBeNull()
      expect(splitter.idle, `after ${cut} bytes`).toBe([0, first.length, stream.length].includes(cut))
      expect(splitter.push(stream.subarray(cut))).toBeNull()
      expect(frames, `cut at ${cut}`).toEqual(whole)
      expect(splitter.idle).toBe(true)
    }
  })

  test.each([1, 2, 3, 5, 7, 11, 13])('arrive the same in pieces of %d bytes', size => {
    const { splitter, frames } = noting()
    for (let at = 0; at < stream.length; at += size) splitter.push(stream.subarray(at, at + size))
    expect(frames).toEqual(whole)
  })

  test('go on as they come, before their end', () => {
    const { splitter, frames } = noting()
    splitter.push(first.subarray(0, 20))
    expect(frames).toMatchObject([{ data: first.subarray(0, 20), ended: false }])
  })
})

describe('a frame that is refused', () => {
  test('is offered again with the rest, wherever the stream is cut, and however often', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      let refusals = 2
      const { splitter, frames } = noting(() => frames.length === 1 && refusals-- > 0)
      let waiting: Buffer | null = null
      for (const piece of [stream.subarray(0, cut), stream.subarray(cut)]) {
        waiting = splitter.push(waiting === null ? piece : Buffer.concat([waiting, piece]))
      }
      // What has not come before the cut has been refused once at most.
      while (waiting !== null) waiting = splitter.push(waiting)
      expect(refusals, `cut at ${cut}`).toBeLessThanOrEqual(0)
      expect(frames, `cut at ${cut}`).toEqual(whole)
    }
  })

  test('keeps nothing of it but the rest that is given back', () => {
    const { splitter, frames } = noting(() => frames.length === 1)
    expect(splitter.push(stream)).toEqual(second)
    expect(frames).toEqual(whole.slice(0, 1))
    expect(splitter.idle).toBe(true)
  })
})

describe('a size that cannot be', () => {
  const withSize = (size: number) => {
    const frame = Buffer.alloc(64)
    frame.writeInt32BE(size)
    return frame
  }

  test('the limit is allowed, a byte more is not', () => {
    const limit = 1000
    expect(noting(undefined, limit).splitter.push(withSize(limit))).toBeNull()
    expect(thrown(() => noting(undefined, limit).splitter.push(withSize(limit + 1)))).toMatchObject({
      code: 'WIRE_CORRUPT',
      message: expect.stringContaining('1001 bytes (limit 1000)')
    })
  })

  test('by default the limit is 100 MiB, of what the size field tells, as brokers have it', () => {
    expect(noting().splitter.push(withSize(104_857_600))).toBeNull()
    expect(thrown(() => noting().splitter.push(withSize(104_857_601)))).toMatchObject({ code: 'WIRE_CORRUPT' })
  })

  test.each([-1, -4, -0x80000000, 0, 7])('%d: a request has 8 bytes or more', size => {
    expect(thrown(() => noting().splitter.push(withSize(size)))).toMatchObject({ code: 'WIRE_CORRUPT' })
  })

  test('in every cut', () => {
    for (let cut = 0; cut < REQUEST_HEAD_BYTES; cut++) {
      const { splitter } = noting()
      splitter.push(withSize(-1).subarray(0, cut))
      expect(thrown(() => splitter.push(withSize(-1).subarray(cut)))).toMatchObject({ code: 'WIRE_CORRUPT' })
    }
  })
})

describe('TLS', () => {
  // The starts of a ClientHello and of an alert record (RFC 8446, section 5.1).
  const hello = Buffer.from('16030100c8010000c40303', 'hex')
  const alert = Buffer.from('15030300020228', 'hex')

  test.each([
    ['a ClientHello', REQUEST_HEAD_BYTES, hello],
    ['an alert', RESPONSE_HEAD_BYTES, alert]
  ])('%s is named as what it is', (_, headBytes, bytes) => {
    const splitter = new FrameSplitter({ begin: () => true, data() {}, end() {} }, headBytes)
    const error = thrown(() => splitter.push(Buffer.concat([bytes, Buffer.alloc(8)])))
    expect(error).toMatchObject({ code: 'WIRE_CORRUPT', hint: expect.stringContaining('TLS') })
  })

  test('other nonsense gets no such hint', () => {
    const error = thrown(() => noting().splitter.push(Buffer.from('GET / HTTP/1.1\r\n\r\n')))
    expect(error).toMatchObject({ code: 'WIRE_CORRUPT', hint: undefined })
  })
})
