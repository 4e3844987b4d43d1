// Starts the integration tests' servers once per run, both at the same time, and hands their addresses to the test files.

import type { TestProject } from 'vitest/node'
import { hasDocker } from './docker.ts'
import type { Missing } from './found.ts'
import { findProgram, isMissing, reasonOf } from './found.ts'
import type { KafkaAddress, KafkaCluster } from './kafka.ts'
import { findKafkaRunners, startKafka } from './kafka.ts'
import { archiveKafkaClasses } from './kafka-classes.ts'
import { askCluster } from './kafka-client.ts'
import { findKafkaJars } from './kafka-jars.ts'
import { findConfluent } from './python.ts'
import { startS3 } from './s3.ts'
import type { Servers } from './servers.ts'

export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  await archiveKafkaClasses()
  const started = await Promise.allSettled([findKafka(), startS3()])
  const tearDown = async () => {
    const failed = project.vitest.state.getTestModules().some(module => !module.ok())
    for (const server of started) {
      if (server.status === 'fulfilled' && 'dispose' in server.value) await server.value.dispose({ failed })
    }
  }
  const [kafka, s3] = started
  if (kafka.status === 'rejected' || s3.status === 'rejected') {
    await tearDown()
    throw new Error('a server for the tests could not be started', { cause: [kafka, s3].map(reasonOfRejected) })
  }
  const ownKafka = await findKafkaRunners()
  const servers: Servers = {
    kafka: plain(kafka.value),
    s3: plain(s3.value),
    kafkaTools: await findKafkaJars(),
    ownKafka: isMissing(ownKafka) ? ownKafka : {},
    kcat: (await findProgram('kcat')) === undefined ? { missing: 'no kcat on PATH' } : {},
    confluent: await findConfluent(),
    docker: (await hasDocker()) ? {} : { missing: 'no Docker engine' }
  }
  project.provide('servers', servers)
  return tearDown
}

/** The cluster that MILLRACE_KAFKA names, else one node of our own. */
async function findKafka(): Promise<KafkaCluster | KafkaAddress | Missing> {
  const { MILLRACE_KAFKA: bootstrap, MILLRACE_KAFKA_LOG_DIR: logDir } = process.env
  if (!bootstrap) {
    const way = await findKafkaRunners()
    return isMissing(way) ? way : await startKafka({ nodes: 1 })
  }
  const { clusterId, nodes } = await askCluster(bootstrap)
  return { bootstrap, clusterId, nodes: nodes.map(({ id, port }) => ({ id, port, logDir: logDir || undefined })) }
}

/** The data of a server without its functions, which cannot be handed to another process. */
function plain<T extends object>(server: T): T {
  return JSON.parse(JSON.stringify(server)) as T
}

function reasonOfRejected(result: PromiseSettledResult<unknown>): string {
  return result.status === 'rejected' ? reasonOf(result.reason) : 'started'
}
