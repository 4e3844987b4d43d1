// Who may call what lies under /v1: nobody without the password, nobody from elsewhere where there is none, no foreign web page.
import { expect, test } from 'vitest'
import { ask, openDoor } from './door.ts'

const withRecords = ['/v1/search?q=x', '/v1/records?topic=t', '/v1/search/suggest?q=x']
const open = ['/livez', '/readyz']

const basic = (text: string, scheme = 'Basic') => ({
  authorization: `${scheme} ${Buffer.from(text).toString('base64')}`
})

test('with rest.auth every call asks for the password, and probes do not', async () => {
  const { url } = await openDoor({}, { auth: 'mill:pä:ss' })
  for (const path of withRecords) {
    const refused = await ask(url + path)
    expect(refused).toMatchObject({ status: 401, body: { error_code: 401 } })
    expect(refused.headers['www-authenticate']).toBe('Basic realm="millrace", charset="UTF-8"')
    expect((await ask(url + path, basic('mill:pä:ss'))).status).toBe(200)
    expect((await ask(url + path, basic('mill:pä:ss', 'basic'))).status).toBe(200)
  }
  expect((await ask(`${url}/v1/flush`, {}, 'POST')).status).toBe(401)
  expect((await ask(`${url}/v1/flush`, basic('mill:pä:ss'), 'POST')).body).toEqual({ flushed: true })
  for (const path of open) expect((await ask(url + path)).status).toBe(200)
})

test.each(['mill', 'mill:', 'mill:pä', 'mill:pä:ss ', 'Mill:pä:ss', ''])('%j is not the password', async given => {
  const { url } = await openDoor({}, { auth: 'mill:pä:ss' })
  expect((await ask(`${url}/v1/search`, basic(given))).status).toBe(401)
  expect((await ask(`${url}/v1/search`, { authorization: `Bearer ${given}` })).status).toBe(401)
})

test('a path that is written in another way is guarded all the same', async () => {
  const { url } = await openDoor({}, { auth: 'mill:pass' })
  for (const path of ['/%761/search', '/v1/%73earch', '/v1/search/?q=x']) {
    expect([401, 404], path).toContain((await ask(url + path)).status)
  }
})

test('beyond loopback nothing gives records before rest.auth is set', async () => {
  const { url } = await openDoor({}, { host: '0.0.0.0' })
  for (const path of withRecords) {
    const { status, body } = await ask(url + path)
    expect(status).toBe(403)
    expect(body).toEqual({ error_code: 403, message: expect.stringContaining('set rest.auth to user:password') })
  }
  expect((await ask(`${url}/v1/flush`, {}, 'POST')).status).toBe(200)
  for (const path of open) expect((await ask(url + path)).status).toBe(200)

  const guarded = await openDoor({}, { host: '0.0.0.0', auth: 'mill:pass' })
  expect((await ask(`${guarded.url}/v1/search`, basic('mill:pass'))).status).toBe(200)
})

test('on loopback a name that was led here from elsewhere is not taken', async () => {
  const { url, port } = await openDoor()
  for (const host of [`localhost:${port}`, 'LOCALHOST', '127.0.0.1:18083', '127.1.2.3', '[::1]:8083', '[::1]']) {
    expect((await ask(`${url}/v1/search`, { host })).status, host).toBe(200)
  }
  for (const host of [`evil.example:${port}`, '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1']) {
    expect((await ask(`${url}/v1/search`, { host })).status, host).toBe(403)
    expect((await ask(`${url}/livez`, { host })).status, host).toBe(200)
  }
})

test('a web page of another site gets nothing, not even with the password', async () => {
  const { url, port } = await openDoor({}, { auth: 'mill:pass' })
  const mine = basic('mill:pass')
  const own = { origin: `http://127.0.0.1:${port}` }
  const accepted = [own, { 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }]
  const refused = [
    { origin: 'http://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', ...own }
  ]
  for (const headers of accepted) {
    expect((await ask(`${url}/v1/flush`, { ...mine, ...headers }, 'POST')).status, JSON.stringify(headers)).toBe(200)
  }
  for (const headers of refused) {
    const answer = await ask(`${url}/v1/flush`, { ...mine, ...headers }, 'POST')
    expect(answer.status, JSON.stringify(headers)).toBe(403)
    expect(Object.keys(answer.headers).filter(name => name.startsWith('access-control'))).toEqual([])
  }
})
