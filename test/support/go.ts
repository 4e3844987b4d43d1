// Programs of the tests in Go: built once into the cache, with the modules that their go.sum names.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cached, recipeOf } from './cache.ts'
import { runOrThrow } from './child.ts'
import type { Missing } from './found.ts'
import { findProgram, reasonOf } from './found.ts'

export interface GoPrograms {
  /** Holds a program for each package `main`. */
  readonly folder: string
}

/** The programs of the module that lies in `source`, or the reason why they cannot be built here. */
export async function findGoPrograms(name: string, source: URL): Promise<GoPrograms | Missing> {
  if ((await findProgram('go')) === undefined) return { missing: 'no Go (go) on PATH' }
  const module = fileURLToPath(source)
  try {
    const files = (await readdir(module, { recursive: true })).filter(file => /\.(go|mod|sum)$/.test(file)).sort()
    const recipe = await recipeOf(files.map(file => join(module, file)))
    const folder = await cached(name, recipe, async folder => {
      await runOrThrow('go', ['build', '-o', `${folder}/`, './...'], { cwd: module, timeout: 600_000 })
    })
    return { folder }
  } catch (error) {
    return { missing: `${name}: ${reasonOf(error)}` }
  }
}
