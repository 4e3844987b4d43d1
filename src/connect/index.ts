// The package's `millrace/connect`: all that a connector may use beside `millrace/kafka`.

export type { ObjectStore, StoreAccess } from '../archive/object-store.ts'
export { openObjectStore } from '../archive/object-store.ts'
export { isMillraceError, MillraceError, messageOf } from '../errors.ts'
export { FrameFlag } from '../wal/frame.ts'
export type { CapturedBatch } from '../wal/messages.ts'
export type { ArchiveConnector, Mismatch, RunningSource, SourceConnector, SourceContext } from './connector.ts'
export { defineArchive, defineSource, mismatch } from './connector.ts'
export type { MetricDeclaration, Metrics, MetricTable } from './metrics.ts'
export type { Option, Options, Values } from './options.ts'
export * as option from './options.ts'
export { sslOptions } from './security-options.ts'
