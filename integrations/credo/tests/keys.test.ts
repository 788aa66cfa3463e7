import { createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'

import { type AgentContext, Kms } from '@credo-ts/core'
import { beforeAll, describe, expect, it } from 'vitest'

import { MinikmsKeyManagementService } from '../src/index.js'
import { context, newKms } from './kms.js'
import { RSA_KEYS } from './rsa_keys.js'

let kms: MinikmsKeyManagementService
let url: string

beforeAll(async () => {
  ;({ kms, url } = await newKms())
})

const TYPES: Kms.KmsCreateKeyType[] = [
  ...(['P-256', 'P-384', 'P-521', 'secp256k1'] as const).map((crv) => ({ kty: 'EC' as const, crv })),
  ...(['Ed25519', 'X25519'] as const).map((crv) => ({ kty: 'OKP' as const, crv })),
  { kty: 'RSA', modulusLength: 2048 },
  ...[128, 192, 256, 512].map((length) => ({ kty: 'oct' as const, algorithm: 'aes' as const, length })),
  ...([256, 384, 512] as const).map((length) => ({ kty: 'oct' as const, algorithm: 'hmac' as const, length })),
  { kty: 'oct', algorithm: 'C20P' },
]

describe('createKey', () => {
  it.each(TYPES)('makes a key of $kty $crv$modulusLength$algorithm$length', async (type) => {
    const keyId = randomUUID()
    expect(kms.isOperationSupported(context, { operation: 'createKey', type })).toBe(true)
    const made = await kms.createKey(context, { type, keyId })
    expect(made.keyId).toBe(keyId)
    expect(made.publicJwk).toMatchObject({ kty: type.kty, kid: keyId })
    if ('crv' in type) expect(made.publicJwk).toMatchObject({ crv: type.crv })
    for (const member of ['d', 'k', 'p', 'q']) expect(made.publicJwk).not.toHaveProperty(member)
    if (type.kty !== 'oct') createPublicKey({ key: made.publicJwk as any, format: 'jwk' })
    expect(await kms.getPublicKey(context, keyId)).toEqual(made.publicJwk)
  })

  it('names a key by its thumbprint, where the caller names it by nothing', async () => {
    const { keyId, publicJwk } = await kms.createKey(context, { type: { kty: 'EC', crv: 'P-256' } })
    expect(keyId).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(publicJwk.kid).toBe(keyId)
    expect(await kms.getPublicKey(context, keyId)).toEqual(publicJwk)
  })

  it('refuses a keyId that is taken', async () => {
    const options = { type: { kty: 'OKP', crv: 'Ed25519' }, keyId: 'taken' } as const
    await kms.createKey(context, options)
    await expect(kms.createKey(context, options)).rejects.toThrow(Kms.KeyManagementKeyExistsError)
  })
})

describe('importKey', () => {
  const pairs: [string, () => Kms.KmsJwkPrivate][] = [
    ...['P-256', 'P-384', 'P-521', 'secp256k1'].map(
      (namedCurve): [string, () => Kms.KmsJwkPrivate] => [namedCurve, () => jwk('ec', { namedCurve })]
    ),
    ['Ed25519', () => jwk('ed25519', {})],
    ['X25519', () => jwk('x25519', {})],
    ...Object.entries(RSA_KEYS).map(
      ([length, key]): [string, () => Kms.KmsJwkPrivate] => [`RSA, ${length} bits`, () => key]
    ),
    ['AES', () => ({ kty: 'oct', k: Buffer.alloc(32, 1).toString('base64url') })],
    ['HMAC', () => ({ kty: 'oct', alg: 'HS256', k: Buffer.alloc(32, 2).toString('base64url') })],
  ]

  it.each(pairs)('takes a key of %s', async (_, make) => {
    const privateJwk = { ...make(), kid: randomUUID() }
    expect(kms.isOperationSupported(context, { operation: 'importKey', privateJwk })).toBe(true)
    const { keyId, publicJwk } = await kms.importKey(context, { privateJwk })
    expect(keyId).toBe(privateJwk.kid)
    expect(publicJwk).toMatchObject({ kty: privateJwk.kty, kid: keyId })
    for (const member of ['d', 'k', 'p', 'q']) expect(publicJwk).not.toHaveProperty(member)
    expect(await kms.getPublicKey(context, keyId)).toEqual(publicJwk)
  })

  it('names a key by its thumbprint, where it has no kid', async () => {
    const { keyId, publicJwk } = await kms.importKey(context, { privateJwk: jwk('ed25519', {}) })
    expect(keyId).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(await kms.getPublicKey(context, keyId)).toEqual(publicJwk)
  })

  it('refuses a kid that is taken', async () => {
    const privateJwk = { ...jwk('ed25519', {}), kid: 'import-taken' }
    await kms.importKey(context, { privateJwk })
    const another = { ...jwk('ed25519', {}), kid: 'import-taken' }
    await expect(kms.importKey(context, { privateJwk: another })).rejects.toThrow(Kms.KeyManagementKeyExistsError)
  })

  it('refuses a key that is there under another kid, and says so', async () => {
    const key = jwk('ed25519', {})
    const taken = new Kms.KeyManagementKeyExistsError('first', kms.backend)
    await kms.importKey(context, { privateJwk: { ...key, kid: 'first' } })
    await expect(kms.importKey(context, { privateJwk: { ...key, kid: 'first' } })).rejects.toThrow(taken)
    for (const privateJwk of [{ ...key, kid: 'second' }, key]) {
      const error = await kms.importKey(context, { privateJwk }).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(Kms.KeyManagementError)
      expect(error).not.toBeInstanceOf(Kms.KeyManagementKeyExistsError)
      expect((error as Error).cause).toMatchObject({ slug: 'key-exists' })
    }
    expect(await kms.getPublicKey(context, 'second')).toBeNull()
  })

  it('refuses a key whose parts do not fit', async () => {
    const { d } = jwk('ed25519', {}) as { d: string }
    const privateJwk = { ...jwk('ed25519', {}), d } as Kms.KmsJwkPrivate
    await expect(kms.importKey(context, { privateJwk })).rejects.toThrow(Kms.KeyManagementError)
  })
})

describe('a key that is not there', () => {
  it('has no public key, and is not deleted', async () => {
    expect(await kms.getPublicKey(context, 'nobody')).toBeNull()
    expect(await kms.getPublicKey(context, 'A'.repeat(43))).toBeNull()
    expect(await kms.deleteKey(context, { keyId: 'nobody' })).toBe(false)
  })

  it('is gone once it is deleted', async () => {
    const { keyId } = await kms.createKey(context, { type: { kty: 'OKP', crv: 'Ed25519' }, keyId: 'did:key:z#a b' })
    expect(await kms.deleteKey(context, { keyId })).toBe(true)
    expect(await kms.getPublicKey(context, keyId)).toBeNull()
    expect(await kms.deleteKey(context, { keyId })).toBe(false)
  })
})

describe('tenants', () => {
  it('have a profile and a token for each agent context', async () => {
    const profiles = await Promise.all([newKms(), newKms()])
    const tenants = await MinikmsKeyManagementService.connect({
      url,
      profile: (agentContext) => profiles[Number(agentContext.contextCorrelationId)]!.profile,
    })
    const [one, other] = ['0', '1'].map((id) => ({ ...context, contextCorrelationId: id }) as typeof context)
    const { keyId } = await tenants.createKey(one!, { type: { kty: 'OKP', crv: 'Ed25519' } })
    expect(await tenants.getPublicKey(one!, keyId)).not.toBeNull()
    expect(await tenants.getPublicKey(other!, keyId)).toBeNull()
  })
})

describe('a token that no HTTP header takes', () => {
  const SECRET = 'mkt_s3cret'

  it.each(['\n', '\0', '\r\nX-Profile: other', '\x7f', 'é', '€'])('with %j is refused, and not shown', async (fault) => {
    const token = `${SECRET}${fault}${SECRET}`
    const perContext = await MinikmsKeyManagementService.connect({ url, token: (_: AgentContext) => token })
    const connect = () => MinikmsKeyManagementService.connect({ url, token })
    for (const call of [connect, () => perContext.getPublicKey(context, 'nobody')]) {
      const shown = inspect(await call().catch((thrown: unknown) => thrown), { depth: null, showHidden: true })
      expect(shown).toContain('InvalidSetting')
      expect(shown).not.toContain(SECRET)
    }
  })

  it('may end with a line break, as one that is read from a file', async () => {
    await MinikmsKeyManagementService.connect({ url, token: `${SECRET}\n` })
  })
})

describe('a service that is not there', () => {
  const connect = (elsewhere: string) => MinikmsKeyManagementService.connect({ url: elsewhere })

  it('gives no answer', async () => {
    const free = await listen()
    free.server.close()
    await expect(connect(free.url)).rejects.toThrow(`${free.url} does not answer: `)
    await expect(connect('localhost:8080')).rejects.toMatchObject({ name: 'InvalidSetting' })
  })

  it.each(['<html>', '{}'])('gives another answer, %s', async (answer) => {
    const { server, url: elsewhere } = await listen((_, response) => response.writeHead(502).end(answer))
    await expect(connect(elsewhere)).rejects.toMatchObject({ name: 'UnexpectedAnswer', status: 502 })
    server.close()
  })

  it.each([undefined, 'unknown'])('gives a problem with the outcome %s', async (outcome) => {
    const problem = { type: 'urn:minikms:problem:store-unavailable', detail: 'D.', outcome }
    const { server, url: elsewhere } = await listen((_, response) => response.writeHead(503).end(JSON.stringify(problem)))
    await expect(connect(elsewhere)).rejects.toMatchObject({ slug: 'store-unavailable', outcome })
    server.close()
  })
})

async function listen(answer?: RequestListener) {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

function jwk(type: any, options: object): Kms.KmsJwkPrivate {
  const pair = generateKeyPairSync(type, options as any) as any
  return pair.privateKey.export({ format: 'jwk' })
}
