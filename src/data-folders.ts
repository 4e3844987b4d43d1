// What lies where inside `data.dir`.
import path from 'node:path'

export interface DataFolders {
  /** The write-ahead log's files. */
  readonly wal: string
  /** Segments that are being built. */
  readonly building: string
  /** Local copies of archived segments. */
  readonly warm: string
  /** Search indexes of archived segments, unpacked. */
  readonly searchIndexes: string
  /** Search indexes of the WAL's files. */
  readonly hotIndex: string
  /** The local memory of archived segments. */
  readonly catalog: string
  /** How far each watched partition is archived. */
  readonly reached: string
  /** The embedded broker's topics and logs. */
  readonly broker: string
  /** What consumer groups committed to `millrace serve`. */
  readonly serve: string
}

export function dataFolders(dataDir: string): DataFolders {
  return {
    wal: path.join(dataDir, 'wal'),
    building: path.join(dataDir, 'building'),
    warm: path.join(dataDir, 'warm'),
    searchIndexes: path.join(dataDir, 'cache', 'search'),
    hotIndex: path.join(dataDir, 'cache', 'hot'),
    catalog: path.join(dataDir, 'catalog.db'),
    reached: path.join(dataDir, 'reached.json'),
    broker: path.join(dataDir, 'broker'),
    serve: path.join(dataDir, 'serve.db')
  }
}
