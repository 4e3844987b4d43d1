// The ends of Fetch and share group answers: the brokers that they name become the proxy's listeners, and no byte more or
// less goes out than the frame's size has said.
import { describe, expect, test } from 'vitest'
import { relocateTail } from '../../../connectors/kafka-proxy/endpoints.ts'
import type { NodeMap } from '../../../connectors/kafka-proxy/rewrite.ts'
import type { AnswerTail } from '../../../src/kafka/answer-tail.ts'
import { AnswerScanner, hasEndpointsAtEnd, writeTail } from '../../../src/kafka/answer-tail.ts'
import type { Api, ResponseOf } from '../../../src/kafka/api.ts'
import { responseFrame } from '../../../src/kafka/headers.ts'
import { fetch, shareAcknowledge, shareFetch } from '../../../src/kafka/messages.ts'
import { frameFixtures } from '../../fixtures/load.ts'
import { read } from './frames.ts'

/** Node n is offered at this host and port 20000 + n. */
function nodesAt(host: string) {
  const known = new Set<number>()
  const nodes: NodeMap = {
    async reconcile(brokers) {
      for (const id of brokers.keys()) known.add(id)
      return new Set(brokers.keys())
    },
    addressOf(nodeId) {
      expect(known.has(nodeId), `node ${nodeId} is named before it has a listener`).toBe(true)
      return { host, port: 20_000 + nodeId }
    }
  }
  return nodes
}

/** What a client gets of a frame. */
async function relocated(key: number, version: number, frame: Buffer, host: string): Promise<Buffer> {
  const scanner = new AnswerScanner(key, version)
  const passed = scanner.push(frame)
  return Buffer.concat([passed, await relocateTail(key, version, scanner.finish(), nodesAt(host))])
}

type Answer = ResponseOf<typeof fetch>
const answerOf = (api: Api, version: number, frame: Buffer) => read(api, version, frame) as Answer

/** Answers of nodes that were asked about a partition that they do not lead. */
const recorded = frameFixtures().filter(
  ({ client, api, version, side }) =>
    client === 'elsewhere' && side === 'response' && hasEndpointsAtEnd(api.key, version)
)
/** A node that was never the leader gives ShareAcknowledge another error, without an address: here is one put in. */
const named = recorded.map(({ name, api, version, frame }) => {
  const answer = answerOf(api, version, frame)
  if (api !== shareAcknowledge) return { name, api, version, frame }
  const nodeEndpoints = [{ nodeId: 3, host: '127.0.0.1', port: 9092, rack: 'rack-3' }]
  const body = api.response.encode({ ...answer, nodeEndpoints }, version)
  return { name: `${name}, with an address`, api, version, frame: responseFrame(api, version, 7, body) }
})

test('a real broker names the leader, in every version', () => {
  const byBroker = recorded.filter(({ api, version, frame }) => answerOf(api, version, frame).nodeEndpoints?.length)
  expect(byBroker.map(({ api, version }) => `${api.name} ${version}`)).toEqual([
    ...['Fetch 16', 'Fetch 17', 'Fetch 18', 'ShareFetch 1', 'ShareFetch 2']
  ])
})

describe.each(named)('$name', ({ api, version, frame }) => {
  const before = answerOf(api, version, frame)

  test.each(['p', 'proxy', '127.0.0.1'])('names %s, and says all else as before', async host => {
    const [node, ...others] = before.nodeEndpoints!
    expect([node!.host, others]).toEqual(['127.0.0.1', []])
    const answer = await relocated(api.key, version, frame, host)
    expect(answer.length).toBe(frame.length)
    expect(answer.readInt32BE(0)).toBe(frame.length - 4)
    const { unknownTags: padding, ...after } = answerOf(api, version, answer)
    const { unknownTags: _, ...rest } = before
    expect(after).toEqual({ ...rest, nodeEndpoints: [{ ...node, host, port: 20_000 + node!.nodeId }] })
    expect(padding?.map(({ tag }) => tag)).toEqual(host === '127.0.0.1' ? undefined : [127])
  })

  test('names nobody where the name of the proxy takes more room', async () => {
    const answer = await relocated(api.key, version, frame, 'a-sidecar-with-a-long-name.example.org')
    expect(answer.length).toBe(frame.length)
    const { nodeEndpoints, responses } = answerOf(api, version, answer)
    expect(nodeEndpoints).toEqual([])
    expect(responses).toEqual(before.responses)
    expect(answer.includes('127.0.0.1')).toBe(false)
  })
})

describe.each([fetch, shareFetch, shareAcknowledge])('$name', ({ key, versions: [, version] }) => {
  const unknownTags = [{ tag: 5, data: Buffer.from('kept') }]
  const tailOf = (hosts: readonly string[]): AnswerTail => ({
    nodeEndpoints: hosts.map((host, index) => ({ nodeId: index + 1, host, port: 9092, rack: `r${index}` })),
    unknownTags
  })

  const tailOfBytes = (bytes: Buffer) => {
    // Version 18's head, without topics: sizes, correlation id, no tags, then what each API has before its topics.
    const head = key === fetch.key ? 8 + 1 + 10 : 8 + 1 + 4 + 2 + 1 + 4
    const scanner = new AnswerScanner(key, version)
    const frame = Buffer.concat([Buffer.alloc(head), Buffer.from([1]), bytes])
    if (key !== fetch.key) frame[15] = 0
    scanner.push(frame)
    return scanner.finish().tail
  }

  test('fills a gap of any size, whatever its length takes', async () => {
    for (let length = 1; length <= 600; length++) {
      const tail = tailOf(['x'.repeat(length)])
      const bytes = writeTail(key, version, tail)
      const ours = await relocateTail(key, version, { bytes, tail }, nodesAt('y'))
      expect(ours.length, `a host of ${length}`).toBe(bytes.length)
      const after = tailOfBytes(ours)
      // A single byte cannot be filled: then nobody is named.
      expect(
        after.nodeEndpoints!.map(({ host }) => host),
        `a host of ${length}`
      ).toEqual(length === 2 ? [] : ['y'])
      expect(after.unknownTags![0]).toEqual(unknownTags[0])
      expect(after.unknownTags!.length).toBeLessThanOrEqual(2)
    }
  })

  test('leaves out the last brokers when not all find room', async () => {
    const tail = tailOf(['long.broker.internal', 'b', 'c'])
    const bytes = writeTail(key, version, tail)
    const ours = await relocateTail(key, version, { bytes, tail }, nodesAt('proxy.internal'))
    expect(ours.length).toBe(bytes.length)
    expect(tailOfBytes(ours).nodeEndpoints!.map(({ nodeId, host }) => [nodeId, host])).toEqual([
      [1, 'proxy.internal'],
      [2, 'proxy.internal']
    ])
  })
})
