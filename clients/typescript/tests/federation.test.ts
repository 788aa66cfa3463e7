import { createEntityConfiguration, createEntityStatement } from '@openid-federation/core'
import * as jose from 'jose'
import { expect, test } from 'vitest'

import { InvalidSetting, type Minikms } from '@minikms/client'
import { federationJwks, federationSignCallback, federationSigner } from '@minikms/client/federation'
import { openid4vcCallbacks } from '@minikms/client/openid4vc'

import { HOUR, inSeconds, newKey, refusal } from './kms.js'

const ENTITY = 'https://entity.example'
const RULES = {
  jws: { typ: ['entity-statement+jwt'], claims: { iss: [ENTITY] }, max_lifetime: HOUR },
}

function claims(jwk: object) {
  return { iss: ENTITY, sub: ENTITY, iat: inSeconds(0), exp: inSeconds(600), jwks: { keys: [jwk] } }
}

test('an entity configuration is signed under rules, and jose verifies it', async () => {
  const signer = federationSigner(await newKey('p256', { rules: RULES }))
  const sign = (change: object) =>
    createEntityConfiguration({
      header: signer.header,
      claims: { ...claims(signer.jwk), ...change } as any,
      signJwtCallback: signer.signJwtCallback,
    })
  const jwt = await sign({})
  const { payload, protectedHeader } = await jose.jwtVerify(jwt, await jose.importJWK(signer.jwk, 'ES256'))
  expect(payload.iss).toBe(ENTITY)
  expect(protectedHeader).toMatchObject({ kid: signer.kid, typ: 'entity-statement+jwt' })
  expect(await refusal(sign({ iss: 'https://evil.example', sub: 'https://evil.example' }))).toMatch(
    /^rule-violated: .*jws.claims.iss/
  )
  expect(await refusal(sign({ exp: inSeconds(2 * HOUR) }))).toMatch(/^rule-violated: .*max_lifetime/)
})

test('a statement about a subordinate is signed by the key of its kid', async () => {
  const [one, two] = [await newKey('p256'), await newKey('ed25519')]
  const signJwtCallback = federationSignCallback({ one, two })
  const jwt = await createEntityStatement({
    header: { typ: 'entity-statement+jwt', kid: 'two', alg: 'EdDSA' } as any,
    jwk: { ...two.publicJwk, kid: 'two' } as any,
    claims: { ...claims({ ...one.publicJwk, kid: 'one' }), sub: 'https://leaf.example' } as any,
    signJwtCallback,
  })
  await jose.jwtVerify(jwt, await jose.importJWK(two.publicJwk, 'EdDSA'))
  await expect(signJwtCallback({ toBeSigned: new Uint8Array(), jwk: { kid: 'toString' } })).rejects.toThrow('There is no key')
})

test('a key is named by its kid or an alias, and by nothing else', async () => {
  const key = await newKey('p256')
  for (const by of ['sign', 'constructor', '', null] as any[]) {
    expect(() => federationSigner(key, { by })).toThrow(InvalidSetting)
    expect(() => federationSigner(key, { by, kid: 'k' })).toThrow(InvalidSetting)
    expect(() => openid4vcCallbacks(key.kms as Minikms, { by })).toThrow(InvalidSetting)
  }
  expect(federationSigner(key, { by: 'alias' }).kid).toBe(key.kid)
})

test('a kid is the thumbprint, the alias, or a given one; sign makes a trust mark', async () => {
  const key = await newKey('p256')
  expect(federationSigner(key).kid).toBe(key.kid)
  expect(federationSigner(key, { kid: 'k' }).jwk).toMatchObject({ kid: 'k', alg: 'ES256', use: 'sig' })
  const { kms } = await import('./kms.js')
  const alias = `fed-${crypto.randomUUID()}`
  await kms.associateAlias(alias, { kid: key.kid })
  const signer = federationSigner(await kms.key(alias), { by: 'alias' })
  expect(signer.kid).toBe(alias)
  const jwt = await signer.sign('trust-mark+jwt', { iss: ENTITY, sub: 'https://leaf.example', iat: inSeconds(0) })
  const { protectedHeader } = await jose.jwtVerify(jwt, await jose.importJWK(signer.jwk, 'ES256'))
  expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'trust-mark+jwt', kid: alias })
})

test('an entity configuration has the next key, and verifies by it after the rotation, until the old key retires', async () => {
  const alias = `fed-${crypto.randomUUID()}`
  await newKey('p256', { alias, retire_after: HOUR })
  const { kms } = await import('./kms.js')
  const configuration = async () => {
    const signer = federationSigner(await kms.key(alias))
    const jwks = await federationJwks(await kms.key(alias))
    const jwt = await createEntityConfiguration({
      header: signer.header,
      claims: { ...claims({}), jwks } as any,
      signJwtCallback: signer.signJwtCallback,
    })
    const kids = jwks.keys.map(({ kid }) => kid)
    return { jwt, kid: signer.kid, kids, set: jose.createLocalJWKSet(jwks as jose.JSONWebKeySet) }
  }
  const before = await configuration()
  expect(before.kids).toEqual([before.kid])
  const next = await kms.nextKey({ kid: before.kid })
  const published = await configuration()
  expect(published.kid).toBe(before.kid)
  expect(published.kids.sort()).toEqual([before.kid, next.kid].sort())
  await kms.rotateKey({ kid: before.kid })
  const after = await configuration()
  expect(after.kid).toBe(next.kid)
  await jose.jwtVerify(after.jwt, published.set)
  await jose.jwtVerify(published.jwt, after.set)
  await kms.updateKey({ kid: before.kid }, { state: 'disabled' })
  expect((await configuration()).kids).toEqual([next.kid])
})
