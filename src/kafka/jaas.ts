// Reads the one line that Kafka's clients take for who they are: `sasl.jaas.config`, in the syntax of Java's JAAS.

export interface LoginModule {
  /** The class, with its package. */
  readonly name: string
  readonly options: ReadonlyMap<string, string>
}

const HEAD = /^\s*([\w.$]+)\s+(?:required|requisite|sufficient|optional)\b/i
const OPTION = /\s*([\w.$-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"';=]+))/y
const END = /\s*;\s*$/y

const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', f: '\f', b: '\b' }

/** `Module flag key="value" …;`: exactly one module. Null for anything else: a message must not repeat what was given. */
export function parseJaas(text: string): LoginModule | null {
  const head = HEAD.exec(text)
  if (head === null) return null
  const options = new Map<string, string>()
  let at = head[0].length
  for (;;) {
    OPTION.lastIndex = at
    const found = OPTION.exec(text)
    if (found === null) break
    const [, key = '', double, single, bare = ''] = found
    const quoted = double ?? single
    options.set(key, quoted?.replace(/\\(.)/gs, (_, letter: string) => escapes[letter] ?? letter) ?? bare)
    at = OPTION.lastIndex
  }
  END.lastIndex = at
  return END.test(text) ? { name: head[1]!, options } : null
}
