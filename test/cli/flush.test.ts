// `millrace flush` towards something that is no worker.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { millrace } from '../support/millrace.ts'
import { tempFolder } from '../support/temp.ts'

test.each([
  ['a page', 200, '<html>Welcome</html>'],
  ['an error page', 404, '<html>Not found</html>'],
  ['JSON of its own', 200, '{"status":"ok"}'],
  ['null', 502, 'null'],
  ['nothing', 204, '']
])('a server that answers with %s is no worker', async (_, status, body) => {
  await using folder = await tempFolder('flush')
  const server = createServer((_request, response) => void response.writeHead(status).end(body)).listen(0, '127.0.0.1')
  try {
    await once(server, 'listening')
    const listeners = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    expect(await millrace(['flush', '--set', `listeners=${listeners}`], { cwd: folder.path })).toEqual({
      code: 3,
      stdout: '',
      stderr: [
        `what answers at ${listeners}/v1/flush is no Millrace worker (HTTP ${status})`,
        'Set listeners to the address of the worker.',
        ''
      ].join('\n')
    })
  } finally {
    server.close()
  }
})
