// SCRAM against the exchange that RFC 7677 prints, and against servers that do not keep to it.
import { describe, expect, test } from 'vitest'
import { scram } from '../../src/kafka/scram.ts'

/** RFC 7677, section 3. */
const rfc = {
  login: { username: 'user', password: 'pencil' },
  nonce: 'rOprNGfwEbeRWgbNEkqO',
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='
}

const begin = () => scram('sha256', rfc.login, rfc.nonce)
const text = ({ value }: IteratorResult<Buffer, void>) => String(value)

test('speaks as the RFC has it, and believes its server', async () => {
  const client = begin()
  expect(text(await client.next())).toBe(rfc.clientFirst)
  expect(text(await client.next(Buffer.from(rfc.serverFirst)))).toBe(rfc.clientFinal)
  expect(await client.next(Buffer.from(rfc.serverFinal))).toEqual({ done: true, value: undefined })
})

test('names are quoted as the RFC has it, and no two exchanges have the same nonce', async () => {
  const firsts = await Promise.all(
    [1, 2].map(async () => text(await scram('sha512', { username: 'a=b,c', password: 'x' }).next()))
  )
  expect(firsts[0]).toMatch(/^n,,n=a=3Db=2Cc,r=[^,]{32}$/)
  expect(firsts[0]).not.toBe(firsts[1])
})

describe('a server is not believed that', () => {
  test.each([
    ['cannot prove that it knows the password', `v=${Buffer.alloc(32).toString('base64')}`],
    ['proves nothing', ''],
    ['proves a part', rfc.serverFinal.slice(0, 12)],
    ['says an error', 'e=invalid-proof']
  ])('%s', async (_, serverFinal) => {
    const client = begin()
    await client.next()
    await client.next(Buffer.from(rfc.serverFirst))
    await expect(client.next(Buffer.from(serverFinal))).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      message: 'it could not prove that it knows the password'
    })
  })

  test.each([
    ['answers to another nonce', rfc.serverFirst.replace('r=rOpr', 'r=xOpr'), /first SCRAM message is none/],
    ['adds nothing to our nonce', rfc.serverFirst.replace(/%[^,]+/, ''), /first SCRAM message is none/],
    ['asks for an extension', `m=must,${rfc.serverFirst}`, /first SCRAM message is none/],
    ['says nothing', '', /first SCRAM message is none/],
    ['makes guessing cheap', rfc.serverFirst.replace('4096', '4095'), /4095 SCRAM iterations/],
    ['would keep us busy', rfc.serverFirst.replace('4096', '1000001'), /1000001 SCRAM iterations/]
  ])('%s', async (_, serverFirst, message) => {
    const client = begin()
    await client.next()
    await expect(client.next(Buffer.from(serverFirst))).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      message: expect.stringMatching(message)
    })
  })
})
