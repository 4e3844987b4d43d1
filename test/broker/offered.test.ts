// What the two servers offer: of each API the versions that a real 4.3 broker offers, as its recorded answer says, up to what
// they understand; and no API that they do not have.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ArchiveServer } from '../../src/broker/archive-server.ts'
import { EmbeddedBroker } from '../../src/broker/embedded-broker.ts'
import type { Address } from '../../src/kafka/address.ts'
import type { ResponseOf } from '../../src/kafka/api.ts'
import { Connection } from '../../src/kafka/connection.ts'
import { apiVersions } from '../../src/kafka/messages.ts'
import { smallArchive } from '../archive/small-archive.ts'
import { frameFixture } from '../fixtures/load.ts'
import { tempFolder } from '../support/temp.ts'

const serving = { listen: { host: '127.0.0.1', port: 0 }, what: 'listen', hint: '', onError: () => undefined }

/** Group APIs of the classic protocol, by their keys. */
const groups = [8, 9, 11, 12, 13, 14, 15, 16, 42, 47]
const reading = [1, 2, 3, 10, 18, 60]
/** Produce, CreateTopics, DeleteTopics, InitProducerId, DescribeConfigs, CreatePartitions. */
const writing = [0, 19, 20, 22, 32, 37]
const ascending = (keys: readonly number[]) => keys.toSorted((a, b) => a - b)

test('the embedded broker', async () => {
  await using folder = await tempFolder('offered')
  await using broker = await EmbeddedBroker.open({ ...serving, directory: folder.path, maxBytes: 2 ** 26 })
  expect(await offered(broker.address)).toEqual(ascending([...reading, ...writing, ...groups]))
})

test('serve, which has no leader epochs to ask for (OffsetForLeaderEpoch, 23)', async () => {
  await using folder = await tempFolder('offered')
  await using small = await smallArchive()
  const archive = { archive: small.archive, warm: null, walDirectory: null, cacheBytes: 2 ** 20 }
  await using server = await ArchiveServer.open({ ...serving, ...archive, offsetsFile: join(folder.path, 'o.db') })
  expect(await offered(server.address)).toEqual(ascending([...reading, ...writing, ...groups]))
  await using without = await ArchiveServer.open({ ...serving, ...archive, offsetsFile: null })
  expect(await offered(without.address)).toEqual(ascending([...reading, ...writing]))
})

/** The keys of the APIs that a server offers, each checked to be in the versions of the real broker. */
async function offered(address: Address): Promise<number[]> {
  using connection = await Connection.open(address, 'test')
  const client = { clientSoftwareName: 'test', clientSoftwareVersion: '0' }
  const { apiKeys } = await connection.request(apiVersions, client)
  const real = frameFixture('java-ApiVersions-v4-response')
  const theirs = real.api.response.decode(real.frame, 4, 8) as ResponseOf<typeof apiVersions>
  for (const one of apiKeys) expect(one).toEqual(theirs.apiKeys.find(({ apiKey }) => apiKey === one.apiKey))
  return ascending(apiKeys.map(({ apiKey }) => apiKey))
}
