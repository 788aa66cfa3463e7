import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'

import {
  AliasExists,
  InvalidSetting,
  isProblem,
  KeyNotFound,
  Minikms,
  NotFound,
  RuleViolated,
  TooBusy,
  ApprovalRequired,
  TooEarly,
  UnexpectedAnswer,
  Unreachable,
} from '@minikms/client'
import { startMinikms } from '@minikms/client/testing'
import { afterEach, describe, expect, test, vi } from 'vitest'

import { HOUR, kms, newKey } from './kms.js'

const SECRET = 'mk_secret-of-the-caller'
const hello = new TextEncoder().encode('hello')

describe('calls', () => {
  test('a string is signed as its UTF-8, and answers have bytes', async () => {
    const { kid } = await kms.generateKey('p256')
    const { sig, alg } = await kms.sign('hellö', { kid })
    expect(sig).toBeInstanceOf(Uint8Array)
    expect(alg).toBe('ES256')
    expect(await kms.verify(new TextEncoder().encode('hellö'), sig, { kid })).toBe(true)
    expect(await kms.verify('hello', sig, { kid })).toBe(false)
  })

  test('bytes in lists are bytes, too', async () => {
    const { kid } = await kms.generateKey('ed25519')
    const results = await kms.signBatch([{ data: 'a' }, { data: 'b' }], { kid })
    const items = results.map(({ sig }, at) => ({ data: 'ab'[at]!, sig: sig! }))
    expect(await kms.verifyBatch(items, { kid })).toEqual([{ valid: true }, { valid: true }])
  })

  test('a call takes a key by kid, by alias, and where the API allows it as a JWK', async () => {
    const alias = `did:example:${crypto.randomUUID()}#key`
    const { kid, jwk } = await kms.generateKey('p256', { alias })
    const { sig } = await kms.sign(hello, { alias })
    for (const key of [{ kid }, { alias }, { jwk: jwk! }]) expect(await kms.verify(hello, sig, key)).toBe(true)
    expect(await kms.verify(hello, sig, await kms.getKey({ kid }))).toBe(true)
    expect(await kms.verify(hello, sig, await kms.key(alias))).toBe(true)
    expect((await kms.getKey({ alias })).kid).toBe(kid)
    expect((await kms.getKey({ kid })).aliases).toEqual([alias])
    expect(await kms.associateAlias(`${alias}-2`, { kid })).toEqual({ alias: `${alias}-2`, kid })
    await kms.dissociateAlias(`${alias}-2`, { kid })
    await kms.updateKey({ kid }, { labels: { team: 'a' } })
    expect((await kms.listKeys({ label: ['team:a'], alias })).map((key) => key.kid)).toEqual([kid])
    expect((await kms.deleteKey({ alias }, { after: '1d' })).deletes).toBeDefined()
    await kms.restoreKey({ kid })
    expect((await kms.deleteKey({ kid })).message).toBe('Key deleted')
  })

  test('a call takes the profile and the id that it is given', async () => {
    const name = `called-${crypto.randomUUID()}`
    await kms.createProfile(name)
    const { kid } = await kms.generateKey('p256', { profile: name })
    const error = await kms.getKey({ kid }, { requestId: 'abc-124' }).catch((error) => error)
    expect(error).toMatchObject({ slug: 'key-not-found', requestId: expect.stringContaining('abc-124') })
    expect((await kms.getKey({ kid }, { profile: name })).kid).toBe(kid)
    const options = { profile: name, subject: 'CN=test' }
    expect(await kms.issueCertificate('self-signed', 30, { kid }, options)).toMatch(/^-----BEGIN CERTIFICATE/)
    expect((await kms.forProfile(name).listKeys()).map((key) => key.kid)).toEqual([kid])
    await kms.deleteProfile(name)
  })

  test('a symmetric key is no key pair', async () => {
    await expect(kms.key({ kid: (await kms.generateKey('hs256')).kid })).rejects.toThrow(InvalidSetting)
  })

  test('a signature can be aborted', async () => {
    const [key, reason] = [await newKey('p256'), new Error('enough')]
    const signal = AbortSignal.abort(reason)
    for (const signing of [key.sign('x', { signal }), key.signJws('e30.e30', { signal }), key.signCose(hello, { signal })]) {
      await expect(signing).rejects.toBe(reason)
    }
  })

  test('an empty variable of the environment is none', () => {
    const { MINIKMS_URL } = process.env
    process.env.MINIKMS_URL = ''
    expect(new Minikms().url).toBe('http://127.0.0.1:8080')
    process.env.MINIKMS_URL = MINIKMS_URL
  })

  test('a key with a kid and an alias is the key of the kid', async () => {
    const alias = `moved-${crypto.randomUUID()}`
    await kms.generateKey('p256', { alias })
    const key = await kms.key(alias)
    await kms.generateKey('p256', { alias })
    expect(await kms.verify('x', await key.sign('x'), key)).toBe(true)
    expect((await kms.getKey(key)).kid).toBe(key.kid)
  })

  test('the alg of a key is the given one, or the one of its JWK', async () => {
    const { kid, jwk } = await kms.generateKey('rsa2048')
    const given = { ...jwk!, alg: 'RS384' }
    expect((await kms.key({ kid }, { jwk: given })).alg).toBe('RS384')
    const key = await kms.key({ kid }, { jwk: given, alg: 'PS256' })
    expect(key.alg).toBe('PS256')
    expect(await kms.verify('x', await key.sign('x'), { kid }, { alg: 'PS256' })).toBe(true)
    const ecdsa = await newKey('p256')
    expect(await kms.verify('x', await ecdsa.sign('x', { encoding: 'der' }), ecdsa, { encoding: 'der' })).toBe(true)
    const mixed = await kms.key({ kid: ecdsa.kid }, { jwk: given })
    expect([mixed.kid, mixed.publicJwk]).toEqual([ecdsa.kid, given])
  })

  test('a key is made for a time, and opens what was sealed with aad', async () => {
    const { kid, jwk, state, created, deletes } = await kms.generateKey('p256', { delete_after: 600 })
    expect([state, Date.parse(deletes!) - Date.parse(created)]).toEqual(['enabled', 600_000])
    const { enc, ciphertext } = await kms.sealHpke(hello, jwk!, { info: 'info', aad: 'aad' })
    const opened = kms.openHpke(enc, ciphertext, { kid }, { info: 'info', aad: 'aad' })
    expect(new TextDecoder().decode(await opened)).toBe(new TextDecoder().decode(hello))
    await expect(kms.openHpke(enc, ciphertext, { kid }, { info: 'info' })).rejects.toThrow()
  })

  test('methods return what a call is for', async () => {
    const { kid } = await kms.generateKey('a256gcm')
    const { ciphertext, nonce, tag } = await kms.encrypt('text', { kid }, { aad: 'a' })
    expect(new TextDecoder().decode(await kms.decrypt(ciphertext, { kid }, { nonce, tag, aad: 'a' }))).toBe('text')
    expect((await kms.random(33)).length).toBe(33)
    const hs = await kms.generateKey('hs256')
    expect(await kms.verifyMac('x', await kms.mac('x', { kid: hs.kid }), { kid: hs.kid })).toBe(true)
    const signer = { kid: (await kms.generateKey('p256')).kid }
    expect((await kms.verifyJws(await kms.signJws('{}', signer), signer)).payload).toEqual(new TextEncoder().encode('{}'))
    expect(await kms.signJws('{}', signer, { serialization: 'flattened' })).toHaveProperty('signature')
    expect((await kms.verifyCose(await kms.signCose('x', signer), signer)).valid).toBe(true)
    expect(await kms.makeCsr('CN=test', signer)).toMatch(/^-----BEGIN CERTIFICATE REQUEST/)
    expect(await kms.readyz()).toBe('ready')
    expect(
      (await kms.importKey({ jwk: { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' } })).kty
    ).toBe('OKP')
  })

  test('keys yields all pages', async () => {
    const name = `pages-${crypto.randomUUID()}`
    await kms.createProfile(name)
    const own = kms.forProfile(name)
    expect(own.profile).toBe(name)
    const made = await own.generateKeys('ed25519', 5)
    const found = []
    for await (const { kid } of own.keys({ limit: 2 })) found.push(kid)
    expect(found.sort()).toEqual(made.map(({ kid }) => kid).sort())
    expect(await kms.deleteProfile(name)).toBe(true)
    expect(await kms.deleteProfile(name)).toBe(false)
  })

  test('listProfiles takes the last name of the page before', async () => {
    await using service = await startMinikms()
    const client = service.client('default')
    for (const name of ['a', 'b', 'c']) await client.createProfile(name)
    await client.changeProfile('c', { jwks: 'public' })
    expect((await client.listProfiles({ limit: 2 })).profiles).toEqual(['a', 'b'])
    const { profiles, settings } = await client.listProfiles({ limit: 2, after: 'b', include: 'jwks' })
    expect(profiles).toEqual(['c', 'default'])
    expect(settings.c?.jwks).toBe('public')
  })

  test('auditEvents yields the events of the profile, page by page', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'minikms-audit-'))
    await using service = await startMinikms({ args: ['--audit-log', join(folder, 'audit.log')] })
    const client = service.client('default')
    const { kid } = await client.generateKey('p256')
    for (let count = 0; count < 4; count++) await client.sign('x', { kid })
    const found = []
    for await (const { operation } of client.auditEvents({ kid, limit: 2 })) found.push(operation)
    expect(found).toEqual(['sign', 'sign', 'sign', 'sign', 'generateKey'])
    expect(await client.listAuditEvents({ kid, limit: 1 })).toHaveLength(1)
    await client.createProfile('other')
    const other = client.forProfile('other')
    await other.generateKey('p256')
    const events = []
    for await (const { profile, operation } of other.auditEvents({ limit: 1 })) events.push([profile, operation])
    expect(events).toContainEqual(['other', 'generateKey'])
    expect(events.filter(([profile]) => profile !== 'other')).toEqual([])
    expect((await other.listAuditEvents()).map(({ profile }) => profile)).toEqual(events.map(() => 'other'))
    expect((await other.listAuditEvents({ profile: 'default', kid })).length).toBe(found.length)
    const ofDefault = []
    for await (const { profile } of other.auditEvents({ profile: 'default', kid })) ofDefault.push(profile)
    expect(ofDefault).toEqual(found.map(() => 'default'))
    await rm(folder, { recursive: true })
  })

  test('a rotation waits until the next key has been published for as long as the caller asks', async () => {
    const { kid } = await kms.generateKey('p256')
    const next = await kms.nextKey({ kid })
    await expect(kms.rotateKey({ kid }, { if_published: HOUR })).rejects.toBeInstanceOf(TooEarly)
    expect((await kms.rotateKey({ kid }, { if_published: 0 })).kid).toBe(next.kid)
  })

  test('a use that needs an approval is done after it', async () => {
    const { publicKey, privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
    const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', publicKey)
    const approval = { approvers: [{ name: 'ann', jwk: { kty: kty!, crv: crv!, x: x!, y: y! } }] }
    const { kid } = await kms.generateKey('p256', { rules: { approval } })
    const error = await kms.sign('x', { kid }).catch((error: unknown) => error)
    if (!isProblem(error, 'approval-required')) throw error
    expect(error).toBeInstanceOf(ApprovalRequired)
    const { id, document } = error.approval!
    expect(await kms.listApprovals({ kid })).toEqual([error.approval])
    const header = Buffer.from('{"alg":"ES256","typ":"approval+jwt"}').toString('base64url')
    const input = `${header}.${document}`
    const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, privateKey, Buffer.from(input))
    const jws = `${input}.${Buffer.from(signature).toString('base64url')}`
    expect((await kms.approve(id, { jws })).state).toBe('approved')
    expect((await kms.getApproval(id)).approved_by).toEqual(['ann'])
    const { sig } = await kms.sign('x', { kid })
    expect(await kms.verify('x', sig, { kid })).toBe(true)
    await expect(kms.withdrawApproval(id)).rejects.toSatisfy((error) => isProblem(error, 'approval-not-found'))
  })

  test('a next key is published before it signs', async () => {
    const day = 86_400
    const given = { rotate_every: 90 * day, publish_ahead: 2 * day, retire_after: 31 * day }
    const { kid, publish_ahead, retire_after } = await kms.generateKey('ed25519', given)
    expect([publish_ahead, retire_after]).toEqual([2 * day, 31 * day])
    await expect(kms.rotateKey({ kid }, { if_published: 0 })).rejects.toBeInstanceOf(TooEarly)
    const next = await kms.nextKey({ kid })
    expect(next).toMatchObject({ state: 'next', follows: kid })
    expect((await kms.nextKey({ kid })).kid).toBe(next.kid)
    expect((await kms.getKey({ kid })).next).toBe(next.kid)
    expect((await kms.listKeys({ state: 'next', limit: 1000 })).map((key) => key.kid)).toContain(next.kid)
    await expect(kms.sign('x', { kid: next.kid })).rejects.toSatisfy((error) => isProblem(error, 'key-not-usable'))
    expect((await kms.rotateKey({ kid }, { if_published: 0 })).kid).toBe(next.kid)
    expect(Date.parse((await kms.getKey({ kid })).retires!) - Date.now()).toBeGreaterThan(30 * day * 1000)
    expect((await kms.updateKey({ kid: next.kid }, { retire_after: null })).retire_after).toBeUndefined()
  })

  test('a key keeps its kid when its alias moves', async () => {
    const alias = `moving-${crypto.randomUUID()}`
    await kms.generateKey('p256', { alias })
    const key = await kms.key(alias)
    await kms.rotateKey({ kid: key.kid })
    expect((await kms.key({ alias })).kid).not.toBe(key.kid)
    await expect(key.sign('x')).rejects.toSatisfy((error) => isProblem(error, 'key-not-usable'))
  })

  test.each(['p256', 'p384', 'p521', 'k256', 'ed25519', 'ed448', 'x25519', 'rsa2048', 'mldsa44'])(
    'a %s key of a JWK is the key of the service, without a call',
    async (alg) => {
      const { kid, jwk, multikey, did } = await kms.generateKey(alg)
      const offline = new Minikms({ fetch: () => Promise.reject(new Error('There must be no call.')) })
      const key = await offline.key('any', { jwk: jwk! })
      expect(key.kid).toBe(kid)
      expect(key.publicJwk).toEqual(jwk)
      if (!['rsa2048', 'mldsa44'].includes(alg)) expect([key.multikey, key.did]).toEqual([multikey, did])
    }
  )

  test('the alg of a key is the first JOSE name of its algorithm', async () => {
    for (const { name, jose_algs, operations } of await kms.listAlgorithms()) {
      if (!operations.includes('sign') || !jose_algs.length || name.startsWith('rsa')) continue
      expect((await newKey(name)).alg).toBe(jose_algs[0])
    }
  })
})

describe('errors', () => {
  test('a problem is an error of its class, with its members', async () => {
    const error = await kms.getKey({ kid: 'none' }, { requestId: 'abc-123' }).catch((error) => error)
    expect(error).toBeInstanceOf(KeyNotFound)
    expect(error).toBeInstanceOf(NotFound)
    expect(error).toMatchObject({ slug: 'key-not-found', status: 404, title: expect.any(String), errors: [] })
    expect(error.requestId).toContain('abc-123')
    expect(isProblem(error)).toBe(true)
    expect(isProblem(error, 'alias-not-found', 'key-not-found')).toBe(true)
    expect(isProblem(error, 'alias-not-found')).toBe(false)
    expect(isProblem(new Error(), 'key-not-found')).toBe(false)
  })

  test('a fault of the body has its pointer', async () => {
    const error = await kms.random(0).catch((error) => error)
    expect(error.errors).toEqual([{ pointer: '#/length', detail: expect.any(String) }])
    expect(error.message).toBe(`${error.detail} #/length: ${error.errors[0].detail}`)
  })

  test('a name that would change the path is refused', async () => {
    for (const kid of ['..', '.', '']) {
      await expect(kms.getKey({ kid })).rejects.toThrow(InvalidSetting)
      await expect(kms.rotateKey({ kid })).rejects.toThrow(InvalidSetting)
    }
    await expect(kms.getKey({ kid: 'a/../b' })).rejects.toMatchObject({
      slug: 'validation-failed',
      errors: [{ pointer: '#/kid' }],
    })
  })

  test('an unusable setting is refused, and not shown', async () => {
    expect(new Minikms({ url: 'https://example.com/kms///' }).url).toBe('https://example.com/kms')
    for (const url of ['ftp://a', 'nonsense', `http://user:${SECRET}@a`, `http://${SECRET}@a`]) {
      expect(() => new Minikms({ url })).toThrow(InvalidSetting)
      expect(inspect(catching(() => new Minikms({ url })))).not.toContain(SECRET)
    }
    const error = await new Minikms({ token: `${SECRET}\n` }).healthz().catch((error) => error)
    expect(error).toBeInstanceOf(InvalidSetting)
    expect(inspect(error)).not.toContain(SECRET)
  })

  test('no error and no client shows the token', async () => {
    const options = { token: SECRET, retries: 0 }
    const careless = () => Promise.reject(Object.assign(new Error(`failed with ${SECRET}`), { config: { token: SECRET } }))
    const clients = [
      new Minikms({ ...options, url: 'http://127.0.0.1:9' }),
      new Minikms({ ...options, fetch: careless }),
      new Minikms({ ...options, token: async () => SECRET, timeout: 1, fetch: (_, init) => stalled(init!.signal!) }),
    ]
    for (const client of clients) {
      const error = await client.healthz().catch((error) => error)
      expect(error).toBeInstanceOf(Unreachable)
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET)
      expect(inspect(client, { depth: 9, showHidden: true })).not.toContain(SECRET)
      expect(JSON.stringify(client)).not.toContain(SECRET)
    }
  })
})

describe('answers of a server that is not Mini KMS', () => {
  let server: Server | undefined
  afterEach(() => void server?.close())

  /** Answer each call in turn; return a client and the calls. */
  async function serving(
    ...answers: { status?: number; headers?: Record<string, string>; body?: string | (() => Iterable<Buffer>) }[]
  ) {
    const calls: { method: string; url: string; token: string | undefined }[] = []
    server = createServer(async (request, response) => {
      calls.push({ method: request.method!, url: request.url!, token: request.headers.authorization })
      const { status = 200, headers = {}, body = '' } = answers[Math.min(calls.length, answers.length) - 1]!
      response.writeHead(status, headers)
      const closed = once(response, 'close')
      if (typeof body === 'string') return void response.end(body)
      for (const part of body()) {
        if (!response.write(part)) await Promise.race([once(response, 'drain'), closed])
        if (response.destroyed) return
      }
      response.end()
    })
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    return { calls, client: new Minikms({ url: `http://127.0.0.1:${port}/`, token: SECRET, longestWait: 1_500, retries: 4 }) }
  }

  const busy = (slug: string, headers = {}) => ({
    status: slug === 'over-rate' ? 429 : 503,
    headers,
    body: JSON.stringify({
      type: `urn:minikms:problem:${slug}`,
      status: slug === 'over-rate' ? 429 : 503,
      title: 'T',
      detail: 'D',
    }),
  })
  const alive = { body: '{"status": "alive"}' }

  test('a redirection is refused, and the token goes nowhere else', async () => {
    const { calls, client } = await serving({ status: 302, headers: { Location: '/elsewhere' } })
    await expect(client.healthz()).rejects.toThrow(UnexpectedAnswer)
    expect(calls.length).toBe(1)
  })

  test.each([
    { body: '<html>' },
    { body: '"text"' },
    { body: 'null' },
    { status: 404, body: '{"type": "about:blank"}' },
    { status: 204 },
  ])('an answer %j is not one of Mini KMS', async (answer) => {
    const { client } = await serving(answer)
    const error = await client.healthz().catch((error) => error)
    expect(error).toBeInstanceOf(UnexpectedAnswer)
    expect(error.status).toBe(answer.status ?? 200)
  })

  test('an answer over 64 MiB is refused while it is read', async () => {
    let sent = 0
    const part = Buffer.alloc(1024 * 1024, 'x')
    const { client } = await serving({
      *body() {
        for (; sent < 500; sent++) yield part
      },
    })
    await expect(client.healthz()).rejects.toThrow(UnexpectedAnswer)
    expect(sent).toBeLessThan(200)
  })

  test('a refused call is repeated, also one that makes a key', async () => {
    const { calls, client } = await serving(busy('too-busy'), busy('too-busy'), { body: '{"kid": "a"}' })
    expect(await client.generateKey('p256')).toEqual({ kid: 'a' })
    expect(calls.map(({ url }) => url)).toEqual(['/key/generate', '/key/generate', '/key/generate'])
  })

  test('a call that may have made a key is not repeated', async () => {
    const { calls, client } = await serving(busy('store-unavailable'))
    await expect(client.generateKey('p256')).rejects.toThrow('D')
    expect(calls.length).toBe(1)
    await expect(client.generateKey('p256', { alias: 'a', alias_taken: 'refuse' })).rejects.toThrow('D')
    expect(calls.length).toBe(6)
  })

  test.each([{}, { 'Retry-After': '1' }])('the longest pause shortens pauses, and does not end attempts: %j', async (headers) => {
    const { calls, client } = await serving(busy('too-busy', headers))
    const impatient = new Minikms({ url: client.url, longestWait: 10, retries: 20 })
    await expect(impatient.healthz()).rejects.toThrow(TooBusy)
    expect(calls.length).toBe(21)
  })

  test.each([502, 503, 504])('an answer %i of a proxy is repeated if the call may be', async (status) => {
    const proxy = { status, headers: { 'Retry-After': '0' }, body: '<html>' }
    const { calls, client } = await serving(proxy, { status, body: '{"type": "about:blank"}' }, alive, proxy)
    expect(await client.healthz()).toBe('alive')
    expect(calls.length).toBe(3)
    await expect(client.generateKey('p256')).rejects.toMatchObject({ name: 'UnexpectedAnswer', status, retryAfter: 0 })
    expect(calls.length).toBe(4)
    await expect(client.healthz()).rejects.toThrow(UnexpectedAnswer)
    expect(calls.length).toBe(9)
  })

  test('another answer of a proxy is not repeated', async () => {
    const { calls, client } = await serving({ status: 500, body: '<html>' })
    await expect(client.healthz()).rejects.toThrow(UnexpectedAnswer)
    expect(calls.length).toBe(1)
  })

  test('a rate that is free again after the longest pause is not tried again', async () => {
    const { calls, client } = await serving(busy('over-rate', { 'Retry-After': '2' }))
    const error = await client.healthz().catch((error) => error)
    expect(error).toMatchObject({ slug: 'over-rate', retryAfter: 2 })
    expect(calls.length).toBe(1)
  })

  test('a pause ends when its signal aborts', async () => {
    const { calls, client } = await serving(busy('over-rate', { 'Retry-After': '1' }))
    const controller = new AbortController()
    const call = client.healthz({ signal: controller.signal })
    while (calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
  })

  test('a token of a function is asked for with each attempt', async () => {
    const { calls, client } = await serving(busy('too-busy'), alive)
    let count = 0
    const other = new Minikms({ url: client.url, token: async () => `t${++count}` })
    expect(await other.healthz()).toBe('alive')
    expect(calls.map(({ token }) => token)).toEqual(['Bearer t1', 'Bearer t2'])
    await new Minikms({ url: client.url, token: '' }).healthz()
    expect(calls.at(-1)!.token).toBeUndefined()
  })

  test('the token of MINIKMS_TOKEN_FILE is read for each call', async () => {
    const { calls, client } = await serving(alive)
    const folder = await mkdtemp(join(tmpdir(), 'token-'))
    const file = join(folder, 'token')
    vi.stubEnv('MINIKMS_TOKEN', '')
    vi.stubEnv('MINIKMS_TOKEN_FILE', file)
    try {
      const other = new Minikms({ url: client.url })
      await expect(other.healthz()).rejects.toThrow(InvalidSetting)
      await expect(other.healthz()).rejects.toThrow(`${file} cannot be read: ENOENT`)
      for (const token of ['t1', 't2']) {
        await writeFile(file, `${token}\n`)
        await other.forProfile('alice').healthz()
      }
      await new Minikms({ url: client.url, token: '' }).healthz()
      vi.stubEnv('MINIKMS_TOKEN', 't3')
      await new Minikms({ url: client.url }).healthz()
      expect(calls.map(({ token }) => token)).toEqual(['Bearer t1', 'Bearer t2', undefined, 'Bearer t3'])
      await writeFile(file, `${SECRET}\nsecond line`)
      const error = await other.healthz().catch((error) => error)
      expect(error).toBeInstanceOf(InvalidSetting)
      expect(inspect(error)).not.toContain(SECRET)
    } finally {
      vi.unstubAllEnvs()
      await rm(folder, { recursive: true })
    }
  })
})

/** Answers as `fetch` does without a connection. */
function refuse(): never {
  const cause = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:8080'), { code: 'ECONNREFUSED', syscall: 'connect' })
  throw Object.assign(new TypeError('fetch failed'), { cause })
}

test('a restart of six seconds is survived, even by a call that makes a key', async () => {
  vi.useFakeTimers()
  try {
    const restarted = Date.now() + 6_000
    const client = new Minikms({ fetch: async () => (Date.now() < restarted ? refuse() : new Response('{"kid": "a"}')) })
    const [made] = await Promise.all([client.generateKey('p256'), vi.runAllTimersAsync()])
    expect(made).toEqual({ kid: 'a' })
  } finally {
    vi.useRealTimers()
  }
})

test('a call without a connection is tried as often as it may be', async () => {
  let count = 0
  const client = new Minikms({ longestWait: 10, retries: 20, fetch: async () => (count++, refuse()) })
  const error = await client.healthz().catch((error) => error)
  expect(count).toBe(21)
  expect(error).toBeInstanceOf(Unreachable)
  expect(error.code).toBe('ECONNREFUSED')
  expect(error.cause).toMatchObject({ name: 'Error', message: 'connect ECONNREFUSED 127.0.0.1:8080', code: 'ECONNREFUSED' })
  expect(error.cause).not.toHaveProperty('syscall')
})

test('a missing answer has its cause and its code', async () => {
  const closed = createServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const { port } = closed.address() as { port: number }
  closed.close()
  const failing = (settings: object) => new Minikms({ retries: 0, ...settings }).healthz().catch((error) => error)
  const refused = await failing({ url: `http://127.0.0.1:${port}` })
  expect(refused).toMatchObject({ code: 'ECONNREFUSED', cause: { code: 'ECONNREFUSED' } })
  const late = await failing({ timeout: 1, fetch: (_: unknown, init: RequestInit) => stalled(init.signal!) })
  expect(late).toMatchObject({ code: 'ETIMEDOUT', cause: { name: 'TimeoutError', code: 'ETIMEDOUT' } })
  const other = await failing({ fetch: () => Promise.reject(new Error('other')) })
  expect(other).toMatchObject({ code: undefined, cause: { message: 'other' } })
})

test('a call without a connection is repeated', async () => {
  let count = 0
  const client = new Minikms({
    fetch: (...call) => {
      if (count++ === 0) refuse()
      return fetch(...call)
    },
  })
  const alias = `once-${crypto.randomUUID()}`
  await client.generateKey('p256', { alias })
  expect(count).toBe(2)
  await expect(client.generateKey('p256', { alias, alias_taken: 'refuse' })).rejects.toThrow(AliasExists)
})

test('a key with rules signs a signing input under its rules', async () => {
  const key = await newKey('p256', { rules: 'openid4vci-proof' })
  const input = (typ: string) => `${Buffer.from(JSON.stringify({ alg: 'ES256', typ })).toString('base64url')}.e30`
  expect(await key.signJws(input('openid4vci-proof+jwt'))).toHaveLength(86)
  await expect(key.signJws(input('JWT'))).rejects.toThrow(RuleViolated)
  await expect(key.sign('x')).rejects.toThrow(RuleViolated)
})

function catching(call: () => unknown): unknown {
  try {
    return call()
  } catch (error) {
    return error
  }
}

function stalled(signal: AbortSignal): Promise<Response> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
}
