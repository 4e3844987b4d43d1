// The connectors that come with Millrace. Each uses only `millrace/connect` and `millrace/kafka`, as a third party's would.
import fileArchive from '../connectors/file-archive/index.ts'
import kafkaProxy from '../connectors/kafka-proxy/index.ts'
import s3Archive from '../connectors/s3-archive/index.ts'

export const bundledConnectors = [kafkaProxy, fileArchive, s3Archive] as const
