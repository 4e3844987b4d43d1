// kcat, an old librdkafka, run by programs.ts: `node kcat-client.ts BOOTSTRAP PREFIX CASE,…`. It commits its transaction when its
// input ends, and has no way to end one otherwise.
import { strict as assert } from 'node:assert'
import { kcat } from '../../kcat.ts'
import { codecs } from '../client.ts'
import { acksNames, bootstrap, producedTo, testCase, topicOf, valuesOf } from './cases.ts'

for (const acks of acksNames) {
  for (const codec of codecs) {
    const settings = [`acks=${acks}`, `compression.codec=${codec}`]
    await testCase(`acks=${acks} ${codec}`, () => send(producedTo(acks, codec), valuesOf(`acks=${acks}`, 3), settings))
  }
}

await testCase('idempotent', () => send('idempotent', valuesOf('value', 3), ['enable.idempotence=true']))

await testCase('commit', async () => {
  await send('commit', valuesOf('kept', 3), [`transactional.id=${topicOf('commit')}`])
  const values = await read(['-C', '-t', topicOf('commit'), '-e', '-X', 'isolation.level=read_committed'])
  assert.deepEqual(values, valuesOf('kept', 3))
})

// Reads all, commits, leaves; a second member of the group begins where the first ended.
await testCase('classic group', async () => {
  const topic = topicOf('classic')
  for (const turn of ['first', 'second']) {
    await send('classic', valuesOf(turn, 10))
    const values = await read(['-c', '10', '-X', 'auto.offset.reset=earliest', '-G', topic, topic])
    assert.deepEqual(values.sort(), valuesOf(turn, 10))
  }
})

await testCase('topics', async () => {
  const listed = await kcat(['-L', '-J', '-b', bootstrap])
  const { topics } = JSON.parse(listed.toString())
  assert(topics.some(({ topic }: { topic: string }) => topic === topicOf('classic')))
})

async function send(name: string, values: readonly string[], settings: readonly string[] = []): Promise<void> {
  const args = ['linger.ms=20', ...settings].flatMap(setting => ['-X', setting])
  await kcat(['-P', '-b', bootstrap, '-t', topicOf(name), ...args], { input: `${values.join('\n')}\n` })
}

/** The values of what it reads. */
async function read(args: readonly string[]): Promise<string[]> {
  const output = await kcat(['-q', '-b', bootstrap, '-f', '%s\n', ...args])
  return output.toString().trimEnd().split('\n')
}
