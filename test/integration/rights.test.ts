// Where brokers check rights, Millrace needs few, and says which of them it lacks.
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { archivedLog, logDifference, logWithoutEpochs } from '../support/archived.ts'
import type { Authority } from '../support/certificates.ts'
import { makeAuthority } from '../support/certificates.ts'
import { listenerOf, saslSettings, securedKafka, USERNAME } from '../support/kafka-secured.ts'
import type { Worker } from '../support/millrace.ts'
import { startMillrace } from '../support/millrace.ts'
import { describeWith, useOwnKafka } from '../support/servers.ts'
import { createTopic, send, withAdmin } from '../support/topics.ts'
import { archiveFolder } from '../support/workers.ts'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs as unknown as {
  AclOperationTypes: Record<'DESCRIBE' | 'DESCRIBE_CONFIGS' | 'READ', number>
  AclPermissionTypes: Record<'ALLOW', number>
  AclResourceTypes: Record<'TOPIC', number>
  ResourcePatternTypes: Record<'LITERAL', number>
}
type Right = keyof typeof AclOperationTypes

describeWith(['kafka-own', 'kafka-files'], 'a cluster that checks rights', () => {
  let authority: Authority
  const kafka = useOwnKafka(async () => {
    authority = await makeAuthority()
    const { settings, ...options } = await securedKafka(authority)
    const authorizer = 'org.apache.kafka.metadata.authorizer.StandardAuthorizer'
    return {
      ...options,
      settings: { ...settings, 'authorizer.class.name': authorizer, 'super.users': 'User:ANONYMOUS' }
    }
  })
  let worker: Worker
  beforeAll(async () => {
    worker = await startMillrace({
      bootstrap: listenerOf(kafka(), 'SASL'),
      worker: saslSettings(authority, 'PLAIN'),
      proxy: { backfill: 'earliest' },
      highestNode: 1
    })
  })
  afterAll(async () => {
    await worker?.dispose()
    await authority?.[Symbol.asyncDispose]()
  })

  /** A topic with records that Millrace's user has these rights on. */
  async function topicWith(...rights: Right[]): Promise<string> {
    const topic = await createTopic(kafka().bootstrap)
    const acl = rights.map(right => ({
      resourceType: AclResourceTypes.TOPIC,
      resourceName: topic,
      resourcePatternType: ResourcePatternTypes.LITERAL,
      principal: `User:${USERNAME}`,
      host: '*',
      operation: AclOperationTypes[right],
      permissionType: AclPermissionTypes.ALLOW
    }))
    await withAdmin(kafka().bootstrap, admin => admin.createAcls({ acl }))
    await send(kafka().bootstrap, topic, [[{ value: 'a' }], [{ value: 'b' }]])
    return topic
  }

  test('Describe, DescribeConfigs and Read are enough to archive a topic', async () => {
    const topic = await topicWith('DESCRIBE', 'DESCRIBE_CONFIGS', 'READ')
    const { code, stderr } = await worker.command(['flush', '--topic', topic])
    expect(code, stderr).toBe(0)
    const [file] = await kafka().segmentFiles(topic, 0)
    const archived = await archivedLog(archiveFolder(worker), topic, 0)
    expect(logDifference(archived, await logWithoutEpochs(file!))).toBeNull()
  })

  test.for<[string, Right[], RegExp]>([
    ['Read', ['DESCRIBE', 'DESCRIBE_CONFIGS'], /Fetch of .*TOPIC_AUTHORIZATION_FAILED/],
    ['DescribeConfigs', ['DESCRIBE', 'READ'], /DescribeConfigs of .*TOPIC_AUTHORIZATION_FAILED/]
  ])('without %s nothing is archived, and what lacks is said', async ([, rights, what]) => {
    const topic = await topicWith(...rights)
    const { code, stderr } = await worker.command(['flush', '--topic', topic, '--timeout', '2s'])
    expect(code).toBe(1)
    expect(stderr).toMatch(what)
    expect(stderr).toContain('Millrace needs the rights Describe, DescribeConfigs and Read')
  })
})
