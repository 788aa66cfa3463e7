import { randomUUID } from 'node:crypto'

import { Kms } from '@credo-ts/core'
import { beforeAll, describe, expect, it, vi } from 'vitest'

import { MinikmsKeyManagementService } from '../src/index.js'
import { bytes, context, newKms } from './kms.js'

let kms: MinikmsKeyManagementService
let inService: MinikmsKeyManagementService
let url: string
let profile: string

beforeAll(async () => {
  ;({ kms: inService, url, profile } = await newKms())
  const connect = () => MinikmsKeyManagementService.connect({ url, profile, provider: 'hsm', backend: 'hsm' })
  kms = await vi.waitUntil(() => connect().catch(() => undefined), 20_000) // the provider is opened in the background
})

const keyOf = async (keyId: string) => {
  const path = `/key?alias=${encodeURIComponent(keyId)}`
  return (await fetch(new URL(path, url), { headers: { 'X-Profile': profile } })).json() as Promise<any>
}

describe('a backend with a provider', () => {
  const types: [Kms.KmsCreateKeyType, Kms.KnownJwaSignatureAlgorithm][] = [
    [{ kty: 'EC', crv: 'P-256' }, 'ES256'],
    [{ kty: 'EC', crv: 'secp256k1' }, 'ES256K'],
    [{ kty: 'OKP', crv: 'Ed25519' }, 'EdDSA'],
    [{ kty: 'RSA', modulusLength: 2048 }, 'PS256'],
  ]

  it.each(types)('makes a key of $kty $crv there, which signs', async (type, algorithm) => {
    const keyId = randomUUID()
    expect(kms.isOperationSupported(context, { operation: 'createKey', type })).toBe(true)
    const { publicJwk } = await kms.createKey(context, { type, keyId })
    expect(await keyOf(keyId)).toMatchObject({ provider: 'hsm', aliases: [keyId] })
    const data = bytes('hello')
    const { signature } = await kms.sign(context, { keyId, algorithm, data })
    const key = { publicJwk: publicJwk as Kms.KmsJwkPublicAsymmetric }
    expect(await inService.verify(context, { key, algorithm, data, signature })).toMatchObject({ verified: true })
    await kms.deleteKey(context, { keyId })
    expect(await kms.getPublicKey(context, keyId)).toBeNull()
  })

  it.each([
    { kty: 'OKP', crv: 'X25519' },
    { kty: 'oct', algorithm: 'aes', length: 256 },
    { kty: 'oct', algorithm: 'hmac', length: 256 },
  ] as Kms.KmsCreateKeyType[])('makes no key of $kty $crv$algorithm, which the provider lacks', async (type) => {
    expect(kms.isOperationSupported(context, { operation: 'createKey', type })).toBe(false)
    const made = kms.createKey(context, { type })
    await expect(made).rejects.toThrow(Kms.KeyManagementAlgorithmNotSupportedError)
    await expect(made).rejects.toThrow("in the provider 'hsm'")
  })

  it('imports no key', async () => {
    const privateJwk: Kms.KmsJwkPrivate = { kty: 'oct', k: Buffer.alloc(32, 1).toString('base64url') }
    expect(kms.isOperationSupported(context, { operation: 'importKey', privateJwk })).toBe(false)
    const imported = kms.importKey(context, { privateJwk })
    await expect(imported).rejects.toThrow(Kms.KeyManagementAlgorithmNotSupportedError)
  })

  it('is not made for a provider that the service lacks', async () => {
    const made = MinikmsKeyManagementService.connect({ url, profile, provider: 'nope' })
    await expect(made).rejects.toThrow('Mini KMS has no provider nope')
  })
})

it('a backend without a provider makes keys in the service', async () => {
  const keyId = randomUUID()
  await inService.createKey(context, { type: { kty: 'EC', crv: 'P-256' }, keyId })
  expect(await keyOf(keyId)).not.toHaveProperty('provider')
})
