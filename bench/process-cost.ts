// What a process has cost so far, as Linux counts it.
import { readFile } from 'node:fs/promises'

export interface ProcessCost {
  readonly cpuSeconds: number
  /** The most that it held in memory at any time. */
  readonly peakRssBytes: number
  /** What it had the disk write. */
  readonly writtenBytes: number
}

/** Clock ticks a second, fixed for programs on Linux. */
const TICKS = 100

export async function processCost(pid: number): Promise<ProcessCost> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // from field 3 on, see proc_pid_stat(5)
  const status = await readFile(`/proc/${pid}/status`, 'latin1')
  const io = await readFile(`/proc/${pid}/io`, 'latin1')
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    peakRssBytes: Number(/^VmHWM:\s+(\d+) kB/m.exec(status)![1]) * 1024,
    writtenBytes: Number(/^write_bytes: (\d+)/m.exec(io)![1])
  }
}
