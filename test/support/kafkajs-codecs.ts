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

// Snappy is read only as kafkajs writes it here, as one raw block.
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async ({ buffer }: Encoder) => snappy.compress(buffer),
  decompress: async (buffer: Buffer) => snappy.uncompress(buffer, { asBuffer: true })
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async ({ buffer }: Encoder) => compressFrameSync(buffer),
  decompress: async (buffer: Buffer) => decompressFrameSync(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: Encoder) => zstdCompressSync(buffer),
  decompress: async (buffer: Buffer) => zstdDecompressSync(buffer)
})
