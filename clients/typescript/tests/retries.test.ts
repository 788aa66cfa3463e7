import { createServer, type Server } from 'node:http'

import { Minikms, ProblemError, Unreachable } from '@minikms/client'
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

test('a problem says whether it may have changed something, and when to repeat it', async () => {
  const { client } = await refusing('store-unavailable', 503, { 'Retry-After': '7', 'X-Request-Id': 'abc' })
  const error = await client.rotateKey({ kid: 'a' }).catch((error) => error)
  expect(error).toMatchObject({ outcome: 'unknown', retryAfter: 7, requestId: 'abc' })
})

test.each(['too-busy', 'too-many-attempts'])('a call that %s refuses has done nothing, so it is repeated', async (slug) => {
  const { calls, client } = await refusing(slug, slug === 'too-busy' ? 503 : 429)
  await expect(client.generateKey('p256')).rejects.toThrow(ProblemError)
  expect(calls.length).toBe(2)
})

test.each([
  ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'],
  ...['ConnectionRefused', 'FailedToOpenSocket', 'ECONNRESET', 'UND_ERR_SOCKET', undefined],
])('a call that fails with %s is repeated if it is repeatable, or was not sent', async (code) => {
  const times = ['ECONNRESET', 'UND_ERR_SOCKET', undefined].includes(code) ? 1 : 2
  let count = 0
  const failing = async () => {
    count++
    throw Object.assign(new TypeError('fetch failed'), { cause: Object.assign(new Error('why'), { code }) })
  }
  const client = new Minikms({ retries: 1, fetch: failing })
  await expect(client.generateKey('p256')).rejects.toThrow(Unreachable)
  expect(count).toBe(times)
  await expect(client.sign('data', { kid: 'a' })).rejects.toThrow(code ?? 'why')
  expect(count).toBe(times + 2)
})

/** A server that takes calls and answers none. */
async function silent(settings: ConstructorParameters<typeof Minikms>[0]) {
  let calls = 0
  server = createServer(() => void calls++)
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return { client: new Minikms({ url: `http://127.0.0.1:${port}`, ...settings }), calls: () => calls }
}

test('the time limit of a call is its own, or the one of the client', async () => {
  const { client } = await silent({ retries: 0, timeout: 3_600_000 })
  await expect(client.healthz({ timeout: 20 })).rejects.toThrow('time limit')
  await expect(new Minikms({ url: client.url, retries: 0, timeout: 20 }).healthz()).rejects.toThrow('time limit')
})

test.each<[string, (client: Minikms, signal: AbortSignal) => Promise<unknown>]>([
  ['reads', (client, signal) => client.healthz({ signal })],
  ['makes a key', (client, signal) => client.generateKey('p256', { signal })],
  ['looks a key up', (client, signal) => client.key('alias', { signal })],
])('an aborted call that %s rejects with the reason of its signal, and is not repeated', async (_, call) => {
  const { client, calls } = await silent({})
  const controller = new AbortController()
  const called = call(client, controller.signal)
  await expect.poll(calls).toBe(1)
  const reason = new Error('enough')
  controller.abort(reason)
  await expect(called).rejects.toBe(reason)
  await expect(call(client, controller.signal)).rejects.toBe(reason)
  expect(calls()).toBe(1)
})
