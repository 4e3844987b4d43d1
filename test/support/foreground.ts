// A command of Millrace's that stays in the foreground, as a child process: it can be killed, stopped and started again over
// the same folder.

import { readFileSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { GuardedChild } from './child.ts'
import { spawnGuarded } from './child.ts'
import { until } from './until.ts'

/** MILLRACE_MAIN names another, such as `dist/src/main.js` once `npm run build` has made it. */
const main = resolve(process.env['MILLRACE_MAIN'] ?? fileURLToPath(new URL('../../src/main.ts', import.meta.url)))
const [, flags = ''] = /^#!.* node (.*)/.exec(readFileSync(main, 'utf8')) ?? []

/** What Node is given to run the command line, as by the name `millrace`. */
export const programArgs: readonly string[] = [...flags.split(' '), main]

export interface ForegroundOptions {
  /** The working directory, where the log is written too. */
  folder: string
  env?: Record<string, string | undefined>
}

export interface Foreground {
  readonly pid: number | undefined
  /** What its line `ready` said, by what each address is for. */
  readonly addresses: Readonly<Record<string, string>>
  /** Starts it, again if it has ended, and waits until it is ready. */
  start(): Promise<void>
  kill9(): Promise<void>
  /** SIGTERM; the exit code once it has drained. */
  terminate(): Promise<number | null>
  /** SIGINT, as Ctrl-C sends it; the exit code once it has drained. */
  interrupt(): Promise<number | null>
  /** All that its processes wrote so far. */
  logs(): Promise<string>
  /** Kills it; says how it had ended if that was not right. */
  dispose(): Promise<void>
}

/** Prepares a command; `start` starts it. */
export function foreground(args: readonly string[], { folder, env = {} }: ForegroundOptions): Foreground {
  const logFile = join(folder, 'millrace.log')
  let child: GuardedChild | undefined
  let addresses: Record<string, string> = {}
  const kill9 = async () => {
    child?.signal('SIGKILL')
    await child?.exited
  }
  return {
    get pid() {
      return child?.process.pid
    },
    get addresses() {
      return addresses
    },
    async start() {
      child = await spawnLogged(args, { cwd: folder, env, logFile })
      addresses = await ready(child, logFile)
    },
    kill9,
    async terminate() {
      if (child === undefined) throw new Error('Millrace was never started')
      const { code, signal } = await child.terminate(60_000)
      if (signal === 'SIGKILL') throw new Error(`Millrace did not drain within 60 s\n${await lastLines(logFile)}`)
      return code
    },
    async interrupt() {
      child?.signal('SIGINT')
      return (await child?.exited)?.code ?? null
    },
    logs: () => readFile(logFile, 'utf8'),
    async dispose() {
      const end = child?.ended()
      if (end !== undefined && end.code !== 0 && end.signal === null) {
        console.error(`Millrace had ended with ${end.code}:\n${await lastLines(logFile)}`)
      }
      await kill9()
    }
  }
}

async function spawnLogged(
  args: readonly string[],
  place: { cwd: string; env: Record<string, string | undefined>; logFile: string }
): Promise<GuardedChild> {
  const log = await open(place.logFile, 'a')
  try {
    return spawnGuarded(process.execPath, [...programArgs, ...args], {
      stdio: ['ignore', log.fd, log.fd],
      cwd: place.cwd,
      env: { ...process.env, ...place.env },
      folder: place.cwd
    })
  } finally {
    await log.close()
  }
}

/** Waits for the line `ready` after what earlier processes wrote to the same log. */
async function ready(child: GuardedChild, logFile: string): Promise<Record<string, string>> {
  const ended = new AbortController()
  let addresses: Record<string, string> | undefined
  const isReady = async () => {
    const lines = (await readFile(logFile, 'utf8')).split('\n')
    const line = lines.map(parseLine).find(line => line?.pid === child.process.pid && line?.msg === 'ready')
    addresses = line?.addresses
    if (addresses !== undefined) return true
    const end = child.ended()
    if (end !== undefined) {
      ended.abort(new Error(`Millrace ended with ${end.code ?? end.signal} at its start\n${await lastLines(logFile)}`))
    }
    return false
  }
  await until(isReady, { what: `Millrace is ready (log: ${logFile})`, timeout: 30_000, signal: ended.signal })
  return addresses!
}

/** A log line of pino's, undefined for anything else. */
function parseLine(line: string): { msg?: string; pid?: number; addresses?: Record<string, string> } | undefined {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

async function lastLines(logFile: string): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(() => '')
  return text.split('\n').slice(-40).join('\n')
}
