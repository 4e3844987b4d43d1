// What to try after `npm start`: each a line to paste into another terminal, in the checkout's folder.

export interface NextStep {
  readonly why: string
  readonly command: string
}

export interface Place {
  /** Where clients bootstrap: the proxy. */
  readonly bootstrap: string
  readonly archiveUrl: string
  /** The topic to read and replay. */
  readonly topic: string
  /** `--config` and `--set` as they were given to the worker. */
  readonly flags: readonly string[]
}

const SERVE_ADDRESS = '127.0.0.1:9094'

/** The steps, in an order in which each finds what it needs. */
export function nextSteps({ bootstrap, archiveUrl, topic, flags }: Place): NextStep[] {
  const millrace = (...words: readonly string[]): string =>
    ['npm run -s millrace --', ...[...words, ...flags].map(quoted)].join(' ')
  const folder = archiveUrl.startsWith('file:') ? archiveUrl.slice('file:'.length) : null
  return [
    {
      why: 'produce through the proxy; any Kafka client does',
      command: `node docs/examples/produce.mjs greetings 'hello from the mill' ${quoted(bootstrap)}`
    },
    { why: 'find it', command: millrace('search', 'mill') },
    { why: 'archive what was captured until now', command: millrace('flush') },
    ...(folder === null
      ? []
      : [
          {
            why: 'look into the archive: segments are ordinary tar files',
            command: `find ${quoted(folder)} -name '*.tar.gz' -exec tar tzvf {} ';'`
          }
        ]),
    { why: 'read everything again and check it', command: millrace('verify') },
    { why: 'restore a topic', command: millrace('replay', '--topic', topic, '--to-topic', `${topic}-restored`) },
    { why: 'offer the archive to any Kafka client', command: millrace('serve', '--listen', SERVE_ADDRESS) },
    {
      why: 'and, in one more terminal, read from it',
      command: `node docs/examples/consume.mjs ${SERVE_ADDRESS} ${quoted(topic)}`
    }
  ]
}

/** The steps as they are printed. */
export function formatSteps(steps: readonly NextStep[]): string {
  const lines = steps.map(({ why, command }) => `  # ${why}\n  ${command}`)
  return `Try in another terminal, in this folder:\n\n${lines.join('\n\n')}\n`
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
