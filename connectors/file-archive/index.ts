// The file-archive sink: the archive is a folder.
import { defineArchive, openObjectStore, option } from 'millrace/connect'

export default defineArchive({
  type: 'sink',
  name: 'file-archive',
  aliases: ['FileArchiveSink', 'io.millrace.FileArchiveSink'],
  doc: 'Keeps the archive in a folder.',
  options: {
    'archive.url': {
      schema: option.archiveUrl('file:'),
      default: 'file:./data/archive',
      doc: 'the folder, as file:PATH'
    }
  },
  open: (config, access) => openObjectStore(config['archive.url'], access)
})
