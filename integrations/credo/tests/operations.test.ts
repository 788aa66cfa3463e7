import { createPublicKey, diffieHellman, generateKeyPairSync, verify as nodeVerify } from 'node:crypto'

import { Kms } from '@credo-ts/core'
import { beforeAll, describe, expect, it } from 'vitest'

import { makeContentKey } from '../src/agreement.js'
import { encryptContent } from '../src/content.js'
import type { MinikmsKeyManagementService } from '../src/index.js'
import { bytes, context, keyOfEachType, newKms } from './kms.js'

let kms: MinikmsKeyManagementService

beforeAll(async () => {
  ;({ kms } = await newKms())
})

const data = bytes('hello')

const SIGNATURES: [Kms.KnownJwaSignatureAlgorithm, Kms.KmsCreateKeyType, string | null][] = [
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519' }, null],
  ['Ed25519', { kty: 'OKP', crv: 'Ed25519' }, null],
  ['ES256', { kty: 'EC', crv: 'P-256' }, 'sha256'],
  ['ES384', { kty: 'EC', crv: 'P-384' }, 'sha384'],
  ['ES512', { kty: 'EC', crv: 'P-521' }, 'sha512'],
  ['ES256K', { kty: 'EC', crv: 'secp256k1' }, 'sha256'],
  ['RS256', { kty: 'RSA', modulusLength: 2048 }, 'sha256'],
  ['PS256', { kty: 'RSA', modulusLength: 2048 }, 'sha256'],
  ['RS384', { kty: 'RSA', modulusLength: 3072 }, 'sha384'],
  ['PS384', { kty: 'RSA', modulusLength: 3072 }, 'sha384'],
  ['RS512', { kty: 'RSA', modulusLength: 4096 }, 'sha512'],
  ['PS512', { kty: 'RSA', modulusLength: 4096 }, 'sha512'],
]

describe('sign and verify', () => {
  const keyOf = keyOfEachType(() => kms)

  it.each(SIGNATURES)('%s', async (algorithm, type, hash) => {
    const { keyId, publicJwk } = await keyOf(type)
    const { signature } = await kms.sign(context, { keyId, algorithm, data })
    const key = createPublicKey({ key: publicJwk as any, format: 'jwk' })
    const padding = algorithm.startsWith('PS') ? { padding: 6, saltLength: -1 } : {}
    const expected = { key, dsaEncoding: 'ieee-p1363', ...padding } as any
    expect(nodeVerify(hash, data, expected, signature)).toBe(true)
    const verified = { verified: true, publicJwk }
    expect(await kms.verify(context, { key: { keyId }, algorithm, data, signature })).toEqual(verified)
    const byValue = { key: { publicJwk: publicJwk as any }, algorithm, signature }
    expect(await kms.verify(context, { ...byValue, data })).toEqual(verified)
    expect(await kms.verify(context, { ...byValue, data: bytes('hallo') })).toEqual({ verified: false })
  })

  it.each([256, 384, 512] as const)('HS%i', async (length) => {
    const { keyId } = await kms.createKey(context, { type: { kty: 'oct', algorithm: 'hmac', length } })
    const algorithm = `HS${length}` as const
    const { signature } = await kms.sign(context, { keyId, algorithm, data })
    expect(await kms.verify(context, { key: { keyId }, algorithm, data, signature })).toMatchObject({ verified: true })
    const other = { key: { keyId }, algorithm, data: bytes('hallo'), signature }
    expect(await kms.verify(context, other)).toEqual({ verified: false })
  })
})

const aad = bytes('head')

describe('encrypt and decrypt', () => {
  const keys: [string, Kms.KmsCreateKeyType][] = [
    ['A128GCM', { kty: 'oct', algorithm: 'aes', length: 128 }],
    ['A192GCM', { kty: 'oct', algorithm: 'aes', length: 192 }],
    ['A256GCM', { kty: 'oct', algorithm: 'aes', length: 256 }],
    ['A256CBC-HS512', { kty: 'oct', algorithm: 'aes', length: 512 }],
    ['C20P', { kty: 'oct', algorithm: 'C20P' }],
  ]

  it.each(keys)('by a key in Mini KMS, %s', async (algorithm: any, type) => {
    const { keyId } = await kms.createKey(context, { type })
    const { encrypted, iv, tag } = await kms.encrypt(context, { key: { keyId }, encryption: { algorithm, aad }, data })
    const decryption = { algorithm, iv: iv!, tag: tag!, aad }
    expect(await kms.decrypt(context, { key: { keyId }, decryption, encrypted })).toEqual({ data })
    const altered = { ...decryption, aad: bytes('foot') }
    const call = kms.decrypt(context, { key: { keyId }, decryption: altered, encrypted })
    await expect(call).rejects.toThrow(Kms.KeyManagementError)
    const given = kms.encrypt(context, { key: { keyId }, encryption: { algorithm, iv: iv! }, data })
    await expect(given).rejects.toThrow(Kms.KeyManagementAlgorithmNotSupportedError)
  })

  it.each([
    ['A128GCM', 16],
    ['A192GCM', 24],
    ['A256GCM', 32],
    ['A128CBC-HS256', 32],
    ['A192CBC-HS384', 48],
    ['A256CBC-HS512', 64],
    ['C20P', 32],
    ['XC20P', 32],
  ])('by a key by value, %s', async (algorithm: any, length) => {
    const privateJwk = { kty: 'oct' as const, k: Buffer.alloc(length, 7).toString('base64url') }
    const { encrypted, iv, tag } = await kms.encrypt(context, {
      key: { privateJwk },
      encryption: { algorithm, aad },
      data,
    })
    const decryption = { algorithm, iv: iv!, tag: tag!, aad }
    expect(await kms.decrypt(context, { key: { privateJwk }, decryption, encrypted })).toEqual({ data })
    const call = kms.decrypt(context, { key: { privateJwk }, decryption: { ...decryption, aad: data }, encrypted })
    await expect(call).rejects.toThrow(Kms.KeyManagementError)
    // The same key in Mini KMS opens it too.
    const { keyId } = await kms.importKey(context, { privateJwk: { ...privateJwk, alg: algorithm } })
    expect(await kms.decrypt(context, { key: { keyId }, decryption, encrypted })).toEqual({ data })
  })

  it.each(['A128CBC', 'A256CBC', 'XSALSA20-POLY1305'] as const)('does not take %s without an agreement', (algorithm) => {
    const operation = { operation: 'encrypt', encryption: { algorithm } } as const
    expect(kms.isOperationSupported(context, operation)).toBe(false)
  })
})

const AGREEMENTS = ['ECDH-ES', 'ECDH-ES+A128KW', 'ECDH-ES+A192KW', 'ECDH-ES+A256KW'] as const
const CURVES: Kms.KmsCreateKeyType[] = [
  { kty: 'OKP', crv: 'X25519' },
  { kty: 'EC', crv: 'P-256' },
  { kty: 'EC', crv: 'P-384' },
  { kty: 'EC', crv: 'P-521' },
  { kty: 'EC', crv: 'secp256k1' },
]
const CASES = CURVES.flatMap((type) => AGREEMENTS.map((algorithm) => ({ type, algorithm, crv: (type as any).crv })))

// RFC 7518, appendix C.
const ALICE = {
  kty: 'EC',
  crv: 'P-256',
  x: 'gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0',
  y: 'SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps',
} as const
const BOB = {
  kty: 'EC',
  crv: 'P-256',
  x: 'weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ',
  y: 'e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck',
  d: 'VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw',
} as const

describe('key agreement', () => {
  it.each(CASES)('$algorithm on $crv', async ({ type, algorithm }) => {
    const sender = await kms.createKey(context, { type })
    const recipient = await kms.createKey(context, { type })
    const parties = { apu: bytes('alice'), apv: bytes('bob') }
    const { encrypted, iv, tag, encryptedKey } = await kms.encrypt(context, {
      key: {
        keyAgreement: { keyId: sender.keyId, algorithm, externalPublicJwk: recipient.publicJwk as any, ...parties },
      },
      encryption: { algorithm: 'A256GCM', aad },
      data,
    })
    const agreement = {
      keyId: recipient.keyId,
      algorithm,
      externalPublicJwk: sender.publicJwk as any,
      encryptedKey: encryptedKey!,
      ...parties,
    }
    const decryption = { algorithm: 'A256GCM' as const, iv: iv!, tag: tag!, aad }
    const options = { key: { keyAgreement: agreement }, decryption, encrypted }
    expect(await kms.decrypt(context, options)).toEqual({ data })
    // AES Key Wrap has neither (RFC 3394).
    if (algorithm !== 'ECDH-ES') expect(encryptedKey).toMatchObject({ iv: new Uint8Array(), tag: new Uint8Array() })
    const other = { ...agreement, apu: bytes('eve') }
    const call = kms.decrypt(context, { ...options, key: { keyAgreement: other } })
    await expect(call).rejects.toThrow(Kms.KeyManagementError)
  })

  it('agrees on the key of RFC 7518, appendix C', async () => {
    const { keyId } = await kms.importKey(context, { privateJwk: BOB })
    const contentKey = { kty: 'oct', k: 'VqqN6vgjbSBcIijNcacQGg' } as const
    const encryption = { algorithm: 'A128GCM' } as const
    const { encrypted, iv, tag } = await kms.encrypt(context, { key: { privateJwk: contentKey }, encryption, data })
    const parties = { apu: bytes('Alice'), apv: bytes('Bob') }
    const agreement = { keyId, algorithm: 'ECDH-ES' as const, externalPublicJwk: ALICE, ...parties }
    const decryption = { ...encryption, iv: iv!, tag: tag! }
    expect(await kms.decrypt(context, { key: { keyAgreement: agreement }, decryption, encrypted })).toEqual({ data })
  })

  it('opens a JWE in Mini KMS, whose key never gives a secret', async () => {
    const { keyId, publicJwk } = await kms.importKey(context, { privateJwk: privateJwk('x25519') })
    const ephemeral = generateKeyPairSync('x25519')
    const epk = ephemeral.publicKey.export({ format: 'jwk' })
    const recipient = createPublicKey({ key: publicJwk as any, format: 'jwk' })
    const secret = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: recipient })
    const algorithm = 'ECDH-ES+A256KW' as const
    const { key, wrapped } = makeContentKey(secret, { alg: algorithm, enc: 'A256GCM' })
    const header = Buffer.from(JSON.stringify({ alg: algorithm, enc: 'A256GCM', epk })).toString('base64url')
    const { encrypted, iv, tag } = encryptContent('A256GCM', key, data, bytes(header))
    const decryption = { algorithm: 'A256GCM' as const, iv, tag, aad: bytes(header) }
    const agreement = { keyId, algorithm, externalPublicJwk: epk as any, encryptedKey: { encrypted: wrapped! } }
    const options = { key: { keyAgreement: agreement }, decryption, encrypted }
    expect(await kms.decrypt(context, options)).toEqual({ data })
  })
})

it('encrypts by XChaCha20 with a key that is agreed on', async () => {
  const type = { kty: 'OKP', crv: 'X25519' } as const
  const sender = await kms.createKey(context, { type })
  const recipient = await kms.createKey(context, { type })
  const algorithm = 'ECDH-ES+A256KW' as const
  const { encrypted, iv, tag, encryptedKey } = await kms.encrypt(context, {
    key: { keyAgreement: { keyId: sender.keyId, algorithm, externalPublicJwk: recipient.publicJwk } },
    encryption: { algorithm: 'XC20P' },
    data,
  })
  const agreement = { keyId: recipient.keyId, algorithm, externalPublicJwk: sender.publicJwk, encryptedKey: encryptedKey! }
  const decryption = { algorithm: 'XC20P' as const, iv: iv!, tag: tag! }
  expect(await kms.decrypt(context, { key: { keyAgreement: agreement }, decryption, encrypted })).toEqual({ data })
})

describe('boxes of DIDComm v1', () => {
  const box = { algorithm: 'XSALSA20-POLY1305' } as const

  it.each(['Ed25519', 'X25519'] as const)('from and to a key on %s', async (crv) => {
    const sender = await kms.createKey(context, { type: { kty: 'OKP', crv } })
    const recipient = await kms.createKey(context, { type: { kty: 'OKP', crv } })
    const x25519 = (jwk: any) =>
      crv === 'X25519' ? jwk : Kms.PublicJwk.fromPublicJwk(jwk).convertTo(Kms.X25519PublicJwk as any).toJson()
    const agreement = { algorithm: 'ECDH-HSALSA20' as const, externalPublicJwk: x25519(recipient.publicJwk) }
    const authenticated = await kms.encrypt(context, {
      key: { keyAgreement: { ...agreement, keyId: sender.keyId } },
      encryption: box,
      data,
    })
    const opened = await kms.decrypt(context, {
      key: { keyAgreement: { ...agreement, keyId: recipient.keyId, externalPublicJwk: x25519(sender.publicJwk) } },
      decryption: { ...box, iv: authenticated.iv! },
      encrypted: authenticated.encrypted,
    })
    expect(opened).toEqual({ data })
    const anonymous = await kms.encrypt(context, { key: { keyAgreement: agreement }, encryption: box, data })
    const key = { keyAgreement: { algorithm: 'ECDH-HSALSA20' as const, keyId: recipient.keyId } }
    expect(await kms.decrypt(context, { key, decryption: box, encrypted: anonymous.encrypted })).toEqual({ data })
    const stranger = { keyAgreement: { algorithm: 'ECDH-HSALSA20' as const, keyId: sender.keyId } }
    const call = kms.decrypt(context, { key: stranger, decryption: box, encrypted: anonymous.encrypted })
    await expect(call).rejects.toThrow(Kms.KeyManagementError)
  })
})

it('gives random bytes of its own', () => {
  expect(kms.randomBytes(context, { length: 24 })).toHaveLength(24)
})

function privateJwk(type: any): Kms.KmsJwkPrivate {
  return (generateKeyPairSync(type) as any).privateKey.export({ format: 'jwk' })
}
