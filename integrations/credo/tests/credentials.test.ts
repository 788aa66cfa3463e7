import {
  ClaimFormat,
  JwsService,
  JwtPayload,
  Kms,
  MdocDeviceResponse,
  W3cCredential,
  W3cCredentialSubject,
  W3cIssuer,
  type W3cJwtVerifiableCredential,
} from '@credo-ts/core'
import { expect, it } from 'vitest'

import { newAgent, publicKey, type TestAgent } from './agent.js'

/** A did:key of a new key, and its only verification method. */
async function newDid(agent: TestAgent, type: Kms.KmsCreateKeyTypeAssymetric) {
  const { didState } = await agent.dids.create({ method: 'key', options: { createKey: { type } } } as any)
  const did = didState.did!
  return { did, didUrl: `${did}#${did.slice('did:key:'.length)}` }
}

it.each([
  ['EdDSA', { kty: 'OKP', crv: 'Ed25519' }],
  ['ES256', { kty: 'EC', crv: 'P-256' }],
] as const)('issues a JWT credential, %s', async (alg, type) => {
  const { agent } = await newAgent('issuer')
  const issuer = await newDid(agent, type)
  const signed = (await agent.w3cCredentials.signCredential({
    format: ClaimFormat.JwtVc,
    alg,
    verificationMethod: issuer.didUrl,
    credential: new W3cCredential({
      type: ['VerifiableCredential'],
      issuer: new W3cIssuer({ id: issuer.did }),
      issuanceDate: new Date().toISOString(),
      credentialSubject: new W3cCredentialSubject({ id: issuer.did, claims: { degree: 'BSc' } }),
    }),
  })) as W3cJwtVerifiableCredential
  expect(await agent.w3cCredentials.verifyCredential({ credential: signed })).toMatchObject({ isValid: true })
  const [head, payload] = signed.serializedJwt.split('.')
  const altered = [head, payload, 'A'.repeat(86)].join('.')
  const { isValid } = await agent.w3cCredentials.verifyCredential({ credential: altered })
  expect(isValid).toBe(false)
})

it('issues an SD-JWT credential, which its holder presents by its own key', async () => {
  const issuer = await newAgent('issuer')
  const holder = await newAgent('holder')
  const ofIssuer = await newDid(issuer.agent, { kty: 'OKP', crv: 'Ed25519' })
  const ofHolder = await newDid(holder.agent, { kty: 'EC', crv: 'P-256' })
  const { compact } = await issuer.agent.sdJwtVc.sign({
    payload: { vct: 'https://example.org/degree', degree: 'BSc', name: 'Alice' },
    issuer: { method: 'did', didUrl: ofIssuer.didUrl },
    holder: { method: 'did', didUrl: ofHolder.didUrl },
    disclosureFrame: { _sd: ['degree', 'name'] },
  })
  const expected = { audience: 'https://verifier.example.org', nonce: 'n-0S6_WzA2Mj' }
  const presented = await holder.agent.sdJwtVc.present({
    sdJwtVc: compact,
    presentationFrame: { degree: true },
    verifierMetadata: { ...expected, issuedAt: Math.floor(Date.now() / 1000) },
  })
  const verified = await issuer.agent.sdJwtVc.verify({ compactSdJwtVc: presented, keyBinding: expected })
  expect(verified).toMatchObject({ isValid: true, sdJwtVc: { prettyClaims: { degree: 'BSc' } } })
  expect(JSON.stringify(verified)).not.toContain('Alice')
  const other = { ...expected, nonce: 'another' }
  expect(await issuer.agent.sdJwtVc.verify({ compactSdJwtVc: presented, keyBinding: other })).toMatchObject({
    isValid: false,
  })
})

it('issues an mdoc, and the device of its holder answers by its own key', async () => {
  const issuer = await newAgent('issuer')
  const holder = await newAgent('holder')
  const type = { kty: 'EC', crv: 'P-256' } as const
  const authority = await publicKey(issuer.agent, type)
  const device = await publicKey(holder.agent, type)
  const certificate = await issuer.agent.x509.createCertificate({
    authorityKey: authority,
    issuer: { commonName: 'Issuer', countryName: 'DE' },
    validity: { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) },
  })
  certificate.publicJwk.keyId = authority.keyId
  const docType = 'org.iso.18013.5.1.mDL'
  const mdoc = await issuer.agent.mdoc.sign({
    docType,
    holderKey: device,
    issuerCertificate: certificate,
    namespaces: { 'org.iso.18013.5.1': { family_name: 'Doe', given_name: 'Alice' } },
  })
  const trustedCertificates = [certificate.toString('base64')]
  expect(await issuer.agent.mdoc.verify(mdoc, { trustedCertificates })).toEqual({ isValid: true })
  const received = holder.agent.mdoc.fromBase64Url(mdoc.base64Url)
  received.deviceKeyId = device.keyId
  const sessionTranscriptOptions = {
    type: 'sesionTranscriptBytes' as const,
    sessionTranscriptBytes: new Uint8Array([0x83, 0xf6, 0xf6, 0xf6]),
  }
  const answer = await MdocDeviceResponse.createDeviceResponse(holder.agent.context, {
    mdocs: [received],
    documentRequests: [{ docType, nameSpaces: { 'org.iso.18013.5.1': { given_name: false } } }],
    sessionTranscriptOptions,
  })
  const deviceResponse = Buffer.from(answer).toString('base64url')
  const parsed = MdocDeviceResponse.fromBase64Url(deviceResponse)
  const options = { deviceResponse, sessionTranscriptOptions, trustedCertificates }
  const [found] = await parsed.verify(issuer.agent.context, options)
  expect(found?.issuerSignedNamespaces).toEqual({ 'org.iso.18013.5.1': { given_name: 'Alice' } })
})

it('signs a JWS by a key of each curve, which another agent verifies', async () => {
  const { agent } = await newAgent('signer')
  const verifier = await newAgent('verifier')
  const jws = agent.context.resolve(JwsService)
  for (const [alg, type] of [
    ['EdDSA', { kty: 'OKP', crv: 'Ed25519' }],
    ['ES256', { kty: 'EC', crv: 'P-256' }],
    ['ES384', { kty: 'EC', crv: 'P-384' }],
    ['ES512', { kty: 'EC', crv: 'P-521' }],
    ['ES256K', { kty: 'EC', crv: 'secp256k1' }],
    ['PS256', { kty: 'RSA', modulusLength: 2048 }],
  ] as const) {
    const key = await publicKey(agent, type)
    const compact = await jws.createJwsCompact(agent.context, {
      keyId: key.keyId,
      payload: new JwtPayload({ sub: 'alice' }),
      protectedHeaderOptions: { alg, jwk: key },
    })
    const found = await jws.verifyJws(verifier.agent.context, { jws: compact, allowedJwsSignerMethods: ['jwk'] } as any)
    expect(found.isValid).toBe(true)
  }
})
