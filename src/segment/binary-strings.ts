// Strings in a binary value whose length stands before them, as Avro and Protobuf write them. Length, tag or number beside a
// string may be a letter by chance: 'H' before a UUID in Avro, '2' behind a string in Protobuf. Then the string's first or
// last word is grown together with it, and only the length tells where the string begins and ends.

import { isUtf8 } from 'node:buffer'

interface Stretch {
  readonly from: number
  /** Exclusive. */
  readonly to: number
}

/** Bytes of a value that are looked at: a record may have hundreds of MiB, and what is this large is no message. */
const MAX_BYTES = 1024 * 1024
const MAX_DEPTH = 8
const MAX_VARINT_BYTES = 10

/** The strings that have grown together with a byte beside them, in their order. */
export function grownStrings(value: Buffer): string[] {
  const bytes = value.subarray(0, MAX_BYTES)
  const text = new TextMap(bytes)
  const strings =
    protobufStrings(text, { from: protobufStart(bytes), to: bytes.length }, MAX_DEPTH) ?? avroStrings(text)
  return strings.filter(({ from, to }) => isGrown(bytes, from) || isGrown(bytes, to)).map(one => text.of(one))
}

/** Where some bytes are text: printable UTF-8. */
class TextMap {
  readonly bytes: Buffer
  /** For each byte, the length of the character that begins there; 0 where none does. */
  readonly #lengths: Uint8Array
  /** For each byte that begins a character, where the text that it is in ends. */
  readonly #ends: Uint32Array

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.#lengths = new Uint8Array(bytes.length + 1)
    this.#ends = new Uint32Array(bytes.length + 1)
    for (let at = 0; at < bytes.length; at += this.#lengths[at] || 1) this.#lengths[at] = characterAt(bytes, at)
    for (let at = bytes.length - 1; at >= 0; at--) {
      const next = at + this.#lengths[at]!
      this.#ends[at] = next > at ? Math.max(next, this.#ends[next]!) : at
    }
  }

  isText({ from, to }: Stretch): boolean {
    const end = this.#ends[from]!
    return from < to && to <= end && (to === end || this.#lengths[to]! > 0)
  }

  of({ from, to }: Stretch): string {
    return this.bytes.toString('utf8', from, to)
  }
}

/** The bytes of the printable character at a place; 0 where there is none. */
function characterAt(bytes: Buffer, at: number): number {
  const first = bytes[at]!
  if (first < 0x80)
    return (first >= 0x20 && first !== 0x7f) || first === 0x09 || first === 0x0a || first === 0x0d ? 1 : 0
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
  return length > 0 && at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0
}

/** The strings of a Protobuf message (https://protobuf.dev/programming-guides/encoding/); null where there is none. */
function protobufStrings(text: TextMap, { from, to }: Stretch, depth: number): Stretch[] | null {
  if (from >= to) return null
  const { bytes } = text
  const found: Stretch[] = []
  for (let at = from; at < to; ) {
    const tag = varintAt(bytes, at)
    at += varintBytes(bytes, at)
    if (tag < 8 || at >= to) return null
    const type = tag % 8
    if (type === 0) at += varintBytes(bytes, at)
    else if (type === 1) at += 8
    else if (type === 5) at += 4
    else if (type === 2) {
      const field = { from: at + varintBytes(bytes, at), to: at + varintBytes(bytes, at) + varintAt(bytes, at) }
      at = field.to
      if (at <= to && field.from < at) found.push(...fieldStrings(text, field, depth))
    } else return null
    if (!(at <= to)) return null
  }
  return found
}

/** What a length announces is a string or a message; one that begins with a control character has a tag there. */
function fieldStrings(text: TextMap, field: Stretch, depth: number): Stretch[] {
  const isText = text.isText(field)
  if (isText && text.bytes[field.from]! >= 0x20) return [field]
  const inner = depth > 0 ? protobufStrings(text, field, depth - 1) : null
  return inner ?? (isText ? [field] : [])
}

/** Behind the header that Confluent's serializer writes: a zero, a schema's id of four bytes, and which message it is. */
function protobufStart(bytes: Buffer): number {
  if (bytes[0] !== 0) return 0
  let at = 5
  let indexes = varintAt(bytes, at) / 2
  at += varintBytes(bytes, at)
  for (; indexes > 0 && at < bytes.length; indexes--) at += varintBytes(bytes, at)
  return at
}

/**
 * The strings of an Avro datum (https://avro.apache.org/docs/1.12.0/specification/#binary-encoding), without its schema: of all
 * ways to take what may be a length for one, that by which strings make up the most bytes.
 */
function avroStrings(text: TextMap): Stretch[] {
  const { bytes } = text
  const covered = new Uint32Array(bytes.length + 1)
  const ends = new Uint32Array(bytes.length + 1)
  for (let at = bytes.length - 1; at >= 0; at--) {
    const string = avroStringAt(bytes, at)
    const gain = text.isText(string) ? string.to - string.from + covered[string.to]! : 0
    covered[at] = Math.max(gain, covered[at + 1]!)
    if (gain > covered[at + 1]!) ends[at] = string.to
  }
  const found: Stretch[] = []
  for (let at = 0; at < bytes.length; at = ends[at] || at + 1) {
    if (ends[at]! > 0) found.push(avroStringAt(bytes, at))
  }
  return found
}

/** Behind a length at some place; empty where there is no length. Lengths are zigzag, so that an odd one is negative. */
function avroStringAt(bytes: Buffer, at: number): Stretch {
  const from = at + varintBytes(bytes, at)
  const length = varintAt(bytes, at) / 2
  const to = from + length
  return Number.isInteger(length) && to <= bytes.length ? { from, to } : { from, to: from }
}

/** How many bytes a varint takes; infinite where it does not end. */
function varintBytes(bytes: Buffer, at: number): number {
  for (let length = 1; length <= MAX_VARINT_BYTES && at + length <= bytes.length; length++) {
    if (bytes[at + length - 1]! < 0x80) return length
  }
  return Number.POSITIVE_INFINITY
}

/** The unsigned number of a varint, which is one where `varintBytes` is finite. */
function varintAt(bytes: Buffer, at: number): number {
  let value = 0
  for (let i = 0; i < MAX_VARINT_BYTES && at + i < bytes.length; i++) {
    value += (bytes[at + i]! & 0x7f) * 2 ** (7 * i)
    if (bytes[at + i]! < 0x80) break
  }
  return value
}

/** True where the bytes on both sides of a place belong to one word. */
function isGrown(bytes: Buffer, at: number): boolean {
  return at > 0 && at < bytes.length && isOfWord(bytes[at - 1]!) && isOfWord(bytes[at]!)
}

function isOfWord(byte: number): boolean {
  const letter = byte | 0x20
  return byte >= 0x80 || (byte >= 0x30 && byte <= 0x39) || (letter >= 0x61 && letter <= 0x7a)
}
