// Sends one record: node docs/examples/produce.mjs TOPIC VALUE [HOST:PORT]
// Nothing in it knows of Millrace: producers get the proxy's address for that of their brokers, and that is all.
import kafkajs from 'kafkajs'

const [topic, value, bootstrap = '127.0.0.1:19092'] = process.argv.slice(2)
const kafka = new kafkajs.Kafka({ clientId: 'example', brokers: [bootstrap], logLevel: kafkajs.logLevel.ERROR })
const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
await producer.connect()
const [sent] = await producer.send({ topic, messages: [{ value }] })
await producer.disconnect()
console.log(`${topic}, partition ${sent.partition}, offset ${sent.baseOffset}`)
