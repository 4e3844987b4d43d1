// A process that appends batches of growing offsets to a WAL, several at a time, and prints each offset once its append has
// resolved. Arguments: folder, first offset, and "exit" to call process.exit in the middle of it.
import { Wal } from '../../src/wal/wal.ts'
import { captured } from './batches.ts'

const [directory, first, mode] = process.argv.slice(2)

try {
  const wal = await Wal.open({ directory: directory!, maxBytes: 1024 ** 3, fileBytes: 2_000_000 })
  let next = Number(first)
  const lane = async () => {
    for (;;) {
      const offset = next++
      await wal.append([captured(offset, { size: (offset % 7) * 10_000 })])
      process.stdout.write(`${offset}\n`)
      if (mode === 'exit' && offset > 100) process.exit(0)
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
} catch (error) {
  console.error(error)
  process.exit(1)
}
