// The s3-archive sink: the archive is a bucket, of AWS or any store with conditional puts.
import { defineArchive, openObjectStore, option } from 'millrace/connect'

export default defineArchive({
  type: 'sink',
  name: 's3-archive',
  aliases: ['S3ArchiveSink', 'io.millrace.S3ArchiveSink'],
  doc: 'Keeps the archive in an S3 bucket. Credentials come from the AWS default chain (environment, profile, role).',
  options: {
    'archive.url': { schema: option.archiveUrl('s3:'), doc: 'bucket and prefix, as s3://BUCKET/PREFIX' },
    's3.endpoint': { schema: option.httpUrl, optional: true, doc: 'the URL of a store other than AWS' },
    's3.region': { schema: option.text, optional: true, doc: 'the region; else the AWS default chain tells' },
    's3.path.style': {
      schema: option.boolean,
      optional: true,
      doc: 'bucket in the path, not in the host name; true where s3.endpoint is set'
    },
    's3.storage.class': { schema: option.text, optional: true, doc: 'such as STANDARD_IA' },
    's3.sse': { schema: option.text, optional: true, doc: 'server-side encryption, AES256 or aws:kms' }
  },
  open: config =>
    openObjectStore(config['archive.url'], {
      s3: {
        endpoint: config['s3.endpoint'],
        region: config['s3.region'],
        pathStyle: config['s3.path.style'],
        storageClass: config['s3.storage.class'],
        sse: config['s3.sse']
      }
    })
})
