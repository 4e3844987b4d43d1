// When a broker counts as gone, and what becomes of its port and of those who are connected there.
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { Departures } from '../../../connectors/kafka-proxy/departures.ts'
import { until } from '../../support/until.ts'
import type { End, Harness } from './harness.ts'
import { startHarness } from './harness.ts'
import { answerAsk, ask } from './tls-clients.ts'

describe('a broker has left', () => {
  const named = (...nodeIds: number[]) => new Map(nodeIds.map(id => [id, null]))
  const left = (answers: readonly [second: number, nodeIds: number[]][]) => {
    const departures = new Departures(10_000)
    return answers.map(([second, nodeIds]) => departures.see([1, 2, 3], named(...nodeIds), second * 1000))
  }

  test('when no answer has named it for so long', () => {
    const gone = left([
      [0, [1, 2, 3]],
      [5, [1, 2]],
      [14, [1, 2]],
      [15, [1, 2]]
    ])
    expect(gone).toEqual([[], [], [], [3]])
  })

  test('but not when it was named in between', () => {
    const gone = left([
      [0, [1, 2]],
      [9, [1, 2, 3]],
      [10, [1, 2]],
      [19, [1, 2]],
      [20, [1, 2]]
    ])
    expect(gone).toEqual([[], [], [], [], [3]])
  })

  test('and again only when it has been missing anew for so long', () => {
    const gone = left([
      [0, [1, 2]],
      [10, [1, 2]],
      [11, [1, 2]],
      [20, [1, 2]],
      [21, [1, 2]]
    ])
    expect(gone).toEqual([[], [3], [], [], [3]])
  })

  test('nor while there are no answers', () => {
    const gone = left([
      [0, [1, 2, 3]],
      [3600, [1]],
      [3601, [1, 2, 3]]
    ])
    expect(gone).toEqual([[], [], []])
  })
})

describe('its port', () => {
  const options = { 'node.removed.after.ms': '1s' }
  const said = ({ logs }: Harness) => logs.filter(({ msg }) => msg.includes('has left the cluster'))

  /** Metadata names only broker 2, until broker 1 counts as gone. */
  const leave = (harness: Harness) =>
    until(
      () => {
        harness.named(2)
        return said(harness).length > 0
      },
      { what: 'broker 1 has left' }
    )

  /** A client that sends this at once, null when it is refused. */
  async function connected(harness: Harness, first = [ask(1)]): Promise<End | null> {
    const client = harness.connectWith(...first)
    return await once(client.socket, 'connect').then(
      () => client,
      () => null
    )
  }

  test('is closed, and whoever is connected gets what is owed', async () => {
    const harness = await startHarness({ options })
    const { client, broker } = await harness.connect()
    client.send(ask(1))
    const asked = await broker.next()
    await leave(harness)
    expect(await connected(harness)).toBeNull()
    broker.send(answerAsk(asked))
    expect((await client.next()).readInt32BE(4)).toBe(1)
    await client.end()
    expect(said(harness)).toEqual([expect.objectContaining({ node: 1, level: 30 })])
    expect(Object.keys(harness.proxy.addresses)).toEqual(['bootstrap', 'node 2'])
  })

  test('leads nobody to another broker, who was on the way in', async () => {
    const harness = await startHarness({ options: { ...options, 'proxy.protocol': 'required' } })
    const client = (await connected(harness, []))!
    await leave(harness)
    client.send(Buffer.from('PROXY UNKNOWN\r\n'), ask(1))
    await client.end()
    expect(harness.waiting()).toBe(0)
    expect(await harness.metric('millrace_proxy_connections_cut_total', ',reason="no_broker"')).toBe(1)
    expect(harness.logs.at(-1)!.err).toMatchObject({
      message: expect.stringMatching(/^broker 1 is not in the cluster/)
    })
  })

  test('is opened again when the cluster names it again', async () => {
    const harness = await startHarness({ options })
    await leave(harness)
    harness.named(1, 2)
    await until(() => connected(harness), { what: 'the port is open' })
    const broker = await harness.accepted()
    expect(await broker.next()).toEqual(ask(1))
  })

  test('stays open while it is merely missing', async () => {
    const harness = await startHarness()
    harness.named(2)
    expect(await connected(harness)).not.toBeNull()
    expect(said(harness)).toEqual([])
  })
})
