// Where the code of a worker thread lies: tsc renames the files of imports when it builds the package, but not those of URLs.

/** The file that a `new URL('./x.ts', import.meta.url)` means: `x.js` in the package, where everything is `.js`. */
export function threadFile(source: URL): URL {
  return import.meta.filename.endsWith('.ts') ? source : new URL(source.href.replace(/\.ts$/, '.js'))
}
