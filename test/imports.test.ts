// Imports go down, never round, never sideways; and the check that says so catches what it should.

import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { importFaults, readImports } from './support/check-imports.ts'
import { tempFolder } from './support/temp.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

test('the source keeps to the layers', () => {
  const imports = readImports(root)
  expect(imports.size).toBeGreaterThan(0)
  expect(importFaults(imports)).toEqual([])
})

const sources: [what: string, file: string, source: string, fault: string][] = [
  ['a higher layer', 'src/kafka/a.ts', `import { x } from '../wal/x.ts'`, 'src/wal is not below src/kafka'],
  [
    'a type of a higher layer',
    'src/wal/a.ts',
    `import type {\n  X\n} from '../cli/x.ts'`,
    'src/cli is not below src/wal'
  ],
  ['a neighbour', 'src/search/a.ts', `export * from '../replay/x.ts'`, 'src/replay is not below src/search'],
  ['the WAL from a segment', 'src/segment/a.ts', `import '../wal/x.ts'`, 'meet in the pipeline only'],
  ['the main file', 'src/errors.ts', `const main = await import('./main.ts')`, 'src/main.ts is not below src/*.ts'],
  [
    'a higher thread',
    'src/wal/a.ts',
    `new URL('../archive/x.ts', import.meta.url)`,
    'src/archive is not below src/wal'
  ],
  ['an unknown folder', 'src/kafka/a.ts', `import { x } from '../misc/x.ts'`, 'no layer'],
  [
    'the inside from a connector',
    'connectors/p/a.ts',
    `import { x } from '../../src/kafka/x.ts'`,
    'a connector may import'
  ],
  ['another connector', 'connectors/p/a.ts', `import { x } from '../q/x.ts'`, 'a connector may import'],
  ['a private name', 'connectors/p/a.ts', `import { x } from 'millrace/wal'`, 'not public'],
  ['itself', 'src/wal/a.ts', `import { x } from './a.ts'`, 'cycle: src/wal/a.ts -> src/wal/a.ts']
]

test.for(sources)('an import of %s is a fault', async ([, file, source, fault]) => {
  await using folder = await tempFolder('imports')
  await write(folder.path, { [file]: source })
  expect(importFaults(readImports(folder.path))).toEqual([expect.stringContaining(fault)])
})

test('a cycle is named once, and what is allowed is not', async () => {
  await using folder = await tempFolder('imports')
  await write(folder.path, {
    'src/wal/a.ts': `import { b } from './b.ts'\nimport { crc } from '../kafka/crc.ts'`,
    'src/wal/b.ts': `export { c } from './c.ts'`,
    'src/wal/c.ts': `import type { A } from './a.ts'`,
    'src/kafka/crc.ts': `import { x } from '../errors.ts'\nimport { y } from 'kafkajs'\n// import { z } from '../wal/a.ts'`,
    'src/errors.ts': '',
    'connectors/p/a.ts': `import { x } from 'millrace/connect'\nimport { y } from './b.ts'\nimport fs from 'node:fs'`,
    'connectors/p/b.ts': ''
  })
  expect(importFaults(readImports(folder.path))).toEqual([
    'cycle: src/wal/a.ts -> src/wal/b.ts -> src/wal/c.ts -> src/wal/a.ts'
  ])
})

async function write(folder: string, files: Record<string, string>): Promise<void> {
  for (const [file, source] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), source)
  }
}
