// What the programs in TypeScript share: running the cases that were asked for, and telling how each ended.
import { strict as assert } from 'node:assert'

export const [bootstrap, prefix, asked] = process.argv.slice(2) as [string, string, string]

/** As long as a case may take, in milliseconds. */
export const deadline = 20_000

export const acksNames = ['0', '1', 'all'] as const

export const topicOf = (name: string): string => `${prefix}-${name}`

/** The topic of what is produced with a codec. */
export const producedTo = (acks: string, codec: string): string => (acks === '0' ? 'unacknowledged' : codec)

export const valuesOf = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${name} ${i}${' grain'.repeat(50)}`)

/** Runs a case if it was asked for, and tells of it in one line. */
export async function testCase(name: string, body: () => Promise<void>): Promise<void> {
  if (!asked.split(',').includes(name)) return
  const told = await body().then(
    () => ({ case: name }),
    error => ({ case: name, error: String(error) })
  )
  process.stdout.write(`${JSON.stringify(told)}\n`)
}

/** Runs `work`, which is to fail in one of the given ways, as its error's text says. */
export async function failsWith(pattern: RegExp, work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert.match(String(error), pattern)
    return true
  })
}
