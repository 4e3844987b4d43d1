// Certificates for tests, as PEM, made by openssl: an authority, and what it has signed.

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runOrThrow } from './child.ts'
import { tempFolder } from './temp.ts'

export interface Certificate {
  /** Private key and certificate in one file, as `ssl.keystore.location` takes it. */
  readonly file: string
  readonly key: string
  readonly chain: string
}

export interface Authority extends AsyncDisposable {
  /** The authority's own certificate, as `ssl.truststore.location` takes it. */
  readonly file: string
  readonly certificate: string
  /** Signs a certificate for a name, which is its only host as well; `password` encrypts its key. */
  issue(name: string, password?: string): Promise<Certificate>
}

/** An authority that nobody else trusts; its files are gone when it is disposed of. */
export async function makeAuthority(): Promise<Authority> {
  const folder = await tempFolder('certificates')
  const at = (name: string) => join(folder.path, name)
  const openssl = (...args: string[]) => runOrThrow('openssl', args)
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '2']
  const file = at('authority.pem')
  const authorityKey = at('authority.key')
  const authorityUse = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign']
  await openssl(...request, '-noenc', '-subj', '/CN=authority', ...authorityUse, '-keyout', authorityKey, '-out', file)
  return {
    file,
    certificate: await readFile(file, 'utf8'),
    async issue(name, password) {
      const [keyFile, chainFile] = [at(`${name}.key`), at(`${name}.crt`)]
      const encryption = password === undefined ? ['-noenc'] : ['-passout', `pass:${password}`]
      const signedBy = ['-CA', file, '-CAkey', authorityKey]
      const use = ['-addext', `subjectAltName=DNS:${name}`, '-addext', 'basicConstraints=critical,CA:FALSE']
      await openssl(
        ...request,
        ...encryption,
        ...signedBy,
        '-subj',
        `/CN=${name}`,
        ...use,
        '-keyout',
        keyFile,
        '-out',
        chainFile
      )
      const [key, chain] = await Promise.all([readFile(keyFile, 'utf8'), readFile(chainFile, 'utf8')])
      const both = at(`${name}.pem`)
      await writeFile(both, key + chain)
      return { file: both, key, chain }
    },
    [Symbol.asyncDispose]: () => folder.dispose()
  }
}
