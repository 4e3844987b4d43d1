// An idempotent producer of the Java client that sends until it is told to stop, and tells what was acknowledged:
// Kafka's own VerifiableProducer.
import { randomInt } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { spawnGuarded } from '../child.ts'
import { isMissing } from '../found.ts'
import { findKafkaJars, javaArgs } from '../kafka-jars.ts'
import { propertiesFile } from '../kafka-settings.ts'
import { tempFolder } from '../temp.ts'
import type { Acknowledged } from '../topics.ts'

/** What send() throws for a record that it did not take, since the producer is closed: VerifiableProducer looks whether to stop, then sends. */
const TOO_LATE: readonly string[] = [
  'Cannot perform operation after producer has been closed',
  'Producer closed while send in progress'
]

/** Sends numbers, acknowledged by all replicas, sent again as often as it takes, until the signal. A test that calls it needs `kafka-tools`. */
export async function javaLoad(
  stop: AbortSignal,
  { bootstrap, topic, perSecond }: { bootstrap: string; topic: string; perSecond: number },
  acknowledged: Acknowledged
): Promise<void> {
  const jars = await findKafkaJars()
  if (isMissing(jars)) throw new Error(jars.missing)
  await using folder = await tempFolder('java-load')
  const config = join(folder.path, 'producer.properties')
  await writeFile(config, propertiesFile({ 'enable.idempotence': 'true', retries: '2147483647' }))
  const where = ['--bootstrap-server', bootstrap, '--topic', topic, '--command-config', config]
  // Keys spread the records over all partitions; the prefix tells one load's numbers from another's.
  const what = ['--repeating-keys', '100', '--value-prefix', String(randomInt(2 ** 31))]
  const how = ['--acks', '-1', '--throughput', String(perSecond), ...what]
  const args = javaArgs(jars, 'org.apache.kafka.tools.VerifiableProducer', [...where, ...how])
  const child = spawnGuarded('java', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const failures: string[] = []
  createInterface({ input: child.process.stdout! }).on('line', line => {
    const { name, partition, offset, value, message } = JSON.parse(line)
    if (name === 'producer_send_success') acknowledged.set(`${partition}@${offset}`, value)
    if (name === 'producer_send_error' && !(stop.aborted && TOO_LATE.includes(message))) failures.push(line)
  })
  if (!stop.aborted) await new Promise(resolve => stop.addEventListener('abort', resolve, { once: true }))
  const { signal } = await child.terminate(30_000)
  if (signal === 'SIGKILL') throw new Error('VerifiableProducer did not end within 30 s')
  if (failures.length > 0) throw new Error(`VerifiableProducer gave up: ${failures[0]}`)
}
