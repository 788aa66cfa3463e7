import { cborDecode, cborEncode, Verifier as AnimoVerifier } from '@animo-id/mdoc'
import { Verifier as Auth0Verifier } from '@auth0/mdl'
import { type Mdoc, MdocDeviceResponse, X509Certificate } from '@credo-ts/core'
import { expect, it } from 'vitest'

import { newAgent, publicKey, type TestAgent } from './agent.js'
import { openssl } from './openssl.js'

const DOC_TYPE = 'org.iso.18013.5.1.mDL'
const NAMESPACE = 'org.iso.18013.5.1'
const CLAIMS = { family_name: 'Doe', given_name: 'Alice', issuing_country: 'DE', issuing_jurisdiction: 'DE-BE' }

// SessionTranscriptBytes in CBOR: no engagement, no key of a reader, and null as the handover.
const sessionTranscriptBytes = new Uint8Array([0xd8, 0x18, 0x44, 0x83, 0xf6, 0xf6, 0xf6])
const sessionTranscriptOptions = { type: 'sesionTranscriptBytes' as const, sessionTranscriptBytes }

interface Response {
  deviceResponse: Uint8Array
  root: string
  agent: TestAgent
}

/** Verifiers, each of which throws an error if it does not trust a response, or returns the claims. */
const VERIFIERS: Record<string, (response: Response) => Promise<unknown>> = {
  async Credo({ deviceResponse, root, agent }) {
    const encoded = Buffer.from(deviceResponse).toString('base64url')
    const options = { deviceResponse: encoded, sessionTranscriptOptions, trustedCertificates: [root] }
    const [found] = await MdocDeviceResponse.fromBase64Url(encoded).verify(agent.context, options)
    return found?.issuerSignedNamespaces[NAMESPACE]
  },
  async '@animo-id/mdoc with OpenSSL'({ deviceResponse: encodedDeviceResponse, root }) {
    const trustedCertificates = [X509Certificate.fromEncodedCertificate(root).rawCertificate]
    const encodedSessionTranscript = sessionTranscriptBytes
    const input = { encodedDeviceResponse, encodedSessionTranscript, trustedCertificates }
    const { documents } = await new AnimoVerifier().verifyDeviceResponse(input, openssl)
    return Object.fromEntries(documents[0]!.getIssuerNameSpace(NAMESPACE)!)
  },
  async '@auth0/mdl'({ deviceResponse, root }) {
    const options = { encodedSessionTranscript: sessionTranscriptBytes }
    const { documents } = await new Auth0Verifier([root]).verify(deviceResponse, options)
    return documents[0]!.getIssuerNameSpace(NAMESPACE)
  },
}

/** A self-signed certificate of an IACA, for a new key. */
async function newIaca({ call }: Awaited<ReturnType<typeof newAgent>>, alg: string) {
  const { kid } = await call('POST', '/key/generate', { alg })
  const { certificate } = await call('POST', '/certificate', {
    kid,
    profile: 'iaca',
    subject: 'CN=Example IACA,ST=DE-BE,C=DE',
    days: 3650,
    issuer_alternative_names: ['URI:https://iaca.example'],
    crl: 'https://iaca.example/crl',
  })
  await call('PUT', `/key/${kid}/certificates`, { certificates: [certificate] })
  return { kid, certificate }
}

/** The IssuerSigned of an mdoc, in base64url, with an IssuerAuth by `/cose/sign` instead of its own. */
async function signedByCose({ call }: Awaited<ReturnType<typeof newAgent>>, mdoc: Mdoc, kid: string): Promise<string> {
  const issuerSigned = cborDecode(Buffer.from(mdoc.base64Url, 'base64url')) as Map<string, any>
  const payload = Buffer.from(issuerSigned.get('issuerAuth')[2]).toString('base64url')
  const form = { kid_header: 'none', certificate_header: 'x5chain', tagged: false }
  const { cose } = await call('POST', '/cose/sign', { kid, payload, ...form })
  issuerSigned.set('issuerAuth', cborDecode(Buffer.from(cose, 'base64url')))
  return Buffer.from(cborEncode(issuerSigned)).toString('base64url')
}

it.each([
  { alg: 'p256', type: { kty: 'EC', crv: 'P-256' } },
  { alg: 'p384', type: { kty: 'EC', crv: 'P-384' } },
  { alg: 'p521', type: { kty: 'EC', crv: 'P-521' } },
  { alg: 'p256', type: { kty: 'OKP', crv: 'Ed25519' } },
] as const)('verifiers trust an mDL of an IACA, $alg, and a document signer, $type.crv, in Mini KMS', async ({ alg, type }) => {
  const issuer = await newAgent('issuer')
  const holder = await newAgent('holder')
  const iaca = await newIaca(issuer, alg)
  const signer = await publicKey(issuer.agent, type)
  const { certificate } = await issuer.call('POST', '/certificate', {
    kid: iaca.kid,
    profile: 'document-signer',
    key: signer.keyId,
    subject: 'CN=Example Signer,ST=DE-BE,C=DE',
    days: 90,
  })
  const issuerCertificate = X509Certificate.fromEncodedCertificate(certificate)
  issuerCertificate.keyId = signer.keyId
  const device = await publicKey(holder.agent, { kty: 'EC', crv: 'P-256' })
  const signed = await issuer.agent.mdoc.sign({
    docType: DOC_TYPE,
    holderKey: device,
    issuerCertificate,
    namespaces: { [NAMESPACE]: CLAIMS },
  })
  await issuer.call('PUT', `/key/${signer.keyId}/certificates`, { certificates: [certificate] })
  const other = await newIaca(issuer, alg)
  for (const encoded of [signed.base64Url, await signedByCose(issuer, signed, signer.keyId)]) {
    const mdoc = holder.agent.mdoc.fromBase64Url(encoded)
    mdoc.deviceKeyId = device.keyId
    const deviceResponse = await MdocDeviceResponse.createDeviceResponse(holder.agent.context, {
      mdocs: [mdoc],
      documentRequests: [{ docType: DOC_TYPE, nameSpaces: { [NAMESPACE]: { given_name: false, issuing_country: false } } }],
      sessionTranscriptOptions,
    })
    for (const [name, verified] of Object.entries(VERIFIERS)) {
      const claims = await verified({ deviceResponse, root: iaca.certificate, agent: holder.agent })
      expect(claims, name).toEqual({ given_name: 'Alice', issuing_country: 'DE' })
      const refused = verified({ deviceResponse, root: other.certificate, agent: holder.agent })
      await expect(refused, name).rejects.toThrow()
    }
  }
})
