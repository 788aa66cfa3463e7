import * as jose from 'jose'
import {
  clientAuthenticationAnonymous,
  createClientAttestationJwt,
  createJarAuthorizationRequest,
  HashAlgorithm,
  verifyClientAttestationJwt,
} from '@openid4vc/oauth2'
import { Openid4vciClient, Openid4vciIssuer } from '@openid4vc/openid4vci'
import { Openid4vpVerifier } from '@openid4vc/openid4vp'
import { expect, test } from 'vitest'

import { openid4vcCallbacks } from '@minikms/client/openid4vc'

import { jwkOfDid } from '../src/did-key.js'
import { base58 } from '../src/public.js'
import { HOUR, kms, newKey, refusal } from './kms.js'

const callbacks = { ...openid4vcCallbacks(kms), clientAuthentication: clientAuthenticationAnonymous() }
const ISSUER = 'https://issuer.example'

const pid = {
  format: 'dc+sd-jwt',
  vct: 'urn:eudi:pid:1',
  cryptographic_binding_methods_supported: ['jwk'],
  proof_types_supported: { jwt: { proof_signing_alg_values_supported: ['ES256'] } },
}

const metadata: any = {
  originalDraftVersion: 'V1',
  credentialIssuer: {
    credential_issuer: ISSUER,
    credential_endpoint: `${ISSUER}/credential`,
    credential_configurations_supported: { pid },
  },
  authorizationServers: [],
}

test('a proof of possession with a key attestation is signed under rules, and the issuer verifies it', async () => {
  const [key, attester] = [await newKey('p256', { rules: 'openid4vci-proof' }), await newKey('p256')]
  const attestation = await kms.attestKeys([key.kid], { kid: attester.kid }, { nonce: 'n-1' })
  const client = new Openid4vciClient({ callbacks })
  const { jwt } = await client.createCredentialRequestJwtProof({
    issuerMetadata: metadata,
    signer: { method: 'jwk', alg: 'ES256', publicJwk: key.publicJwk },
    nonce: 'n-1',
    issuedAt: new Date(),
    credentialConfigurationId: 'pid',
    keyAttestationJwt: attestation,
  } as any)
  const issuer = new Openid4vciIssuer({ callbacks })
  const verified = await issuer.verifyCredentialRequestJwtProof({ jwt, issuerMetadata: metadata, expectedNonce: 'n-1' })
  expect(verified.signer.publicJwk).toMatchObject({ x: key.publicJwk.x })
  const { protectedHeader } = await jose.jwtVerify(jwt, await jose.importJWK(key.publicJwk, 'ES256'))
  expect(protectedHeader.typ).toBe('openid4vci-proof+jwt')
})

test('a JWT of another type than the rules allow is refused', async () => {
  const key = await newKey('p256', { rules: 'openid4vci-proof' })
  const signer = { method: 'jwk' as const, alg: 'ES256', publicJwk: key.publicJwk }
  const sign = (typ: string) => callbacks.signJwt(signer, { header: { typ }, payload: { aud: ISSUER } })
  await sign('openid4vci-proof+jwt')
  expect(await refusal(sign('JWT'))).toMatch(/^rule-violated: .*jws.typ/)
})

test('an authorization request of OpenID4VP is signed under rules, and refused with one claim changed', async () => {
  const client_id = 'x509_san_dns:verifier.example'
  const alias = `did:web:verifier.example:${crypto.randomUUID()}#key`
  const key = await newKey('p256', {
    alias,
    rules: { jws: { typ: ['oauth-authz-req+jwt'], claims: { client_id: [client_id] }, max_lifetime: HOUR } },
  })
  const sign = (payload: object) =>
    createJarAuthorizationRequest({
      jwtSigner: { method: 'did', didUrl: alias, alg: 'ES256' },
      authorizationRequestPayload: { response_type: 'vp_token', nonce: 'n', client_id, ...payload } as any,
      callbacks,
      expiresInSeconds: 600,
    } as any)
  const { authorizationRequestJwt } = await sign({})
  await jose.jwtVerify(authorizationRequestJwt, await jose.importJWK(key.publicJwk, 'ES256'))
  expect(await refusal(sign({ client_id: 'x509_san_dns:evil.example' }))).toMatch(/^rule-violated: .*client_id/)
  expect(new Openid4vpVerifier({ callbacks })).toBeDefined()
})

test('a client attestation is signed by its provider, and verified', async () => {
  const [provider, instance] = [
    await newKey('p256', { rules: { jws: { typ: ['oauth-client-attestation+jwt'] } } }),
    await newKey('p256'),
  ]
  const signer = { method: 'jwk' as const, alg: 'ES256', publicJwk: provider.publicJwk }
  const clientAttestationJwt = await createClientAttestationJwt({
    ...{ callbacks, signer, issuer: ISSUER, clientId: 'wallet', expiresAt: new Date(Date.now() + 60_000) },
    confirmation: { jwk: instance.publicJwk },
  })
  const { payload } = await verifyClientAttestationJwt({ clientAttestationJwt, callbacks })
  expect(payload.cnf.jwk).toMatchObject({ x: instance.publicJwk.x })
  await jose.jwtVerify(clientAttestationJwt, await jose.importJWK(provider.publicJwk, 'ES256'))
})

test('a response is encrypted and decrypted, also with apu and apv; jose reads it, too', async () => {
  const key = await newKey('p256')
  const recipient = { method: 'jwk' as const, publicJwk: { ...key.publicJwk, kid: key.kid }, alg: 'ECDH-ES', enc: 'A256GCM' }
  const apu = Buffer.from('wallet').toString('base64url')
  const { jwe } = await callbacks.encryptJwe(
    { ...recipient, apu, apv: Buffer.from('nonce').toString('base64url') },
    '{"vp_token": 1}'
  )
  expect(jose.decodeProtectedHeader(jwe)).toMatchObject({ apu, kid: key.kid })
  expect(await callbacks.decryptJwe(jwe)).toMatchObject({ decrypted: true, payload: '{"vp_token": 1}' })
  expect(await callbacks.decryptJwe(jwe, { jwk: key.publicJwk })).toMatchObject({ decrypted: true })
  const named = await callbacks.encryptJwe({ ...recipient, publicJwk: { ...key.publicJwk, kid: 'enc-1' } }, 'text')
  expect(jose.decodeProtectedHeader(named.jwe)).toMatchObject({ kid: 'enc-1' })
  const other = await newKey('p256')
  expect(await callbacks.decryptJwe(jwe, { jwk: other.publicJwk })).toMatchObject({ decrypted: false })
  await kms.deleteKey({ kid: other.kid })
  expect(await callbacks.decryptJwe(jwe, { jwk: other.publicJwk })).toEqual({ decrypted: false })
  const pair = await jose.generateKeyPair('ECDH-ES', { extractable: true })
  const publicJwk: any = await jose.exportJWK(pair.publicKey)
  const made = await callbacks.encryptJwe({ ...recipient, publicJwk, apu }, 'text')
  expect(new TextDecoder().decode((await jose.compactDecrypt(made.jwe, pair.privateKey)).plaintext)).toBe('text')
})

test('a signer is found by kid, alias, certificate, did:jwk and by keyOf', async () => {
  const alias = `wallet-${crypto.randomUUID()}`
  const key = await newKey('p256', { alias })
  const pem = await kms.issueCertificate('self-signed', 30, { kid: key.kid }, { subject: 'CN=verifier.example' })
  const x5c = [pem.replace(/-----.*-----|\s/g, '')]
  const did = `did:jwk:${Buffer.from(JSON.stringify(key.publicJwk)).toString('base64url')}`
  const jwt = { header: { alg: 'ES256', typ: 'JWT' }, payload: { aud: ISSUER } }
  const cases: [any, any?][] = [
    [{ method: 'custom', alg: 'ES256', kid: key.kid }],
    [{ method: 'federation', alg: 'ES256', kid: alias }, { by: 'alias' }],
    [{ method: 'x5c', alg: 'ES256', x5c }],
    [{ method: 'did', alg: 'ES256', didUrl: `${did}#0` }],
    [{ method: 'did', alg: 'ES256', didUrl: `${key.did}#${key.multikey}` }],
    [{ method: 'custom', alg: 'ES256' }, { keyOf: () => ({ alias }) }],
    [{ method: 'custom', alg: 'ES256' }, { keyOf: async () => key }],
  ]
  for (const [signer, options] of cases) {
    const { signJwt, verifyJwt } = openid4vcCallbacks(kms, options)
    const signed = await signJwt(signer, jwt)
    expect(signed.signerJwk).toMatchObject({ x: key.publicJwk.x })
    await jose.jwtVerify(signed.jwt, await jose.importJWK(key.publicJwk, 'ES256'))
    expect(await verifyJwt(signer, { compact: signed.jwt })).toMatchObject({ verified: true })
    expect(await verifyJwt(signer, { compact: `${signed.jwt.slice(0, -4)}AAAA` })).toMatchObject({ verified: false })
  }
  expect(await callbacks.verifyJwt({ method: 'custom', alg: 'ES256', kid: 'unknown' }, { compact: 'a.b.c' })).toEqual({
    verified: false,
  })
  expect(await callbacks.verifyJwt({ method: 'did', alg: 'ES256', didUrl: 'did:web:unknown#1' }, { compact: 'a.b.c' })).toEqual({
    verified: false,
  })
})

test.each(['p256', 'p384', 'k256', 'ed25519'])('a did:key of a %s key has its public key', async (alg) => {
  for (let count = 0; count < 6; count++) {
    const { did, publicJwk } = await newKey(alg)
    expect(jwkOfDid(`${did}#key`)).toEqual(publicJwk)
  }
})

test('another DID, and a did:key without a point, has none', () => {
  expect(jwkOfDid('did:web:example.com')).toBeUndefined()
  expect(jwkOfDid('did:web:example.com:did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH')).toBeUndefined()
  expect(jwkOfDid('did:key:z6LSto1ZTJPo5MLbcRYy1FcBJseVmJGsok3Ww53NjQzaMHZP')).toBeUndefined()
  const multikey = `z${base58(Uint8Array.of(0x80, 0x24, 2, ...new Uint8Array(31), 1))}`
  expect(() => jwkOfDid(`did:key:${multikey}`)).toThrow(RangeError)
})

test('hash and generateRandom are those of the platform', async () => {
  expect(Buffer.from(await callbacks.hash(new TextEncoder().encode('abc'), HashAlgorithm.Sha256)).toString('hex')).toMatch(
    /^ba7816bf/
  )
  expect(callbacks.generateRandom(16)).toHaveLength(16)
})
