import type { AddressInfo } from 'node:net'

import { ClaimFormat, MdocRecord, type X509Certificate, X509Module } from '@credo-ts/core'
import { OpenId4VciCredentialFormatProfile, OpenId4VcModule } from '@credo-ts/openid4vc'
import { expect, it, onTestFinished } from 'vitest'

import { listen, newAgent, publicKey, type TestAgent, validity } from './agent.js'

const P256 = { kty: 'EC', crv: 'P-256' } as const
const DOC_TYPE = 'org.iso.18013.5.1.mDL'
const LEVEL = 'iso_18045_moderate'

/** A self-signed certificate of a CA, for a new key of an agent. */
async function newRoot(agent: Pick<TestAgent, 'kms' | 'x509'>) {
  return agent.x509.createCertificate({
    authorityKey: await publicKey(agent, P256),
    issuer: { commonName: 'CA', countryName: 'DE' },
    validity: validity(),
    extensions: { basicConstraints: { ca: true } },
  })
}

/** An issuer that demands key attestations, for proofs of one type, and trusts the wallet providers of `trusted`. */
async function newIssuer(proofType: string) {
  const trusted: X509Certificate[] = []
  const server = await listen()
  const openid4vc = new OpenId4VcModule({
    issuer: {
      baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentialRequestToCredentialMapper: ({ holderBinding }) => ({
        type: 'credentials',
        format: ClaimFormat.MsoMdoc,
        credentials: holderBinding.keys.map(({ jwk: holderKey }) => ({
          docType: DOC_TYPE,
          holderKey,
          issuerCertificate: certificate,
          namespaces: { 'org.iso.18013.5.1': { given_name: 'Alice' } },
        })),
      }),
    },
  })
  server.on('request', openid4vc.config.app)
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const { agent } = await newAgent('issuer', {
    x509: new X509Module({ getTrustedCertificatesForVerification: () => trusted.map((root) => root.toString('base64')) }),
    openid4vc,
  })
  const certificate = await newRoot(agent)
  const { issuer } = agent.openid4vc
  const { issuerId } = await issuer.createIssuer({
    batchCredentialIssuance: { batchSize: 2 },
    credentialConfigurationsSupported: {
      mdl: {
        format: OpenId4VciCredentialFormatProfile.MsoMdoc,
        doctype: DOC_TYPE,
        cryptographic_binding_methods_supported: ['jwk'],
        proof_types_supported: {
          [proofType]: {
            proof_signing_alg_values_supported: ['ES256'],
            key_attestations_required: { key_storage: [LEVEL] },
          },
        },
      },
    },
  })
  const offer = { issuerId, credentialConfigurationIds: ['mdl'], preAuthorizedCodeFlowConfig: {}, version: 'v1' as const }
  return { trusted, certificate, newOffer: async () => (await issuer.createCredentialOffer(offer)).credentialOffer }
}

it.each(['attestation', 'jwt'])('an issuer of OpenID4VCI takes a key attestation, as proof type %s', async (proofType) => {
  const issuer = await newIssuer(proofType)
  const { agent, call } = await newAgent('wallet', {
    x509: new X509Module({ trustedCertificates: [issuer.certificate.toString('base64')] }),
    openid4vc: new OpenId4VcModule(),
  })
  const root = await newRoot(agent)
  const provider = await publicKey(agent, P256)
  const certificate = await agent.x509.createCertificate({
    authorityKey: root.publicJwk,
    subjectPublicKey: provider,
    issuer: root.subject,
    subject: { commonName: 'Wallet provider' },
    validity: validity(),
  })
  await call('PUT', `/key/${provider.keyId}/certificates`, { certificates: [certificate.toString('pem')] })
  const keys = [await publicKey(agent, P256), await publicKey(agent, P256)].map(({ keyId }) => keyId)
  const { holder } = agent.openid4vc

  /** Ask for credentials with an attestation of the keys. */
  async function request(claims: object) {
    const resolvedCredentialOffer = await holder.resolveCredentialOffer(await issuer.newOffer())
    const { accessToken } = await holder.requestToken({ resolvedCredentialOffer })
    return holder.requestCredentials({
      resolvedCredentialOffer,
      accessToken,
      credentialBindingResolver: async ({ cNonce: nonce }) => {
        const body = { kid: provider.keyId, keys, nonce, certificate_header: 'x5c', ...claims }
        const { jwt } = await call('POST', '/key-attestation', body)
        return { method: 'attestation', keyAttestationJwt: jwt }
      },
    })
  }

  issuer.trusted.push(await newRoot(agent))
  await expect(request({ key_storage: [LEVEL] })).rejects.toThrow('No trusted certificate')
  issuer.trusted.push(root)
  await expect(request({ key_storage: ['iso_18045_basic'] })).rejects.toThrow('Insufficient key_storage')
  await expect(request({ key_storage: [LEVEL], nonce: 'another' })).rejects.toThrow('nonce')
  const { credentials } = await request({ key_storage: [LEVEL] })
  const record = credentials[0]!.record
  if (!(record instanceof MdocRecord)) throw new Error('The credential is no mdoc.')
  expect(record.credentialInstances.map(({ kmsKeyId }) => kmsKeyId)).toEqual(keys)
  expect(record.firstCredential.deviceKey.getJwkThumbprint('sha-256')).toEqual(new Uint8Array(Buffer.from(keys[0]!, 'base64url')))
})
