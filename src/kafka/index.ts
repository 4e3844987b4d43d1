// What connectors may use of the Kafka station: the package's `millrace/kafka`.

export type { Address } from './address.ts'
export { formatAddress, parseAddress } from './address.ts'
export type { Api, RequestOf, ResponseOf } from './api.ts'
export type { TopicMetadata } from './cluster.ts'
export { Cluster } from './cluster.ts'
export type { FrameHandler } from './frames.ts'
export { FrameSplitter, REQUEST_HEAD_BYTES, RESPONSE_HEAD_BYTES } from './frames.ts'
export { requestBodyStart, responseBodyStart, responseFrame } from './headers.ts'
export { KafkaError, kafkaErrorName } from './kafka-errors.ts'
export * as messages from './messages.ts'
export type { ProducedBatch, ProduceRequest } from './produce-request.ts'
export { scanProduceRequest } from './produce-request.ts'
