// The connectors that come with Millrace. Each uses only `millrace/connect` and `millrace/kafka`, as a third party's would.
import fileArchive from './file-archive/index.ts'
import kafkaProxy from './kafka-proxy/index.ts'
import s3Archive from './s3-archive/index.ts'

export const bundledConnectors = [kafkaProxy, fileArchive, s3Archive] as const
