import { createServer, type Server } from 'node:http'

import { Minikms, ProblemError } from '@minikms/client'
import { afterEach, expect, test } from 'vitest'

let server: Server | undefined
afterEach(() => void server?.close())

/** A client of a server that answers each call with a problem, and the paths of the calls. */
async function refusing(slug: string, status: number, headers: Record<string, string> = {}) {
  const calls: string[] = []
  server = createServer((request, response) => {
    calls.push(request.url!)
    const problem = { type: `urn:minikms:problem:${slug}`, title: 'T', detail: 'D', status, outcome: 'unknown' }
    response.writeHead(status, headers).end(JSON.stringify(problem))
  })
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return { calls, client: new Minikms({ url: `http://127.0.0.1:${port}`, retries: 1 }) }
}

const ed25519 = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }
const keep = { if_exists: 'keep' as const }

test.each<[string, number, (client: Minikms) => Promise<unknown>]>([
  ['an import that keeps an existing key', 2, (client) => client.importKey({ jwk: ed25519 }, keep)],
  ['an import that refuses an existing key', 1, (client) => client.importKey({ jwk: ed25519 })],
  ['an import of a symmetric key', 1, (client) => client.importKey({ jwk: { kty: 'oct', k: 'AAAA' }, alg: 'hs256' }, keep)],
  ['an import of a secret', 1, (client) => client.importKey({ alg: 'ed25519', secret: new Uint8Array(32) }, keep)],
  ['the making of a key', 1, (client) => client.generateKey('p256', { alias_taken: 'refuse' })],
  ['the making of a key whose alias moves', 1, (client) => client.generateKey('p256', { alias: 'a', alias_taken: 'move' })],
  ['the making of keys', 1, (client) => client.generateKeys('p256', 2)],
  ['a rotation', 1, (client) => client.rotateKey({ kid: 'a' })],
  ['a deletion', 1, (client) => client.deleteKey({ kid: 'a' })],
  ['a signature', 2, (client) => client.sign('data', { kid: 'a' })],
])('%s is sent %i times if the store may have done it', async (_, times, call) => {
  const { calls, client } = await refusing('store-unavailable', 503)
  await expect(call(client)).rejects.toThrow(ProblemError)
  expect(calls.length).toBe(times)
})
