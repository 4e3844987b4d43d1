// File systems with little room, for tests of full disks; they need root on Linux.
import { execFileSync } from 'node:child_process'
import { tempFolder } from './temp.ts'

/** Whether `smallDisk` can be called here. */
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
