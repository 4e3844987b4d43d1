// A process that appends to an embedded topic, one idempotent producer per lane, several batches of each at a time, and prints
// `<lane> <sequence> <offset>` for each batch when it is confirmed. Arguments: folder, and for each lane the sequence number to
// begin with, which may be that of a batch that is there already.
import { EmbeddedLogs } from '../../src/broker/embedded/embedded-logs.ts'
import { appended, sequenced } from './embedded-world.ts'

const [directory, ...firsts] = process.argv.slice(2)

try {
  const logs = await EmbeddedLogs.open({ directory: directory!, maxBytes: 64_000_000 })
  const topic = logs.find('orders') ?? logs.createTopic('orders', 2, {})
  const lane = async (producer: number, first: number) => {
    const partition = topic.partitions[producer % 2]!
    for (let sequence = first; ; sequence += 3) {
      const batch = [sequence, sequence + 1, sequence + 2].map(async sequence => {
        const value = `${producer} ${sequence} `.padEnd((sequence % 5) * 2_000, '.')
        const { baseOffset } = await appended(partition, sequenced(producer, sequence, [value]))
        process.stdout.write(`${producer} ${sequence} ${baseOffset}\n`)
      })
      await Promise.all(batch)
    }
  }
  await Promise.all(firsts.map((first, producer) => lane(producer, Number(first))))
} catch (error) {
  console.error(error)
  process.exit(1)
}
