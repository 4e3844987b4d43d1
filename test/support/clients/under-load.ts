// Load that goes on while something happens to the cluster or to the proxy.
import { randomUUID } from 'node:crypto'
import type { Acknowledged } from '../topics.ts'
import { produceUntil } from '../topics.ts'
import { until } from '../until.ts'
import { javaLoad } from './java-load.ts'

/**
 * What is acknowledged to two idempotent clients, Kafka's own and kafkajs, that produce while `work` goes on. What work is given
 * waits until each of them has gone on in every partition.
 */
export async function underLoad(
  { bootstrap, topic, partitions }: { bootstrap: string; topic: string; partitions: number },
  work: (more: (when: string) => Promise<unknown>) => Promise<unknown>,
  acknowledged: Acknowledged = new Map()
): Promise<Acknowledged> {
  const stop = new AbortController()
  const clients: Acknowledged[] = [new Map(), new Map()]
  const name = randomUUID()
  const loads = [
    javaLoad(stop.signal, { bootstrap, topic, perSecond: 200 }, clients[0]!),
    produceUntil(stop.signal, { bootstrap, topic, name, idempotent: true }, clients[1]!)
  ]
  const died = Promise.all(loads).then(() => undefined)
  died.catch(() => {})
  const counts = () =>
    clients.flatMap(one =>
      Array.from(
        { length: partitions },
        (_, p) =>
          one
            .keys()
            .filter(at => at.startsWith(`${p}@`))
            .toArray().length
      )
    )
  const more = async (when: string) => {
    const before = counts()
    const isEnough = () => counts().every((count, i) => count >= before[i]! + 20)
    const enough = until(isEnough, { what: `both clients go on in every partition ${when}`, timeout: 40_000 })
    await Promise.race([enough, died.then(() => enough)]).catch(cause => {
      throw new Error(`${before} → ${counts()}`, { cause })
    })
  }
  try {
    await work(more)
  } finally {
    stop.abort()
  }
  await died
  for (const one of clients) for (const [place, value] of one) acknowledged.set(place, value)
  return acknowledged
}
