import * as jose from 'jose'
import { expect, test } from 'vitest'

import { compactDecrypt, signCompact, thumbprint } from '@minikms/client/jose'

import { HOUR, inSeconds, kms, newKey, refusal } from './kms.js'

test.each(['p256', 'p384', 'p521', 'ed25519', 'rsa2048'])('jose verifies what a %s key signs', async (alg) => {
  const key = await newKey(alg)
  const jwt = await signCompact(key, { typ: 'JWT', kid: 'k1' }, { iss: 'https://issuer.example' })
  const { payload, protectedHeader } = await jose.jwtVerify(jwt, await jose.importJWK(key.publicJwk, key.alg))
  expect(payload).toEqual({ iss: 'https://issuer.example' })
  expect(protectedHeader).toEqual({ alg: key.alg, typ: 'JWT', kid: 'k1' })
})

test('a header may name another alg of an RSA key', async () => {
  const key = await newKey('rsa2048')
  const jws = await signCompact(key, { alg: 'PS256' }, 'text')
  const { payload } = await jose.compactVerify(jws, await jose.importJWK(key.publicJwk, 'PS256'))
  expect(new TextDecoder().decode(payload)).toBe('text')
})

test('a JWE of jose is decrypted', async () => {
  const key = await newKey('p256')
  const header = { alg: 'ECDH-ES+A256KW', enc: 'A256GCM', kid: key.kid }
  const jwe = await new jose.CompactEncrypt(new TextEncoder().encode('secret'))
    .setProtectedHeader(header)
    .encrypt(await jose.importJWK(key.publicJwk, header.alg))
  const { plaintext, protectedHeader } = await compactDecrypt(jwe, key)
  expect(new TextDecoder().decode(plaintext)).toBe('secret')
  expect(protectedHeader).toMatchObject(header)
})

test('the thumbprint is the one of jose, and the kid of the key', async () => {
  for (const alg of ['p256', 'ed25519', 'rsa2048', 'mldsa44']) {
    const { kid, publicJwk } = await newKey(alg)
    expect(await thumbprint(publicJwk)).toBe(kid)
    if (alg !== 'mldsa44') expect(await jose.calculateJwkThumbprint(publicJwk)).toBe(kid)
  }
})

test('the rules of a key hold, and a token with the scope sign is enough', async () => {
  const issuer = 'https://issuer.example'
  const rules = { jws: { typ: ['JWT'], claims: { iss: [issuer] }, max_lifetime: HOUR } }
  const { kid, jwk } = await kms.generateKey('p256', { rules })
  const key = await kms.key({ kid }, { jwk: jwk! })
  const claims = { iss: issuer, exp: inSeconds(600) }
  const jwt = await signCompact(key, { typ: 'JWT' }, claims)
  expect((await jose.jwtVerify(jwt, await jose.importJWK(jwk!, 'ES256'))).payload).toEqual(claims)
  expect(await refusal(signCompact(key, { typ: 'JWT' }, { ...claims, iss: 'https://evil.example' }))).toMatch(
    /^rule-violated: .*jws.claims.iss/
  )
  expect(await refusal(signCompact(key, { typ: 'other' }, claims))).toMatch(/^rule-violated: .*jws.typ/)
  expect(await refusal(signCompact(key, { typ: 'JWT' }, { ...claims, exp: inSeconds(2 * HOUR) }))).toMatch(
    /^rule-violated: .*max_lifetime/
  )
})

test('bytes are a payload as they are', async () => {
  const key = await newKey('p256')
  for (const payload of [Uint8Array.of(0, 255, 1), new Uint8Array()]) {
    const verified = await jose.compactVerify(await signCompact(key, {}, payload), await jose.importJWK(key.publicJwk, 'ES256'))
    expect([...verified.payload]).toEqual([...payload])
  }
})
