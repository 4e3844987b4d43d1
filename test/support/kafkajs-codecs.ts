// kafkajs brings only gzip: the other codecs are plugged in here, by the libraries that its users plug in.
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import kafkajs from 'kafkajs'
import { compressFrameSync, decompressFrameSync } from 'lz4-napi'
import snappy from 'snappy'

interface Encoder {
  readonly buffer: Buffer
}

const { CompressionCodecs, CompressionTypes } = kafkajs

/** By the names that Kafka's tools use. */
export const kafkajsCodecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
} as const

CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async ({ buffer }: Encoder) => snappy.compress(buffer),
  decompress: async (buffer: Buffer) => Buffer.concat(await Promise.all(snappyBlocks(buffer).map(uncompress)))
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async ({ buffer }: Encoder) => compressFrameSync(buffer),
  decompress: async (buffer: Buffer) => decompressFrameSync(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: Encoder) => zstdCompressSync(buffer),
  decompress: async (buffer: Buffer) => zstdDecompressSync(buffer)
})

const uncompress = (block: Buffer) => snappy.uncompress(block, { asBuffer: true }) as Promise<Buffer>

/** The raw blocks: Java writes snappy-java's stream, a header of 16 bytes and then blocks after their lengths; others write one. */
function snappyBlocks(bytes: Buffer): Buffer[] {
  if (!bytes.subarray(0, 8).equals(Buffer.from('\x82SNAPPY\0', 'latin1'))) return [bytes]
  const blocks: Buffer[] = []
  for (let at = 16; at < bytes.length; at += 4 + bytes.readInt32BE(at)) {
    blocks.push(bytes.subarray(at + 4, at + 4 + bytes.readInt32BE(at)))
  }
  return blocks
}
