// The contract of ObjectStore over a folder and over a real S3 server.

import { afterAll, beforeAll, vi } from 'vitest'
import { openObjectStore } from '../../src/archive/object-store.ts'
import { objectStoreContract } from '../support/object-store-contract.ts'
import { describeS3, useS3 } from '../support/servers.ts'
import type { TempFolder } from '../support/temp.ts'
import { tempFolder } from '../support/temp.ts'

let folder: TempFolder
beforeAll(async () => {
  folder = await tempFolder('store')
})
afterAll(async () => await folder.dispose())

objectStoreContract('a folder', () => openObjectStore(`file:${folder.path}/archive`))

describeS3('on S3', () => {
  beforeAll(() => {
    for (const [name, value] of Object.entries(useS3().env)) vi.stubEnv(name, value)
  })
  afterAll(() => {
    vi.unstubAllEnvs()
  })
  const open = async (prefix: string) => {
    const s3 = useS3()
    return await openObjectStore(`s3://${await s3.createBucket()}${prefix}`, { s3: { endpoint: s3.endpoint } })
  }
  objectStoreContract('a bucket', () => open(''))
  objectStoreContract('a prefix in a bucket', () => open('/some/archive = one'))
})
