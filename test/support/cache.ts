// Downloads that tests share, in a cache outside the checkout: filled by one process at a time, and marked complete last.

import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { until } from './until.ts'

const cacheFolder = process.env['MILLRACE_CACHE'] ?? join(homedir(), '.cache', 'millrace')

/**
 * The folder `name` of the cache, filled by `fill` unless an earlier run did so with the same recipe. A folder without its
 * marker, or with another recipe's, is emptied and filled again.
 */
export async function cached(name: string, recipe: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cacheFolder, name)
  const marker = join(folder, 'complete')
  const isComplete = async () => (await readFile(marker, 'utf8').catch(() => undefined)) === recipe
  if (await isComplete()) return folder
  await mkdir(cacheFolder, { recursive: true })
  return await locked(`${folder}.lock`, async () => {
    if (await isComplete()) return folder
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder)
    await fill(folder)
    await writeFile(marker, recipe)
    return folder
  })
}

/** A recipe made of what the files say. */
export async function recipeOf(files: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const file of files) hash.update(await readFile(file))
  return hash.digest('hex')
}

/** Runs `work` while no other process holds the lock. The lock is SQLite's own on a file, so it goes with a process that dies. */
async function locked<T>(file: string, work: () => Promise<T>): Promise<T> {
  const lock = new Database(file, { timeout: 0 })
  try {
    const take = () => lock.exec('BEGIN EXCLUSIVE')
    await until(take, { what: `the lock ${file}`, timeout: 600_000, interval: 200 })
    return await work()
  } finally {
    lock.close()
  }
}
