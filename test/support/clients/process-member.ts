// A member of a group that is a process of its own and prints one line for each record.
import { createInterface } from 'node:readline'
import { spawnGuarded } from '../child.ts'
import type { Member, ReadRecord } from './client.ts'

export interface ProcessMemberOptions {
  command: string
  args: readonly string[]
  input?: string
  /** A record, or undefined for another line. */
  parse(line: string): ReadRecord | undefined
  /** True for a line, of either output, that tells of partitions given to it; left out where none does. */
  isAssignment?(line: string): boolean
}

/** Starts the process; SIGTERM is how it is told to leave. */
export function processMember(options: ProcessMemberOptions): Member {
  const { command, args, input = '', parse, isAssignment } = options
  const child = spawnGuarded(command, args, { stdio: 'pipe' })
  const { stdin, stdout, stderr } = child.process
  const records: ReadRecord[] = []
  const notes: string[] = []
  let assignments = 0
  stdin?.on('error', () => undefined)
  stdin?.end(input)
  const eachLine = (line: string) => {
    if (isAssignment?.(line) === true) assignments++
    const record = parse(line)
    if (record === undefined) notes.push(line)
    else records.push(record)
  }
  createInterface({ input: stdout! }).on('line', eachLine)
  createInterface({ input: stderr! }).on('line', eachLine)
  const kill = async () => {
    child.signal('SIGKILL')
    await child.exited
  }
  return {
    records,
    get assignments() {
      return isAssignment === undefined ? undefined : assignments
    },
    async leave() {
      const early = child.ended()
      if (early !== undefined) throw new Error(`${command} had ended before it was to leave\n${notes.join('\n')}`)
      const { signal } = await child.terminate(20_000)
      if (signal === 'SIGKILL') throw new Error(`${command} did not leave within 20 s\n${notes.join('\n')}`)
    },
    [Symbol.asyncDispose]: kill
  }
}
