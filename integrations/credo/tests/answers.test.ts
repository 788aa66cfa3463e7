import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

import { describe, expect, it } from 'vitest'

import { MinikmsKeyManagementService } from '../src/index.js'

const MIB = 1024 * 1024

/** Connect to a server that answers with this; its first call reads a list of algorithms. */
async function connect(body: string | Buffer, headers: Record<string, string> = {}): Promise<unknown> {
  const server = createServer((_, response) => response.writeHead(200, headers).end(body)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    return await MinikmsKeyManagementService.connect({ url: `http://127.0.0.1:${port}` })
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

describe('an answer that Mini KMS does not give', () => {
  const gzip = { 'Content-Encoding': 'gzip' }
  const list = Buffer.concat([Buffer.from('[]'), Buffer.alloc(300 * MIB, ' ')])
  const answers: [string, string | Buffer, Record<string, string>][] = [
    ['300 MiB', list, {}],
    ['inflates to 300 MiB', gzipSync(list), gzip],
    ['null', 'null', {}],
    ['a text', '"[]"', {}],
    ['Infinity', '[Infinity]', {}],
  ]

  it.each(answers)('%s', async (_, body, headers) => {
    await expect(connect(body, headers)).rejects.toMatchObject({ name: 'UnexpectedAnswer' })
  })

  it('no gzip', async () => {
    await expect(connect('[]', gzip)).rejects.toMatchObject({ name: 'Unreachable' })
  })

  it('but one that a proxy has compressed is read', async () => {
    await expect(connect(gzipSync('[]'), gzip)).resolves.toBeInstanceOf(MinikmsKeyManagementService)
  })
})
