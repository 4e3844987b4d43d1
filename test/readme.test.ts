// README's configuration is loaded as it stands there, and names every option that there is.
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bundledConnectors } from '../src/bundled-connectors.ts'
import { loadConfiguration, workerOptions } from '../src/config.ts'
import { tempFolder } from './support/temp.ts'

test('README configures a worker with a proxy and a bucket, and names all of their options', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const blocks = [...readme.matchAll(/^`([\w/.-]+)`[^\n]*\n(?:[^\n`]+\n)?\n```yaml\n(.*?)```/gms)]
  expect(blocks.map(([, file]) => file)).toEqual([
    'config/worker.yaml',
    'config/connectors/kafka-proxy.yaml',
    'config/connectors/s3-archive.yaml'
  ])
  await using folder = await tempFolder('readme')
  await mkdir(join(folder.path, 'config', 'connectors'), { recursive: true })
  for (const [, file, yaml] of blocks) await writeFile(join(folder.path, file!), yaml!)
  const set = [`connectors.dir=${join(folder.path, 'config/connectors')}`]
  const loaded = loadConfiguration({ file: join(folder.path, 'config/worker.yaml'), set, env: {} }, bundledConnectors)
  expect(loaded.sources.map(({ connector }) => connector.name)).toEqual(['kafka-proxy'])
  expect(loaded.archive.connector.name).toBe('s3-archive')

  const named = [workerOptions, ...bundledConnectors.map(({ options }) => options)].flatMap(Object.keys)
  const isNamed = (key: string) => new RegExp(`(?<![\\w.-])${RegExp.escape(key)}(?![\\w-]|\\.\\w)`).test(readme)
  expect(named.filter(key => !isNamed(key))).toEqual([])
})

test('what README says to paste installs nothing in the checkout but what it needs itself', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const lines = [...readme.matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block]) => block!.split('\n'))
  const installing = lines.filter(line => /\bnpm (install|i|add)\b/.test(line))
  expect(installing.length).toBeGreaterThan(0)
  for (const line of installing) expect(line).toMatch(/^cd \.\.\/\w+ && (?!.*\bcd\b)/)
  for (const line of lines.filter(line => /\bnpm pack\b/.test(line))) expect(line).toContain('--pack-destination ../')
})
