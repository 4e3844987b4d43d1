// System calls that fail when we say so, by strace: what a dying disk answers, without one. It needs Linux, strace, and the right
// to trace one's own children.
import { spawnSync } from 'node:child_process'

/** Whether programs can be run under `strace` here. */
export const canInject =
  process.platform === 'linux' && spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']).status === 0

export interface Injection {
  readonly call: 'fdatasync' | 'pwritev'
  readonly errno: string
  /** The file on which it fails; any unless told. */
  readonly path?: string
  /** Which of the calls fail, counted from 1: `30`, or `30..32`. */
  readonly when: string
}

/**
 * The arguments of strace before a program and its own: one system call fails, on one file or on any. Strace counts in each
 * thread; Node makes all such calls in one here.
 */
export function injectArgs({ call, errno, path, when }: Injection): string[] {
  const inject = `inject=${call}:error=${errno}:when=${when}`
  const only = path === undefined ? [] : ['-P', path]
  return ['-f', '-qq', '-E', 'UV_THREADPOOL_SIZE=1', '-o', '/dev/null', ...only, '-e', `trace=${call}`, '-e', inject]
}
