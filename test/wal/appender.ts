// A process that makes one append after the other to a WAL, several at a time, and prints each one's number once it has resolved.
// Arguments: folder, number of the first append, and "exit" to call process.exit in the middle of it.
import { Wal } from '../../src/wal/wal.ts'
import { appendOf } from './appends.ts'

const [directory, first, mode] = process.argv.slice(2)

try {
  const wal = await Wal.open({ directory: directory!, maxBytes: 1024 ** 3, fileBytes: 150_000 })
  let next = Number(first)
  const lane = async () => {
    for (;;) {
      const number = next++
      await wal.append(appendOf(number))
      process.stdout.write(`${number}\n`)
      if (mode === 'exit' && number > 100) process.exit(0)
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()])
} catch (error) {
  console.error(error)
  process.exit(1)
}
