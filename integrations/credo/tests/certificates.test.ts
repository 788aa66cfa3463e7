import { X509Certificate as NodeCertificate } from 'node:crypto'

import { type X509Certificate, X509ExtendedKeyUsage, X509KeyUsage } from '@credo-ts/core'
import { expect, it } from 'vitest'

import { newAgent, publicKey, validity } from './agent.js'

// Credo 0.6.3 issues certificates by these keys alone, with any backend: it asks for SHA-256 on all other curves.
it.each([
  { kty: 'EC', crv: 'P-256' },
  { kty: 'EC', crv: 'secp256k1' },
  { kty: 'OKP', crv: 'Ed25519' },
] as const)('agent.x509 issues certificates that OpenSSL verifies and Mini KMS takes, $crv', async (type) => {
  const { agent, call } = await newAgent('ca')
  const authority = await publicKey(agent, type)
  const server = await publicKey(agent, type)
  const root = await agent.x509.createCertificate({
    authorityKey: authority,
    issuer: { commonName: 'CA', countryName: 'DE' },
    validity: validity(),
    extensions: {
      subjectKeyIdentifier: { include: true },
      basicConstraints: { ca: true, markAsCritical: true },
      keyUsage: { usages: [X509KeyUsage.KeyCertSign], markAsCritical: true },
    },
  })
  const leaf = await agent.x509.createCertificate({
    authorityKey: authority,
    subjectPublicKey: server,
    issuer: root.subject,
    subject: { commonName: 'server' },
    validity: validity(),
    extensions: {
      authorityKeyIdentifier: { include: true },
      subjectAlternativeName: { name: [{ type: 'dns', value: 'server.example' }] },
      extendedKeyUsage: { usages: [X509ExtendedKeyUsage.ServerAuth] },
    },
  })
  const [ofRoot, ofLeaf] = [root, leaf].map((certificate) => new NodeCertificate(certificate.rawCertificate))
  expect(ofRoot!.verify(ofRoot!.publicKey)).toBe(true)
  expect(ofLeaf!.verify(ofRoot!.publicKey) && ofLeaf!.checkIssued(ofRoot!)).toBe(true)
  const chain = [leaf, root].map(base64)
  const trustedCertificates = [base64(root)]
  expect(await agent.x509.validateCertificateChain({ certificateChain: chain, trustedCertificates })).toHaveLength(2)
  const key = await call('PUT', `/key/${server.keyId}/certificates`, { certificates: [leaf, root].map(pem) })
  expect(key.certificates).toEqual(chain)
})

it.each(['P-256', 'P-384', 'P-521'] as const)('Mini KMS issues a certificate on a request of agent.x509, %s', async (crv) => {
  const { agent, call } = await newAgent('server')
  const server = await publicKey(agent, { kty: 'EC', crv })
  const request = await agent.x509.createCertificateSigningRequest({
    subjectPublicKey: server,
    subject: { commonName: 'client' },
  })
  const authority = await publicKey(agent, { kty: 'EC', crv })
  const named = { kid: authority.keyId, days: 1 }
  const ofRoot = { ...named, days: 2, profile: 'self-signed', subject: 'CN=CA' } // ends after the client's, made later
  const { certificate: root } = await call('POST', '/certificate', ofRoot)
  await call('PUT', `/key/${authority.keyId}/certificates`, { certificates: [root] })
  const { certificate } = await call('POST', '/certificate', { ...named, profile: 'client', csr: pem(request) })
  const found = await agent.x509.validateCertificateChain({ certificateChain: [certificate], trustedCertificates: [root] })
  expect(found.map(({ subject }) => subject)).toEqual(['CN=CA', 'CN=client'])
  const other = await call('POST', '/certificate', { kid: server.keyId, days: 1, profile: 'self-signed', subject: 'CN=CA' })
  const untrusted = { certificateChain: [certificate], trustedCertificates: [other.certificate] }
  const refused = agent.x509.validateCertificateChain(untrusted)
  await expect(refused).rejects.toThrow('trusted')
})

const base64 = (certificate: X509Certificate) => certificate.toString('base64')
const pem = (encoded: { toString(format: 'pem'): string }) => encoded.toString('pem')
