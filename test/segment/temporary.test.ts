// A segment writer's temporary files.
import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { filePieces, removePiecewise } from '../../src/segment/temporary.ts'
import { tempFolder } from '../support/temp.ts'

const MIB = 1024 * 1024

test.for([0, 1, 2 * MIB, 2 * MIB + 1, 5 * MIB])('a file of %i bytes is read whole, and removed', async bytes => {
  await using folder = await tempFolder('temporary')
  const file = join(folder.path, 'f')
  const contents = Buffer.from(
    Array.from({ length: bytes / 4 + 1 }, (_, i) => String(i % 1000).padStart(4, '0')).join('')
  )
  await writeFile(file, contents.subarray(0, bytes))
  const { size, pieces } = filePieces(file)
  expect(size).toBe(bytes)
  expect(Buffer.concat(Array.from(pieces, piece => Buffer.from(piece))).equals(contents.subarray(0, bytes))).toBe(true)
  removePiecewise(file)
  expect(existsSync(file)).toBe(false)
  removePiecewise(file)
  expect(await readdir(folder.path)).toEqual([])
})
