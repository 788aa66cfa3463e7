import { createHash } from 'node:crypto'
import { inspect } from 'node:util'

import { Kms, ZodValidationError } from '@credo-ts/core'
import { beforeAll, describe, expect, it } from 'vitest'

import { type MinikmsKeyManagementService, MinikmsProblem } from '../src/index.js'
import { bytes, context, keyOfEachType, newKms, post } from './kms.js'

let kms: MinikmsKeyManagementService
let url: string
let profile: string

beforeAll(async () => {
  ;({ kms, url, profile } = await newKms())
})

const data = bytes('hello')
const nothing = new Uint8Array()

const newKey = <Type extends Kms.KmsCreateKeyType>(type: Type) => kms.createKey(context, { type })
const notSupported = (what: string) => new Kms.KeyManagementAlgorithmNotSupportedError(what, kms.backend)

/** The error of a check of Credo's, which its own backends make too. */
function errorOf(check: () => void): Error {
  try {
    check()
  } catch (error) {
    return error as Error
  }
  throw new Error('The check passes.')
}

describe('a type or a key that is not supported', () => {
  const types: [string, object][] = [
    ["kty 'AKP'", { kty: 'AKP' }],
    ["crv 'P-192' for kty 'EC'", { kty: 'EC', crv: 'P-192' }],
    ["modulusLength '1024' for kty 'RSA'", { kty: 'RSA', modulusLength: 1024 }],
    ["algorithm 'aes' and length '200' for kty 'oct'", { kty: 'oct', algorithm: 'aes', length: 200 }],
  ]

  it.each(types)('createKey: %s', async (name, type: any) => {
    expect(kms.isOperationSupported(context, { operation: 'createKey', type })).toBe(false)
    await expect(newKey(type)).rejects.toThrow(notSupported(name))
  })

  const keys: [string, object][] = [
    ["kty 'AKP'", { kty: 'AKP' }],
    ["alg 'A128KW' for kty 'oct'", { kty: 'oct', alg: 'A128KW', k: 'AAAAAAAAAAAAAAAAAAAAAA' }],
    ["kty 'oct'", { kty: 'oct', k: 'AAAA' }],
  ]

  it.each(keys)('importKey: %s', async (name, privateJwk: any) => {
    expect(kms.isOperationSupported(context, { operation: 'importKey', privateJwk })).toBe(false)
    await expect(kms.importKey(context, { privateJwk })).rejects.toThrow(notSupported(name))
  })

  it('importKey: a JWK that Credo cannot read', async () => {
    const privateJwk = { kty: 'EC', crv: 'P-256', x: b64(data), d: 'secret', kid: 'unreadable' }
    const error = await kms.importKey(context, { privateJwk: privateJwk as any }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(Kms.KeyManagementError)
    expect((error as Error).cause).toBeInstanceOf(ZodValidationError)
    expect(inspect(error)).toContain('at y')
    expect(inspect(error)).not.toContain('secret')
    expect(await kms.getPublicKey(context, 'unreadable')).toBeNull()
  })

  it('importKey: a JWK whose numbers are of no point', async () => {
    const short = bytes('short')
    const privateJwk = { kty: 'EC', crv: 'P-256', ...Object.fromEntries(['x', 'y', 'd'].map((name) => [name, b64(short)])) }
    const error = await kms.importKey(context, { privateJwk: privateJwk as any }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(Kms.KeyManagementError)
    expect((error as Error).cause).toBeInstanceOf(MinikmsProblem)
  })
})

describe('a key that is not there', () => {
  const missing = new Kms.KeyManagementKeyNotFoundError('nobody', ['minikms'])
  const keyId = 'nobody'
  const external = { kty: 'OKP', crv: 'X25519', x: b64(createHash('sha256').update('x').digest()) } as const
  const agreement = { keyAgreement: { keyId, algorithm: 'ECDH-ES' as const, externalPublicJwk: external } }
  const parts = { iv: new Uint8Array(12), tag: new Uint8Array(16) }
  const calls: [string, () => Promise<unknown>][] = [
    ['sign', () => kms.sign(context, { keyId, algorithm: 'EdDSA', data })],
    ['sign by RSA', () => kms.sign(context, { keyId, algorithm: 'PS256', data })],
    ['sign by HMAC', () => kms.sign(context, { keyId, algorithm: 'HS256', data })],
    ['verify', () => kms.verify(context, { key: { keyId }, algorithm: 'EdDSA', data, signature: nothing })],
    ['encrypt', () => kms.encrypt(context, { key: { keyId }, encryption: { algorithm: 'A256GCM' }, data })],
    ['encrypt by agreement', () => kms.encrypt(context, { key: agreement, encryption: { algorithm: 'A256GCM' }, data })],
    [
      'decrypt',
      () => kms.decrypt(context, { key: { keyId }, decryption: { algorithm: 'A256GCM', ...parts }, encrypted: data }),
    ],
    [
      'decrypt by agreement',
      () => kms.decrypt(context, { key: agreement, decryption: { algorithm: 'C20P', ...parts }, encrypted: data }),
    ],
  ]

  it.each(calls)('%s', async (_, call) => {
    await expect(call()).rejects.toThrow(missing)
  })
})

describe('an algorithm that is not of the key', () => {
  const signatures: [Kms.KnownJwaSignatureAlgorithm, Kms.KmsCreateKeyType][] = [
    ['ES384', { kty: 'EC', crv: 'P-256' }],
    ['RS256', { kty: 'EC', crv: 'P-256' }],
    ['HS256', { kty: 'EC', crv: 'P-256' }],
    ['ES512', { kty: 'EC', crv: 'P-384' }],
    ['EdDSA', { kty: 'OKP', crv: 'X25519' }],
    ['ES256', { kty: 'RSA', modulusLength: 2048 }],
    ['RS384', { kty: 'RSA', modulusLength: 2048 }],
    ['RS512', { kty: 'RSA', modulusLength: 2048 }],
    ['PS512', { kty: 'RSA', modulusLength: 2048 }],
  ]

  const keyOf = keyOfEachType(() => kms)

  it.each(signatures)('%s, %o', async (algorithm, type) => {
    const { keyId, publicJwk } = await keyOf(type)
    const error = errorOf(() => Kms.assertAllowedSigningAlgForKey(publicJwk as any, algorithm))
    const signature = new Uint8Array(64)
    await expect(kms.sign(context, { keyId, algorithm, data })).rejects.toThrow(error)
    await expect(kms.verify(context, { key: { keyId }, algorithm, data, signature })).rejects.toThrow(error)
  })

  it('a public key by value', async () => {
    const { publicJwk } = await newKey({ kty: 'OKP', crv: 'X25519' })
    const error = errorOf(() => Kms.assertAllowedSigningAlgForKey(publicJwk, 'EdDSA'))
    const call = kms.verify(context, { key: { publicJwk }, algorithm: 'EdDSA', data, signature: new Uint8Array(64) })
    await expect(call).rejects.toThrow(error)
  })

  it('an authentication code, whose key is for one', async () => {
    const { keyId } = await newKey({ kty: 'oct', algorithm: 'hmac', length: 384 })
    for (const algorithm of ['HS256', 'HS512'] as const) {
      const jwk = { kty: 'oct', alg: 'HS384', k: b64(new Uint8Array(48)) } as const
      const error = errorOf(() => Kms.assertAllowedSigningAlgForKey(jwk, algorithm))
      const options = { key: { keyId }, algorithm, data, signature: nothing }
      await expect(kms.sign(context, { keyId, algorithm, data })).rejects.toThrow(error)
      await expect(kms.verify(context, options)).rejects.toThrow(error)
    }
  })

  const encryptions: [any, Kms.KmsCreateKeyType, object | undefined][] = [
    ['A128GCM', { kty: 'OKP', crv: 'X25519' }, undefined],
    ['A192GCM', { kty: 'oct', algorithm: 'aes', length: 128 }, { alg: 'A128GCM', k: b64(new Uint8Array(16)) }],
    ['A128CBC-HS256', { kty: 'oct', algorithm: 'aes', length: 256 }, { alg: 'A256GCM', k: b64(new Uint8Array(32)) }],
    ['XC20P', { kty: 'oct', algorithm: 'C20P' }, { alg: 'C20P', k: b64(new Uint8Array(32)) }],
    ['A256GCM', { kty: 'oct', algorithm: 'hmac', length: 256 }, { alg: 'HS256', k: b64(new Uint8Array(32)) }],
  ]

  it.each(encryptions)('%s, %o', async (algorithm, type, secret) => {
    const { keyId, publicJwk } = await newKey(type)
    const error = errorOf(() => Kms.assertAllowedEncryptionAlgForKey({ ...publicJwk, ...secret } as any, algorithm))
    const decryption = { algorithm, iv: new Uint8Array(12), tag: new Uint8Array(16) }
    await expect(kms.encrypt(context, { key: { keyId }, encryption: { algorithm }, data })).rejects.toThrow(error)
    await expect(kms.decrypt(context, { key: { keyId }, decryption, encrypted: data })).rejects.toThrow(error)
  })

  it.each(['A128CBC', 'A256CBC', 'XSALSA20-POLY1305'] as const)('%s, without an agreement', async (algorithm) => {
    const operation = { operation: 'encrypt', encryption: { algorithm } } as const
    expect(kms.isOperationSupported(context, operation)).toBe(false)
    const key = { privateJwk: { kty: 'oct', k: b64(new Uint8Array(32)) } as const }
    const call = kms.encrypt(context, { key, encryption: { algorithm }, data })
    await expect(call).rejects.toThrow(notSupported(`JWA encryption algorithm '${algorithm}'`))
  })

  it('an agreement that is not of the encryption', async () => {
    const { keyId, publicJwk } = await newKey({ kty: 'OKP', crv: 'X25519' })
    const agreement = { keyId, algorithm: 'ECDH-HSALSA20', externalPublicJwk: publicJwk } as const
    const call = kms.encrypt(context, { key: { keyAgreement: agreement }, encryption: { algorithm: 'A256GCM' }, data })
    const name = "key agreement algorithm 'ECDH-HSALSA20' with encryption algorithm 'A256GCM'"
    await expect(call).rejects.toThrow(notSupported(name))
  })
})

describe('an agreement of keys that do not fit', () => {
  const algorithm = 'ECDH-ES' as const
  const decryption = { algorithm: 'XC20P' as const, iv: new Uint8Array(24), tag: new Uint8Array(16) }

  it('on another curve', async () => {
    const own = await newKey({ kty: 'OKP', crv: 'X25519' })
    const { publicJwk } = await newKey({ kty: 'EC', crv: 'P-384' })
    const error = errorOf(() => Kms.assertAsymmetricJwkKeyTypeMatches(own.publicJwk as any, publicJwk as any))
    const key = { keyAgreement: { keyId: own.keyId, algorithm, externalPublicJwk: publicJwk as any } }
    await expect(kms.encrypt(context, { key, encryption: { algorithm: 'XC20P' }, data })).rejects.toThrow(error)
    await expect(kms.decrypt(context, { key, decryption, encrypted: data })).rejects.toThrow(error)
  })

  it('for signatures', async () => {
    const own = await newKey({ kty: 'OKP', crv: 'Ed25519' })
    const { publicJwk } = await newKey({ kty: 'OKP', crv: 'X25519' })
    const error = errorOf(() => Kms.assertAllowedKeyDerivationAlgForKey(own.publicJwk as any, algorithm))
    const key = { keyAgreement: { keyId: own.keyId, algorithm, externalPublicJwk: publicJwk as any } }
    await expect(kms.encrypt(context, { key, encryption: { algorithm: 'XC20P' }, data })).rejects.toThrow(error)
  })
})

it('an iv of the caller, with a key in Mini KMS', async () => {
  const { keyId } = await newKey({ kty: 'oct', algorithm: 'aes', length: 256 })
  const encryption = { algorithm: 'A256GCM', iv: new Uint8Array(12) } as const
  const call = kms.encrypt(context, { key: { keyId }, encryption, data })
  await expect(call).rejects.toThrow(Kms.KeyManagementAlgorithmNotSupportedError)
})

it('what Mini KMS refuses, and no check of Credo does', async () => {
  const { kid } = await post(url, '/key/generate', { alg: 'ed25519', operations: ['verify'] }, profile)
  const call = kms.sign(context, { keyId: kid, algorithm: 'EdDSA', data })
  await expect(call).rejects.toThrow(Kms.KeyManagementAlgorithmNotSupportedError)
})

function b64(value: Uint8Array): string {
  return Buffer.from(value).toString('base64url')
}
