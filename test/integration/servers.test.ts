// The servers that all other integration tests lean on: each answers, and is what its helper says.

import { randomUUID } from 'node:crypto'
import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { expect, test } from 'vitest'
import { askCluster } from '../support/kafka-client.ts'
import { consoleConsume, consoleProduce, dumpLog, kafkaTopics, producerPerf } from '../support/kafka-tools.ts'
import { kcat } from '../support/kcat.ts'
import { describeS3, describeWith, useKafka, useOwnKafka, useS3 } from '../support/servers.ts'

describeWith(['kafka', 'kafka-files', 'kafka-tools'], 'the shared Kafka', () => {
  test('takes a record from the console producer, gives it to the console consumer and keeps it in its log', async () => {
    const { bootstrap, segmentFiles } = useKafka()
    const topic = `round-trip-${randomUUID()}`
    await consoleProduce({ bootstrap, topic, input: 'grain of wheat\n' })
    expect(await consoleConsume({ bootstrap, topic, count: 1 })).toEqual(['grain of wheat'])
    const [log, ...more] = await segmentFiles(topic, 0)
    expect(more).toEqual([])
    expect(await readFile(log!)).toSatisfy((bytes: Buffer) => bytes.includes('grain of wheat'))
    const dump = await dumpLog(['--deep-iteration', '--print-data-log', '--files', log!])
    expect(dump).toContain('isvalid: true')
    expect(dump).toContain('payload: grain of wheat')
  })

  test('reports on a load', async () => {
    const { bootstrap } = useKafka()
    const topic = `load-${randomUUID()}`
    await kafkaTopics(bootstrap, ['--create', '--topic', topic, '--partitions', '2'])
    const report = await producerPerf({ bootstrap, topic, records: 100, recordSize: 100, settings: { acks: 'all' } })
    expect(report).toMatch(/100 records sent/)
  })
})

describeWith(['kafka', 'kcat'], 'kcat', () => {
  test('writes and reads', async () => {
    const { bootstrap } = useKafka()
    const topic = `kcat-${randomUUID()}`
    await kcat(['-b', bootstrap, '-P', '-t', topic, '-K', ':'], { input: 'k:v\n' })
    const read = await kcat(['-b', bootstrap, '-C', '-t', topic, '-K', ':', '-o', 'beginning', '-e', '-q'])
    expect(read.toString()).toBe('k:v\n')
  })
})

describeWith(['kafka-own'], 'a cluster of three', () => {
  const cluster = useOwnKafka({ nodes: 3 })

  test('has three nodes with one cluster id, and loses and regains one', async () => {
    const { bootstrap, clusterId, nodes, kill, start } = cluster()
    const seen = await askCluster(bootstrap)
    expect(seen.clusterId).toBe(clusterId)
    expect(seen.nodes.map(({ id, port }) => [id, port]).sort()).toEqual(nodes.map(({ id, port }) => [id, port]))
    await kill(2)
    await expect(askCluster(`127.0.0.1:${nodes[1]!.port}`)).rejects.toThrow()
    await start(2)
    expect((await askCluster(`127.0.0.1:${nodes[1]!.port}`)).nodes.map(({ id }) => id)).toContain(2)
  })
})

describeS3('the shared S3', () => {
  test('refuses a second put of an object that must be absent', async () => {
    const { client, createBucket, folder } = useS3()
    const bucket = await createBucket()
    const s3 = client()
    const put = (body: string) =>
      s3.send(new PutObjectCommand({ Bucket: bucket, Key: 'a/b c=1', Body: body, IfNoneMatch: '*' }))
    await put('first')
    await expect(put('second')).rejects.toMatchObject({
      name: 'PreconditionFailed',
      $metadata: { httpStatusCode: 412 }
    })
    const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: 'a/b c=1' }))
    expect(await got.Body?.transformToString()).toBe('first')
    if (folder !== undefined) await access(join(folder, bucket, 'a/b c=1'))
    s3.destroy()
  })
})
