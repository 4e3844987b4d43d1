// File systems with little room, and folders that cannot be written to, for tests of failing disks; they need root on Linux.
import { execFileSync } from 'node:child_process'
import { tempFolder } from './temp.ts'

/** Whether these can be called here. */
export const canMount = process.platform === 'linux' && process.getuid?.() === 0 && tryMount()

function tryMount(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A file system of its own with room for `mebibytes`. */
export async function smallDisk(mebibytes: number): Promise<{ path: string } & AsyncDisposable> {
  const folder = await tempFolder('disk')
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'millrace-test', folder.path])
  return {
    path: folder.path,
    async [Symbol.asyncDispose]() {
      execFileSync('umount', [folder.path])
      await folder.dispose()
    }
  }
}

/**
 * Makes a folder read-only until it is disposed of, for whatever is opened by a path from now on; files that are open stay
 * writable. (A remount would be refused because of them.)
 */
export function readOnlyOver(path: string): Disposable {
  execFileSync('mount', ['--bind', path, path])
  const uncover = () => void execFileSync('umount', [path])
  try {
    execFileSync('mount', ['-o', 'remount,bind,ro', path])
  } catch (error) {
    uncover()
    throw error
  }
  return { [Symbol.dispose]: uncover }
}
