// The version of this package, as its package.json tells it.
import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'

const { version } = JSON.parse(readFileSync(findPackageJSON(import.meta.url)!, 'utf8')) as { version: string }

export const packageVersion = version
