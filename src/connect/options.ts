// Options are declared once, as a table; parsing, defaults and messages come from it. Values arrive as text, as in Kafka.
import { z } from 'zod'
import type { Address } from '../kafka/address.ts'
import { parseAddress } from '../kafka/address.ts'

export interface Option<T = unknown> {
  readonly schema: z.ZodType<T, string>
  /** As a user would write it. Absent: required, unless the schema is optional. */
  readonly default?: string
  readonly optional?: boolean
  /** Its value is shown to nobody, not even a wrong one. */
  readonly secret?: boolean
  readonly doc: string
}

export type Options = Readonly<Record<string, Option<any>>>

type ValueOf<O> = O extends Option<infer T> ? (O extends { optional: true } ? T | undefined : T) : never

export type Values<D extends Options> = { readonly [K in keyof D]: ValueOf<D[K]> }

/** One value as it was found, and where. */
export interface RawValue {
  readonly text: string
  /** The file, variable or flag that a message should name. */
  readonly source: string
  /** The rule that it breaks whatever its key means: then the text is not looked at. */
  readonly broken?: string
}

/** What is wrong with one key, ready to be printed on a line of its own. */
export interface Fault {
  readonly source: string
  /** Absent when all of the source is at fault. */
  readonly key?: string
  readonly rule: string
  readonly got?: string | undefined
}

export function formatFault({ source, key, rule, got }: Fault): string {
  const place = key === undefined ? source : `${source}: ${key}`
  return `${place}: ${rule}${got === undefined ? '' : ` (got ${JSON.stringify(got)})`}`
}

/** Checks all of `raw` against the table: unknown keys, missing keys and wrong values are faults, each on its own. */
export function parseOptions<D extends Options>(
  options: D,
  raw: ReadonlyMap<string, RawValue>,
  source: string
): { values: Values<D>; faults: Fault[] } {
  const faults: Fault[] = []
  const broken: string[] = []
  for (const [key, given] of raw) {
    const rule = given.broken ?? (Object.hasOwn(options, key) ? undefined : unknownKeyRule(key, Object.keys(options)))
    if (rule !== undefined) faults.push({ source: given.source, key, rule, got: shown(options, key, given.text) })
    if (given.broken !== undefined) broken.push(key)
  }
  const values: Record<string, unknown> = {}
  for (const [key, option] of Object.entries(options)) {
    // A required key that was written in a broken way, or nested in one, is not missing too.
    if (broken.some(one => key === one || key.startsWith(`${one}.`))) continue
    const given = raw.get(key)
    const text = given?.text ?? option.default
    if (text === undefined) {
      if (!option.optional) faults.push({ source, key, rule: `is required: ${option.doc}` })
      continue
    }
    const parsed = option.schema.safeParse(text)
    if (parsed.success) values[key] = parsed.data
    else {
      const rule = parsed.error.issues[0]!.message
      faults.push({ source: given?.source ?? source, key, rule, got: shown(options, key, text) })
    }
  }
  return { values: values as Values<D>, faults }
}

/** A value for a message; nothing of a secret, which may stand below a key that is spelt wrong. */
function shown(options: Options, key: string, text: string): string | undefined {
  if (Object.hasOwn(options, key)) return options[key]!.secret ? undefined : text
  const isMeant = Object.entries(options).some(([name, { secret }]) => secret && isNear(key, name))
  return isMeant || /passw|secret|jaas|auth|[.]key$/i.test(`${text} ${key}`) ? undefined : text
}

/** Names the key that was most likely meant, if one is near. */
export function unknownKeyRule(key: string, known: readonly string[]): string {
  const [nearest] = known.map(name => ({ name, far: editDistance(key, name) })).sort((a, b) => a.far - b.far)
  return nearest && isNear(key, nearest.name) ? `unknown key: did you mean ${nearest.name}?` : 'unknown key'
}

function isNear(key: string, other: string): boolean {
  return editDistance(key, other) <= Math.max(2, key.length / 3)
}

/** Levenshtein distance: how many letters to add, drop or change. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}

/** A schema whose parser throws, or gives undefined for a fault, with the rule as message. */
function rule<T>(text: string, parse: (value: string) => T | undefined): z.ZodType<T, string> {
  return z.string().transform((value, context) => {
    const parsed = parse(value.trim())
    if (parsed !== undefined) return parsed
    context.addIssue({ code: 'custom', message: text })
    return z.NEVER
  }) as unknown as z.ZodType<T, string>
}

const byteUnits = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 } as const
const timeUnits = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

function measured(value: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(value)
  const unit = match?.[2] === '' ? 1 : units[match?.[2] ?? '']
  return match && unit !== undefined ? Math.round(Number(match[1]) * unit) : undefined
}

/** A number of bytes: 67108864, 64MiB. */
export function bytes(min: number, max = Number.MAX_SAFE_INTEGER): z.ZodType<number, string> {
  const range =
    max === Number.MAX_SAFE_INTEGER ? `${formatBytes(min)} or more` : `from ${formatBytes(min)} to ${formatBytes(max)}`
  return rule(`must be a size, ${range}, such as 64MiB`, value => {
    const size = measured(value, byteUnits)
    return size !== undefined && size >= min && size <= max ? size : undefined
  })
}

/** What Node's timers take at most: a longer one is over after 1 ms. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1

/** A duration in milliseconds: 600000, 10m. One that is for a timer needs a `max`. */
export function duration(min: number, max = Number.POSITIVE_INFINITY): z.ZodType<number, string> {
  const days = Math.floor(max / timeUnits.d)
  const range = max === Number.POSITIVE_INFINITY ? 'or more' : `to ${max} ms (${days} days)`
  return rule(`must be a duration of ${min} ms ${range}, such as 500ms, 10m or 1h`, value => {
    const ms = measured(value, timeUnits)
    return ms !== undefined && ms >= min && ms <= max ? ms : undefined
  })
}

export function integer(min: number, max: number): z.ZodType<number, string> {
  return rule(`must be a whole number from ${min} to ${max}`, value => {
    const number = Number(value)
    return Number.isInteger(number) && value !== '' && number >= min && number <= max ? number : undefined
  })
}

export function oneOf<const T extends string>(...allowed: readonly T[]): z.ZodType<T, string> {
  return rule(`must be ${allowed.join(' or ')}`, value => allowed.find(one => one === value))
}

/** In capitals too, as YAML and Kafka have it. */
export const boolean: z.ZodType<boolean, string> = rule('must be true or false', value =>
  /^true$/i.test(value) ? true : /^false$/i.test(value) ? false : undefined
)

export const text: z.ZodType<string, string> = rule('must not be empty', value => value || undefined)

export const userAndPassword: z.ZodType<string, string> = rule('must be user:password', value =>
  /^[^:]+:./.test(value) ? value : undefined
)

/** The type of a key store. */
export const pem: z.ZodType<'PEM', string> = rule(
  "must be PEM: `keytool -list -rfc` prints a truststore's certificates so, `openssl pkcs12` a keystore's key",
  value => (value === 'PEM' ? value : undefined)
)

/** Whether a certificate has to name the host. */
export const hostCheck: z.ZodType<'https' | '', string> = rule('must be https or empty', value =>
  value === 'https' || value === '' ? value : undefined
)

/** Comma-separated words; none for an empty text. */
export const list: z.ZodType<readonly string[], string> = rule('must be a comma-separated list', splitList)

export const regex: z.ZodType<RegExp, string> = rule('must be a regular expression', value => {
  try {
    return new RegExp(`^(?:${value})$`)
  } catch {
    return undefined
  }
})

export const address: z.ZodType<Address, string> = rule('must be host:port', addressOrFault)

export const addresses: z.ZodType<readonly Address[], string> = rule(
  'must be host:port, or several with commas',
  value => {
    const parsed = splitList(value).map(addressOrFault)
    return parsed.length > 0 && parsed.every(one => one !== undefined) ? (parsed as Address[]) : undefined
  }
)

/** Node ids and their ports: 1001:19101,1002:19102. */
export const portMap: z.ZodType<ReadonlyMap<number, number>, string> = rule(
  'must be node:port, or several with commas',
  value => {
    const pairs = splitList(value).map(pair => /^(\d+):(\d{1,5})$/.exec(pair))
    return pairs.every(pair => pair !== null && isPort(Number(pair[2])))
      ? new Map(pairs.map(pair => [Number(pair![1]), Number(pair![2])]))
      : undefined
  }
)

function isPort(number: number): boolean {
  return number >= 1 && number <= 65535
}

/** An http:// address to listen on. */
export const httpListener: z.ZodType<Address, string> = rule('must be http://host:port', value =>
  value.startsWith('http://') ? addressOrFault(value.slice('http://'.length)) : undefined
)

export const httpUrl: z.ZodType<string, string> = rule(
  'must be an http:// or https:// URL without user and password',
  value => {
    const url = URL.canParse(value) ? new URL(value) : null
    return url !== null && /^https?:$/.test(url.protocol) && url.username + url.password === '' ? value : undefined
  }
)

/** An archive's URL with this scheme. */
export function archiveUrl(scheme: 'file:' | 's3:'): z.ZodType<string, string> {
  const form = scheme === 'file:' ? 'file:PATH' : 's3://BUCKET/PREFIX'
  return rule(`must be ${form}`, value =>
    value.startsWith(scheme) && value.length > scheme.length ? value : undefined
  )
}

function splitList(value: string): string[] {
  return value
    .split(',')
    .map(word => word.trim())
    .filter(word => word !== '')
}

function addressOrFault(value: string): Address | undefined {
  try {
    return parseAddress(value)
  } catch {
    return undefined
  }
}

export function formatBytes(size: number): string {
  for (const [unit, factor] of Object.entries(byteUnits).reverse()) {
    if (size >= factor) return `${Math.round((size / factor) * 10) / 10}${unit}`
  }
  return `${size}B`
}
