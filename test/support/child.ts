// Child processes that never outlive the test run: beside each stands a small shell that reads a pipe held by us, and
// kills the child when the pipe ends, however we died.

import type { ChildProcess, StdioOptions } from 'node:child_process'
import { spawn } from 'node:child_process'
import { keepFolders } from './temp.ts'

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface GuardedChild {
  readonly process: ChildProcess
  /** Resolves when the process has ended and its output is read; rejects when it could not be started. */
  readonly exited: Promise<Exit>
  /** The way it ended, undefined while it runs. */
  ended(): Exit | undefined
  /** Sends a signal to the child and its own children. */
  signal(name: NodeJS.Signals): void
  /** Asks the child to end, and kills it after `grace` milliseconds. */
  terminate(grace: number): Promise<Exit>
}

export interface GuardOptions {
  stdio: StdioOptions
  cwd?: string | undefined
  env?: NodeJS.ProcessEnv | undefined
  /** A folder that is removed when we die before the child does. */
  folder?: string | undefined
}

/** Starts a process in a group of its own, so that Ctrl-C reaches us alone and the guard sees to the rest. */
export function spawnGuarded(command: string, args: readonly string[], options: GuardOptions): GuardedChild {
  const { folder, ...spawnOptions } = options
  endWithParent()
  const child = spawn(command, args, { ...spawnOptions, detached: true })
  let end: Exit | undefined
  const { promise: exited, resolve, reject } = Promise.withResolvers<Exit>()
  exited.catch(() => undefined)
  child.once('error', reject)
  child.once('close', (code, signal) => {
    end = { code, signal }
    resolve(end)
  })
  if (child.pid !== undefined) {
    const guard = spawnGuard(child.pid, folder)
    child.once('exit', () => guard.kill('SIGKILL'))
  }
  const signal = (name: NodeJS.Signals) => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, name)
  }
  const terminate = async (grace: number) => {
    signal('SIGTERM')
    const timer = setTimeout(() => signal('SIGKILL'), grace)
    try {
      return await exited
    } finally {
      clearTimeout(timer)
    }
  }
  return { process: child, exited, ended: () => end, signal, terminate }
}

function spawnGuard(pid: number, folder: string | undefined): ChildProcess {
  const remove = folder === undefined || keepFolders ? '' : folder
  // `-s KILL`, since dash takes the dashes after `-KILL` for a number.
  const script = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null; if [ -n "$2" ]; then sleep 1; rm -rf "$2"; fi'
  return spawn('/bin/sh', ['-c', script, 'guard', String(pid), remove], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true
  })
}

let parentWatched = false

/**
 * Ends this process when whoever started it is gone: an npm that gets a signal passes it to its shell, which dies and leaves
 * vitest running, and a vitest that is killed leaves its workers waiting for their children.
 */
function endWithParent(): void {
  if (parentWatched) return
  parentWatched = true
  const parent = process.ppid
  const watch = () => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM')
  }
  setInterval(watch, 500).unref()
}

export interface RunOptions {
  cwd?: string | undefined
  /** Added to our own environment. */
  env?: Record<string, string | undefined> | undefined
  /** What it reads on standard input; nothing unless told. */
  input?: string | Uint8Array | undefined
  /** Milliseconds until it is killed and the run fails, 60,000 unless told. */
  timeout?: number | undefined
  /** A folder that is removed when we die before the program does. */
  folder?: string | undefined
}

export interface RunResult extends Exit {
  stdout: Buffer
  stderr: Buffer
}

/** Runs a program to its end. Rejects only when it could not be started or took too long, not for its exit code. */
export async function runToEnd(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { cwd, env, input = '', timeout = 60_000, folder } = options
  const child = spawnGuarded(command, args, { stdio: 'pipe', cwd, env: { ...process.env, ...env }, folder })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.process.stdout?.on('data', chunk => stdout.push(chunk))
  child.process.stderr?.on('data', chunk => stderr.push(chunk))
  // A program that ends without reading all its input breaks the pipe; its exit code says whether that was right.
  child.process.stdin?.on('error', () => undefined)
  child.process.stdin?.end(input)
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.signal('SIGKILL')
  }, timeout)
  try {
    const exit = await child.exited
    const result = { ...exit, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr) }
    if (late) throw new Error(`${command} ${args.join(' ')} did not end within ${timeout} ms\n${result.stderr}`)
    return result
  } finally {
    clearTimeout(timer)
  }
}

/** Runs a program and gives its standard output; rejects with its standard error when it ends with another code than 0. */
export async function runOrThrow(command: string, args: readonly string[], options: RunOptions = {}): Promise<Buffer> {
  const result = await runToEnd(command, args, options)
  if (result.code === 0) return result.stdout
  const ending = result.code === null ? `by ${result.signal}` : `with exit code ${result.code}`
  throw new Error(`${command} ${args.join(' ')} ended ${ending}\n${result.stderr}${result.stdout}`)
}
