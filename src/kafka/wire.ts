// Kafka's wire types. A type reads and writes itself for one protocol version, so a table of fields is the whole codec.
import { MillraceError } from '../errors.ts'
import { Cursor, readInt64, Sink, writeInt64 } from './cursor.ts'

export interface Context {
  readonly version: number
  readonly flexible: boolean
}

/** A tagged field (KIP-482) that the table does not know; it is kept and written again. */
export interface UnknownTag {
  tag: number
  data: Buffer
}

type Read<T> = (cursor: Cursor, context: Context) => T
type Write<T> = (sink: Sink, value: T, context: Context) => void

/** How one field is read and written, and in which versions it is there. */
export class Type<T, Optional extends boolean = false> {
  readonly read: Read<T>
  readonly write: Write<T>
  readonly fallback: T | undefined
  readonly from: number = 0
  readonly to: number = Number.POSITIVE_INFINITY
  readonly tag: number = -1
  /** The fields of a struct, or of the structs in an array. */
  readonly fields: Fields | undefined = undefined
  declare readonly optional: Optional

  constructor(read: Read<T>, write: Write<T>, fallback?: T) {
    this.read = read
    this.write = write
    this.fallback = fallback
  }

  since(from: number): Type<T, true> {
    return derive(this, { from })
  }

  until(to: number): Type<T, true> {
    return derive(this, { to })
  }

  tagged(tag: number, from: number): Type<T, true> {
    return derive(this, { tag, from })
  }

  /** The value written when the caller leaves the field out. */
  or(fallback: T): Type<T, true> {
    return derive(this, { fallback })
  }

  present({ version }: Context): boolean {
    return version >= this.from && version <= this.to
  }
}

function derive<T, O extends boolean>(type: Type<any, boolean>, changes: object): Type<T, O> {
  return Object.assign(Object.create(Type.prototype), type, changes)
}

function fixed<T>(
  size: number,
  get: (b: Buffer, at: number) => T,
  set: (b: Buffer, v: T, at: number) => void,
  zero: T
) {
  return new Type<T>(
    cursor => get(cursor.buffer, cursor.advance(size)),
    (sink, value) => {
      const [buffer, start] = sink.reserve(size)
      set(buffer, value, start)
    },
    zero
  )
}

export const int8 = fixed(
  1,
  (b, at) => b.readInt8(at),
  (b, v, at) => b.writeInt8(v, at),
  0
)
export const int16 = fixed(
  2,
  (b, at) => b.readInt16BE(at),
  (b, v, at) => b.writeInt16BE(v, at),
  0
)
export const int32 = fixed(
  4,
  (b, at) => b.readInt32BE(at),
  (b, v, at) => b.writeInt32BE(v, at),
  0
)
export const int64 = fixed(8, readInt64, writeInt64, 0)
/** For what clients choose and brokers only repeat, such as a time in nanoseconds: where `int64` refuses, it loses the last bits. */
export const inexactInt64 = fixed(
  8,
  (b, at) => Number(b.readBigInt64BE(at)),
  (b, v, at) => b.writeBigInt64BE(BigInt.asIntN(64, BigInt(v)), at),
  0
)
export const bool = fixed(
  1,
  (b, at) => b[at] !== 0,
  (b, v, at) => b.writeInt8(v ? 1 : 0, at),
  false
)

/** All zero: what brokers give where there is no id. */
export const NO_TOPIC_ID = 'AAAAAAAAAAAAAAAAAAAAAA'

/** A topic id in the form that Kafka prints: 16 bytes as URL-safe base64 without padding. */
export const uuid = fixed(
  16,
  (b, at) => b.toString('base64url', at, at + 16),
  (b, v, at) => b.write(v, at, 16, 'base64url'),
  NO_TOPIC_ID
)

/** A length-prefixed type: compact (varint of length + 1) in flexible versions, a signed prefix otherwise, null as -1. */
function sized<T>(
  prefix: Type<number>,
  read: (cursor: Cursor, length: number, context: Context) => T,
  write: (sink: Sink, value: T, context: Context) => void,
  length: (value: T) => number
) {
  const nullable = new Type<T | null>(
    (cursor, context) => {
      const size = context.flexible ? cursor.uvarint() - 1 : prefix.read(cursor, context)
      if (size > cursor.remaining) {
        throw new MillraceError('WIRE_CORRUPT', `length ${size} before ${cursor.position}: ${cursor.remaining} left`)
      }
      return size < 0 ? null : read(cursor, size, context)
    },
    (sink, value, context) => {
      const size = value === null ? -1 : length(value)
      if (context.flexible) sink.uvarint(size + 1)
      else prefix.write(sink, size, context)
      if (value !== null) write(sink, value, context)
    },
    null
  )

  const required = new Type<T>(
    (cursor, context) => {
      const value = nullable.read(cursor, context)
      if (value === null) throw new MillraceError('WIRE_CORRUPT', `unexpected null before ${cursor.position}`)
      return value
    },
    nullable.write as Write<T>
  )

  return Object.assign(required, { nullable })
}

export const string = sized<string>(
  int16,
  (cursor, length) => cursor.take(length).toString('utf8'),
  (sink, value) => sink.append(Buffer.from(value, 'utf8')),
  value => Buffer.byteLength(value, 'utf8')
)

export const bytes = sized<Buffer>(
  int32,
  (cursor, length) => cursor.take(length),
  (sink, value) => sink.append(value),
  value => value.length
)

/** An array. Every item takes a byte or more, so a length beyond the bytes that remain is refused before anything is allocated. */
export function array<T>(item: Type<T, boolean>) {
  const type = sized<T[]>(
    int32,
    (cursor, length, context) => {
      const values: T[] = []
      for (let i = 0; i < length; i++) values.push(item.read(cursor, context))
      return values
    },
    (sink, values, context) => {
      for (const value of values) item.write(sink, value, context)
    },
    values => values.length
  )

  const { fields } = item
  return Object.assign(derive<T[], false>(type, { fields }), {
    nullable: derive<T[] | null, false>(type.nullable, { fields })
  })
}

export type Fields = Record<string, Type<any, boolean>>

interface Field {
  readonly name: string
  readonly type: Type<any, boolean>
}

/** The TypeScript type that a table of fields describes. */
export type Infer<F extends Fields> = {
  [K in keyof F as F[K]['optional'] extends true ? never : K]: F[K] extends Type<infer T, any> ? T : never
} & {
  [K in keyof F as F[K]['optional'] extends true ? K : never]?: F[K] extends Type<infer T, any> ? T : never
} & { unknownTags?: UnknownTag[] }

export function struct<F extends Fields>(fields: F): Type<Infer<F>> {
  const named = Object.entries(fields).map(([name, type]): Field => ({ name, type }))
  const plain = perVersion(context => named.filter(({ type }) => type.tag < 0 && type.present(context)))
  const tagged = perVersion(context => named.filter(({ type }) => type.tag >= 0 && type.present(context)))

  const type = new Type<any>(
    (cursor, context) => {
      const value: Record<string, unknown> = {}
      for (const { name, type } of plain(context)) value[name] = type.read(cursor, context)
      if (context.flexible) readTags(cursor, context, tagged(context), value)
      return value
    },
    (sink, value, context) => {
      for (const { name, type } of plain(context)) type.write(sink, given(name, value[name] ?? type.fallback), context)
      if (context.flexible) writeTags(sink, context, tagged(context), value)
    }
  )
  return derive(type, { fields })
}

/** Remembers, for each protocol version, which fields it carries. */
function perVersion<T>(select: (context: Context) => T): (context: Context) => T {
  const chosen: T[] = []
  return context => {
    chosen[context.version] ??= select(context)
    return chosen[context.version]!
  }
}

function given<T>(name: string, value: T | undefined): T {
  if (value === undefined) throw new TypeError(`Missing field ${name}.`)
  return value
}

function readTags(cursor: Cursor, context: Context, tagged: readonly Field[], value: Record<string, any>): void {
  for (let count = cursor.uvarint(); count > 0; count--) {
    const tag = cursor.uvarint()
    const data = cursor.take(cursor.uvarint())
    const known = tagged.find(({ type }) => type.tag === tag)

    if (known) value[known.name] = known.type.read(new Cursor(data), context)
    else (value['unknownTags'] ??= []).push({ tag, data })
  }
}

function writeTags(sink: Sink, context: Context, tagged: readonly Field[], value: Record<string, any>): void {
  const tags: UnknownTag[] = [...(value['unknownTags'] ?? [])]

  for (const { name, type } of tagged) {
    if (value[name] === undefined) continue
    const body = new Sink()
    type.write(body, value[name], context)
    tags.push({ tag: type.tag, data: body.finish() })
  }

  sink.uvarint(tags.length)
  for (const { tag, data } of tags.sort((a, b) => a.tag - b.tag)) {
    sink.uvarint(tag)
    sink.uvarint(data.length)
    sink.append(data)
  }
}
