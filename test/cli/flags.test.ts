// Wrong usage: whatever is wrong with the flags is told in a sentence, with exit code 2, before anything is opened.
import { expect, test } from 'vitest'
import { millrace } from '../support/millrace.ts'
import { tempFolder } from '../support/temp.ts'

/** What is printed for wrong usage; it must be a sentence, and nothing may have been made. */
async function refusal(args: string): Promise<string> {
  await using folder = await tempFolder('flags')
  const { code, stdout, stderr } = await millrace(args.split(' '), { cwd: folder.path })
  expect({ code, stdout }, stderr).toEqual({ code: 2, stdout: '' })
  expect(stderr).not.toMatch(/^ +at /m)
  return stderr
}

test.each([
  ['flush --topic', 'topic'],
  ['search --limit', 'limit'],
  ['read --topic a --offset', 'offset'],
  ['verify --archive', 'archive'],
  ['run --set', 'set'],
  ['run --config', 'config'],
  ['replay --topic a --partition', 'partition']
])('%s is told what lacks', async (args, flag) => {
  const stderr = await refusal(args)
  expect(stderr).toMatch(new RegExp(`\\b${flag}\\n`))
  expect(stderr).toContain('See millrace --help.')
})

test.each([
  ['replay --topic a --to-topic b --to-topic c', '--to-topic: must be given once (got b, c)'],
  ['read --topic a --topic b', '--topic: must be given once (got a, b)'],
  ['read --topic a --output raw --output hex', '--output: must be given once (got raw, hex)'],
  ['verify --topic a --topic b', '--topic: must be given once (got a, b)'],
  ['search --limit 1 --limit 2', '--limit: must be given once (got 1, 2)'],
  ['serve --listen a:1 --listen b:2', '--listen: must be given once (got a:1, b:2)'],
  ['broker --advertised a:1 --advertised b:2', '--advertised: must be given once (got a:1, b:2)']
])('%s is refused: a flag is given once', async (args, line) => {
  expect(await refusal(args)).toBe(`${line}\n`)
})

test('what takes several values may be given several times', async () => {
  const several = 'search grain --topic a --topic b --set log.level=loud --set segment.ms=never'
  expect((await refusal(several)).split('\n')).toEqual([
    expect.stringMatching(/^--set: segment\.ms: /),
    expect.stringMatching(/^--set: log\.level: /),
    ''
  ])
})

test('read --json --output raw is refused: one of them would have no effect', async () => {
  const refused = await refusal('read --topic a --json --output raw')
  expect(refused).toBe('--json: cannot be used with --output raw\n')
})

test.each([
  ['replay --topic a --partition 0 --partition 1.5', '--partition: must be a whole number of 0 or more (got 1.5)'],
  ['search --partition x', '--partition: must be a whole number of 0 or more (got x)'],
  ['search --limit x', '--limit: must be a whole number of 1 or more (got x)'],
  ['read --topic a --partition -1', '--partition: must be a whole number of 0 or more (got -1)'],
  ['read --topic a --count 1e99', '--count: must be a whole number of 1 or more (got 1e99)']
])('%s names what was written', async (args, line) => {
  expect(await refusal(args)).toBe(`${line}\n`)
})
