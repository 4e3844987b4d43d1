// How an integration test asks for the run's servers: a describe that is skipped by name, with the reason, where what it
// needs is missing, or that fails there when MILLRACE_REQUIRE names it.

import { afterAll, afterEach, beforeAll, describe, inject, test } from 'vitest'
import type { Missing } from './found.ts'
import { isMissing } from './found.ts'
import type { KafkaAddress, KafkaCluster, KafkaOptions } from './kafka.ts'
import { segmentFiles, startKafka } from './kafka.ts'
import { kafkaClient } from './kafka-client.ts'
import type { KafkaJars } from './kafka-jars.ts'
import type { PythonPlace } from './python.ts'
import type { S3Address } from './s3.ts'
import { createBucket, s3Client } from './s3.ts'

/** What the set-up of the run found or started. */
export interface Servers {
  kafka: KafkaAddress | Missing
  s3: S3Address | Missing
  kafkaTools: KafkaJars | Missing
  ownKafka: object | Missing
  kcat: object | Missing
  confluent: PythonPlace | Missing
  docker: object | Missing
}

declare module 'vitest' {
  interface ProvidedContext {
    servers: Servers
  }
}

/** What a test can need, with the way to look whether it is there. */
const needs = {
  kafka: ({ kafka }: Servers) => kafka,
  /** The shared broker's own log files. */
  'kafka-files': ({ kafka }: Servers) =>
    isMissing(kafka) || kafka.nodes.every(node => node.logDir !== undefined)
      ? kafka
      : { missing: 'MILLRACE_KAFKA is set, but not MILLRACE_KAFKA_LOG_DIR' },
  /** Kafka's own command line tools. */
  'kafka-tools': ({ kafkaTools }: Servers) => kafkaTools,
  /** A cluster that the test starts, stops and kills itself. */
  'kafka-own': ({ ownKafka }: Servers) => ownKafka,
  s3: ({ s3 }: Servers) => s3,
  kcat: ({ kcat }: Servers) => kcat,
  /** Confluent's client for Python, for clients/confluent.ts. */
  confluent: ({ confluent }: Servers) => confluent,
  /** A Docker engine, for what is about images; Kafka and S3 may come from one too, but need not. */
  docker: ({ docker }: Servers) => docker
} as const satisfies Record<string, (servers: Servers) => object>

export type Need = keyof typeof needs

/** A describe whose tests run only where all of `wanted` is there. Requiring `kafka` requires `kafka-…` too. */
export function describeWith(wanted: readonly Need[], name: string, tests: () => void): void {
  describeUnless(lacking(wanted)[0], name, tests)
}

/** The same for what a test file looks for itself; `need` is its name for MILLRACE_REQUIRE. */
export function describeFound(need: string, found: object, name: string, tests: () => void): void {
  describeUnless(isMissing(found) ? { need, missing: found.missing } : undefined, name, tests)
}

interface Lack {
  readonly need: string
  readonly missing: string
}

function describeUnless(lack: Lack | undefined, name: string, tests: () => void): void {
  if (lack === undefined) describe(name, tests)
  else if (!isRequired(lack.need)) describe.skip(`${name} [needs ${lack.need}: ${lack.missing}]`, tests)
  else {
    describe(name, () => {
      test(`has ${lack.need}`, () => {
        throw new Error(`MILLRACE_REQUIRE asks for ${lack.need}, which is missing: ${lack.missing}`)
      })
    })
  }
}

export function describeKafka(name: string, tests: () => void): void {
  describeWith(['kafka'], name, tests)
}

export function describeS3(name: string, tests: () => void): void {
  describeWith(['s3'], name, tests)
}

/** The run's Kafka, shared by all test files: use topics of your own, do not stop it. */
export function useKafka() {
  const address = present(runServers().kafka)
  return {
    ...address,
    client: () => kafkaClient(address.bootstrap),
    segmentFiles: (topic: string, partition: number) => segmentFiles(address.nodes, topic, partition)
  }
}

/** The run's S3 server, shared by all test files: use buckets of your own. */
export function useS3() {
  const address = present(runServers().s3)
  return {
    ...address,
    /** For the environment of a process that uses AWS's default chain. */
    env: {
      AWS_ACCESS_KEY_ID: address.accessKeyId,
      AWS_SECRET_ACCESS_KEY: address.secretAccessKey,
      AWS_REGION: address.region
    },
    client: () => s3Client(address),
    createBucket: () => createBucket(address)
  }
}

/** Kafka's jars, for kafka-tools.ts. */
export function useKafkaJars(): KafkaJars {
  return present(runServers().kafkaTools)
}

/** A cluster for the tests of one describe alone; its logs stay when one of them fails. Call the result inside a test. */
export function useOwnKafka(options: KafkaOptions | (() => Promise<KafkaOptions>)): () => KafkaCluster {
  let cluster: KafkaCluster | undefined
  let failed = false
  beforeAll(async () => {
    cluster = await startKafka(typeof options === 'function' ? await options() : options)
  })
  afterEach(({ task }) => {
    failed ||= task.result?.state === 'fail'
  })
  afterAll(async () => {
    await cluster?.dispose({ failed })
  })
  return () => {
    if (cluster === undefined) throw new Error('the cluster is there only inside the tests')
    return cluster
  }
}

/** Whether all of `wanted` is there, for a test that does more where it is. */
export function isHere(wanted: readonly Need[]): boolean {
  return lacking(wanted).length === 0
}

function lacking(wanted: readonly Need[]): Lack[] {
  const servers = runServers()
  return wanted.flatMap(need => {
    const found = needs[need](servers)
    return isMissing(found) ? [{ need, missing: found.missing }] : []
  })
}

function isRequired(need: string): boolean {
  const required = (process.env['MILLRACE_REQUIRE'] ?? '').split(',').filter(name => name !== '')
  return required.some(name => need === name || need.startsWith(`${name}-`))
}

function runServers(): Servers {
  const servers = inject('servers') as Servers | undefined
  if (servers === undefined) throw new Error('only files under test/integration have servers')
  return servers
}

function present<T extends object>(found: T | Missing): T {
  if (isMissing(found)) throw new Error(`not there: ${found.missing}; use describeWith`)
  return found
}
