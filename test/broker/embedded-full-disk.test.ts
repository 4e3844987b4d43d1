import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EmbeddedLogs } from '../../src/broker/embedded/embedded-logs.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'
import { produce } from '../../src/kafka/messages.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { until } from '../support/until.ts'
import { appended, caller, sequenced, valuesOf, wholeLog } from './embedded-world.ts'

const MAX_BYTES = 1024 ** 3

test.skipIf(!canMount)(
  'a full disk (needs root): what fails is taken back, is told as retriable, and goes on in order when there is room',
  async () => {
    await using disk = await smallDisk(8)
    const filler = join(disk.path, 'filler')
    await writeFile(filler, Buffer.alloc(5_000_000))
    const values: string[] = []
    {
      await using logs = await EmbeddedLogs.open({ directory: join(disk.path, 'broker'), maxBytes: MAX_BYTES })
      const log = logs.createTopic('orders', 1, {}).partitions[0]!
      const value = (sequence: number) => `${sequence} `.padEnd(60_000, 'x')
      const send = (sequence: number) => appended(log, sequenced(7, sequence, [value(sequence)]))
      let failed = -1
      for (let next = 0; failed < 0; next += 4) {
        const sequences = [next, next + 1, next + 2, next + 3]
        const outcomes = await Promise.allSettled(sequences.map(send))
        const stored = outcomes.filter(({ status }) => status === 'fulfilled').length
        for (const outcome of outcomes.slice(stored)) {
          expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'WAL_FAILED' } })
        }
        values.push(...sequences.slice(0, stored).map(value))
        expect(log.highWatermark).toBe(values.length)
        if (stored < 4) failed = next + stored
      }
      expect(values.length).toBeGreaterThan(8)
      expect(logs.health.ok).toBe(false)
      // What failed is not known, so the next in the row is still the first that failed.
      const records = sequenced(7, failed, [value(failed)]).toWire()
      const partitionData = [{ index: 0, records }]
      const request = { transactionalId: null, acks: -1, timeoutMs: 1, topicData: [{ name: 'orders', partitionData }] }
      expect((await caller(logs)(produce, request, 9))?.responses[0]?.partitionResponses[0]).toMatchObject({
        errorCode: KafkaError.KAFKA_STORAGE_ERROR,
        errorMessage: expect.stringContaining('could not be written'),
        baseOffset: -1
      })
      expect([...valuesOf(await wholeLog(log)).values()]).toEqual(values)

      await rm(filler)
      await until(() => logs.health.ok, { what: 'the storage is healthy again' })
      const again = [failed, failed + 1, failed + 2]
      const answers = await Promise.all(again.map(send))
      expect(answers.map(({ baseOffset }) => baseOffset)).toEqual(again)
      values.push(...again.map(value))
      expect([...valuesOf(await wholeLog(log)).values()]).toEqual(values)
    }
    await using logs = await EmbeddedLogs.open({ directory: join(disk.path, 'broker'), maxBytes: MAX_BYTES })
    expect([...valuesOf(await wholeLog(logs.find('orders')!.partitions[0]!)).values()]).toEqual(values)
  }
)
