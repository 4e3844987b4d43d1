// What stands in the headers of a log's record batches, read by their places in Kafka's description of the format.
import { readFile } from 'node:fs/promises'
import type { Codec } from '../clients/client.ts'
import { codecs } from '../clients/client.ts'

export interface Batch {
  readonly codec: Codec
  readonly transactional: boolean
  readonly control: boolean
  readonly producerId: bigint
  readonly records: number
}

/** The batches of a broker's log file, as they follow one another. */
export async function batchesOf(file: string): Promise<Batch[]> {
  const log = await readFile(file)
  const batches: Batch[] = []
  for (let at = 0; at < log.length; at += log.readInt32BE(at + 8) + 12) {
    const attributes = log.readInt16BE(at + 21)
    batches.push({
      codec: codecs[attributes & 7]!,
      transactional: (attributes & 16) !== 0,
      control: (attributes & 32) !== 0,
      producerId: log.readBigInt64BE(at + 43),
      records: log.readInt32BE(at + 57)
    })
  }
  return batches
}
