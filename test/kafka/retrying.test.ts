// How long a request to a cluster is made again.
import { afterEach, expect, test, vi } from 'vitest'
import { Unanswering } from '../../src/kafka/broker-connections.ts'
import { KafkaError } from '../../src/kafka/kafka-errors.ts'
import { retrying } from '../../src/kafka/retrying.ts'

afterEach(() => void vi.useRealTimers())

test('it ends when its time is over, also when the clock has been set back meanwhile', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  let tries = 0
  const work = retrying(
    'asked',
    async () => {
      if (++tries === 1) vi.setSystemTime(Date.now() - 3_600_000)
      if (tries > 20) throw new Error('it goes on and on')
      return { errorCode: KafkaError.LEADER_NOT_AVAILABLE }
    },
    50
  )
  await expect(work).rejects.toThrow('asked: LEADER_NOT_AVAILABLE')
})

test('a broker that does not answer is not waited for by who has little time; in half a minute another may lead', async () => {
  let tries = 0
  const send = async () => {
    if (++tries === 1) throw new Unanswering('127.0.0.1:9092')
    return { errorCode: KafkaError.NONE, value: 'from the next leader' }
  }
  await expect(retrying('asked', send, 2_000)).rejects.toThrow('does not answer')
  tries = 0
  expect(await retrying('asked', send)).toBe('from the next leader')
})
