// A process that commits offsets 1, 2, 3 … of several groups to a store, and prints each once its promise has resolved.
// Argument: the store's file.
import { OffsetStore } from '../../src/broker/groups/offset-store.ts'

const offsets = OffsetStore.open(process.argv[2]!)
const lane = async (group: string) => {
  for (let offset = 1; ; offset++) {
    const at = { topic: 'orders', topicId: 'WJfmqNh2Sqi5uHgTOj6Rqg', partition: 0, leaderEpoch: -1, metadata: '' }
    await offsets.put('cluster', group, [{ ...at, offset }])
    process.stdout.write(`${group} ${offset}\n`)
  }
}
await Promise.all(['a', 'b', 'c'].map(lane))
