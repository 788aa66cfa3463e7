import 'reflect-metadata'

import { X509Certificate } from 'node:crypto'

import * as x509 from '@peculiar/x509'
import { expect, test } from 'vitest'

import { c2paCallback } from '@minikms/client/c2pa'
import { remoteCrypto, remoteKeyPair } from '@minikms/client/webcrypto'

import { kms, newKey, refusal } from './kms.js'

test.each([
  ['p256', { name: 'ECDSA', hash: 'SHA-256' }],
  ['p384', { name: 'ECDSA', hash: 'SHA-384' }],
  ['rsa2048', { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }],
  ['ed25519', { name: 'Ed25519' }],
])('Web Crypto verifies what a %s key signs, and Node the certificate', async (alg, algorithm) => {
  const before = crypto.subtle.sign
  const [crypto_, keys] = [remoteCrypto(), await remoteKeyPair(await newKey(alg))]
  const data = new TextEncoder().encode('hello')
  const signature = await crypto_.subtle.sign(algorithm, keys.privateKey, data)
  expect(await crypto.subtle.verify(algorithm, keys.publicKey, signature, data)).toBe(true)
  expect(crypto.subtle.sign).toBe(before)
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    { name: 'CN=Example', keys, signingAlgorithm: algorithm, notAfter: new Date(Date.now() + 86_400_000) },
    crypto_
  )
  const read = new X509Certificate(certificate.toString('pem'))
  expect(read.verify(read.publicKey)).toBe(true)
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    { name: 'CN=Example', keys, signingAlgorithm: algorithm },
    crypto_
  )
  expect(await request.verify(crypto)).toBe(true)
  const crl = {
    issuer: 'CN=Example',
    entries: [{ serialNumber: '0a' }],
    signingAlgorithm: algorithm,
    signingKey: keys.privateKey,
  }
  expect(await (await x509.X509CrlGenerator.create(crl, crypto_)).verify({ publicKey: keys.publicKey }, crypto)).toBe(true)
})

test('a key of the platform signs as before, and a hash that JOSE does not give to a curve is refused', async () => {
  const crypto_ = remoteCrypto()
  const local = await crypto_.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify'])
  const signature = await crypto_.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, local.privateKey, new Uint8Array(1))
  expect(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, local.publicKey, signature, new Uint8Array(1))).toBe(true)
  const { privateKey } = await remoteKeyPair(await newKey('p256'))
  await expect(crypto_.subtle.sign({ name: 'ECDSA', hash: 'SHA-512' }, privateKey, new Uint8Array(1))).rejects.toThrow('SHA-256')
  expect(crypto_.getRandomValues(new Uint8Array(4))).toHaveLength(4)
})

test('RSA-PSS is signed with the alg of the key', async () => {
  const { kid } = await newKey('rsa2048')
  const keys = await remoteKeyPair(await kms.key({ kid }, { alg: 'PS256' }), 'SHA-256')
  const algorithm = { name: 'RSA-PSS', saltLength: 32 }
  const signature = await remoteCrypto().subtle.sign(algorithm, keys.privateKey, new Uint8Array(3))
  expect(await crypto.subtle.verify(algorithm, keys.publicKey, signature, new Uint8Array(3))).toBe(true)
})

const PSS = (saltLength?: number) => ({ name: 'RSA-PSS', saltLength })

test('an algorithm, a parameter or data is refused as the platform refuses it for its own keys', async () => {
  const rsa = { hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }
  const { kid } = await newKey('rsa2048')
  const pairs = [
    [await newKey('p256'), { name: 'ECDSA', namedCurve: 'P-256' }],
    [await newKey('ed25519'), { name: 'Ed25519' }],
    [await kms.key({ kid }, { alg: 'RS256' }), { name: 'RSASSA-PKCS1-v1_5', ...rsa }],
    [await kms.key({ kid }, { alg: 'PS256' }), { name: 'RSA-PSS', ...rsa }],
  ] as const
  const algorithms = [
    ...['Ed25519', 'ECDSA', 'RSASSA-PKCS1-v1_5', 'RSA-PSS', 'HMAC', 'nonsense', undefined],
    ...[PSS(32), PSS(), PSS(-1), { name: 'ecdsa', hash: 'sha-256' }, { name: 'ECDSA', hash: { name: 'SHA-256' } }],
    ...[{ name: 'ECDSA' }, { name: 'ECDSA', hash: 'nonsense' }, { name: 'ed25519' }],
  ]
  for (const [key, generated] of pairs) {
    const remote = await remoteKeyPair(key)
    const local = (await crypto.subtle.generateKey(generated, false, ['sign', 'verify'])) as CryptoKeyPair
    const attempt = async (crypto_: Crypto, { privateKey }: CryptoKeyPair, algorithm: any, data: any) =>
      crypto_.subtle.sign(algorithm, privateKey, data).then(
        () => 'a signature',
        ({ name }) => name
      )
    const outcomes = []
    for (const algorithm of algorithms) {
      const outcome = await attempt(crypto, local, algorithm, new Uint8Array(3))
      expect([algorithm, await attempt(remoteCrypto(), remote, algorithm, new Uint8Array(3))]).toEqual([algorithm, outcome])
      outcomes.push(outcome)
    }
    expect(new Set(outcomes)).toEqual(new Set(['a signature', 'InvalidAccessError', 'NotSupportedError', 'TypeError']))
    const good = generated.name === 'ECDSA' ? { name: 'ECDSA', hash: 'SHA-256' } : { name: generated.name, saltLength: 32 }
    for (const data of ['text', 5, null, {}, [1]]) {
      expect(await attempt(crypto, local, good, data)).toBe('TypeError')
      expect(await attempt(remoteCrypto(), remote, good, data)).toBe('TypeError')
    }
  }
})

test('RSA-PSS with another salt length than the hash has is refused, since the service would not make it', async () => {
  const { kid } = await newKey('rsa2048')
  for (const [alg, hash, saltLength] of [
    ['PS256', 'SHA-256', 32],
    ['PS512', 'SHA-512', 64],
  ] as const) {
    const keys = await remoteKeyPair(await kms.key({ kid }, { alg }), hash)
    const sign = (length: number) => remoteCrypto().subtle.sign(PSS(length) as any, keys.privateKey, new Uint8Array(3))
    for (const other of [0, 20, saltLength + 1]) await expect(sign(other)).rejects.toMatchObject({ name: 'NotSupportedError' })
    expect(await crypto.subtle.verify(PSS(saltLength) as any, keys.publicKey, await sign(saltLength), new Uint8Array(3))).toBe(
      true
    )
  }
})

test('the bytes of any view are signed as they were at the call', async () => {
  const { privateKey, publicKey } = await remoteKeyPair(await newKey('ed25519'))
  const bytes = new TextEncoder().encode('..hello.')
  for (const data of [bytes.subarray(2, 7), new DataView(bytes.buffer, 2, 5), bytes.slice(2, 7).buffer]) {
    const signing = remoteCrypto().subtle.sign('Ed25519', privateKey, data)
    new Uint8Array(data instanceof ArrayBuffer ? data : data.buffer).fill(0)
    expect(await crypto.subtle.verify('Ed25519', publicKey, await signing, new TextEncoder().encode('hello'))).toBe(true)
    bytes.set(new TextEncoder().encode('..hello.'))
  }
})

test('c2paCallback signs the Sig_structure of a claim, and nothing else', async () => {
  const key = await newKey('p256')
  // ["Signature1", << {1: -7} >>, h'', h'0102'] in CBOR.
  const protectedHeader = Buffer.from('43a10126', 'hex')
  const structure = Buffer.concat([
    Buffer.from('846a', 'hex'),
    Buffer.from('Signature1'),
    protectedHeader,
    Buffer.from('40420102', 'hex'),
  ])
  const signature = await c2paCallback(key)(structure)
  const { publicKey } = await remoteKeyPair(key)
  expect(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, publicKey, new Uint8Array(signature), structure)).toBe(
    true
  )
  expect(await refusal(c2paCallback(key)(Buffer.from('text')))).toMatch(/^(validation-failed|invalid-cose)/)
})

test('@peculiar/x509 verifies a revocation list of the service, and finds the revoked certificate', async () => {
  const { kid } = await newKey('p256')
  const root = await kms.issueCertificate('self-signed', 90, { kid }, { subject: 'CN=Example,C=DE' })
  await kms.setCertificates([root], { kid })
  const revoked = [{ serial: '3a1f2e3d', date: '2026-01-30T08:15:00Z' }]
  const crl = new x509.X509Crl(await kms.makeCrl(7, 30, revoked, { kid }))
  expect(await crl.verify({ publicKey: new x509.X509Certificate(root).publicKey }, crypto)).toBe(true)
  expect(crl.version).toBe(1) // v2
  expect(crl.issuer).toBe(new x509.X509Certificate(root).subject)
  expect(crl.findRevoked('3a1f2e3d')?.revocationDate).toEqual(new Date('2026-01-30T08:15:00Z'))
  expect(crl.findRevoked('3a1f2e3e')).toBe(null)
  expect(crl.nextUpdate!.getTime() - crl.thisUpdate.getTime()).toBe(30 * 86_400_000)
  expect(crl.extensions.map(({ type }) => type)).toEqual(['2.5.29.35', '2.5.29.20'])
})
