// Prints what a topic holds now, and ends: node docs/examples/consume.mjs HOST:PORT TOPIC
import { randomUUID } from 'node:crypto'
import kafkajs from 'kafkajs'

const [bootstrap, topic] = process.argv.slice(2)
const kafka = new kafkajs.Kafka({ clientId: 'example', brokers: [bootstrap], logLevel: kafkajs.logLevel.ERROR })
const admin = kafka.admin()
await admin.connect()
const left = new Map()
for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
  if (BigInt(high) > BigInt(low)) left.set(partition, BigInt(high) - 1n)
}
await admin.disconnect()

const consumer = kafka.consumer({ groupId: `example-${randomUUID()}` })
let ended
const end = new Promise(resolve => {
  ended = resolve
})
if (left.size === 0) ended()
await consumer.connect()
await consumer.subscribe({ topic, fromBeginning: true })
await consumer.run({
  async eachMessage({ partition, message }) {
    console.log(`${partition}:${message.offset}\t${message.value}`)
    if (BigInt(message.offset) >= (left.get(partition) ?? -1n)) left.delete(partition)
    if (left.size === 0) ended()
  }
})
await end
await consumer.disconnect()
