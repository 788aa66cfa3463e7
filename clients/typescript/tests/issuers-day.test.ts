// A day of a PID issuer, from its root to the revocation of a key, as a script. Two libraries judge each thing that it makes.
import 'reflect-metadata'

import { execFile } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { Verifier } from '@auth0/mdl'
import { verifySDJWT } from '@meeco/sd-jwt'
import {
  CoseKey,
  DeviceKey,
  DeviceRequest,
  DocRequest,
  Holder,
  Issuer,
  type IssuerSigned,
  ItemsRequest,
  SessionTranscript,
  SignatureAlgorithm,
} from '@owf/mdoc'
import * as x509 from '@peculiar/x509'
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import { compactVerify } from 'jose'
import { afterAll, expect, test } from 'vitest'

import type { RemoteKey } from '@minikms/client'
import { certificates, mdocSign } from '@minikms/client/mdoc'
import { hasher, sdJwtIssuer } from '@minikms/client/sd-jwt'

import { HOUR, inSeconds, kms, newKey } from './kms.js'

const openssl = async (...args: string[]) => promisify(execFile)('openssl', args, { cwd: await folder })
const folder = mkdtemp(join(tmpdir(), 'issuer-'))
afterAll(async () => rm(await folder, { recursive: true }))

const PID = 'eu.europa.ec.eudi.pid.1'
const CLAIMS = { family_name: 'Mustermann', given_name: 'Erika', birth_date: '1964-08-12' }
const URIS = { crl: 'http://pki.example.com/iaca.crl', issuer_url: 'http://pki.example.com/iaca.cer' }

const utopia = (name: string) => `CN=Utopia ${name},O=Utopia,organizationIdentifier=VATUT-123456789,C=UT`
const pem = (der: Uint8Array) => new X509Certificate(der).toString()
const serial = (text: string) => new X509Certificate(text).serialNumber.toLowerCase()

/** A document signer under its IACA: the key, and its certificate. */
async function documentSigner(iaca: RemoteKey, name: string) {
  const signer = await newKey('p256', { rules: { raw: false } })
  const subject = { key: signer.kid, subject: utopia(name) }
  const certificate = await kms.issueCertificate('document-signer', 90, { kid: iaca.kid }, subject)
  await kms.setCertificates([certificate], { kid: signer.kid })
  return { signer, certificate }
}

/** The context of @owf/mdoc: Node.js verifies. */
function context(sign: ReturnType<typeof mdocSign>): any {
  const keyOf = (certificate: Uint8Array) => new X509Certificate(certificate).publicKey.export({ format: 'jwk' })
  return {
    crypto: {
      random: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
      digest: ({ digestAlgorithm, bytes }: { digestAlgorithm: string; bytes: Uint8Array }) =>
        new Uint8Array(createHash(digestAlgorithm.replace('-', '')).update(bytes).digest()),
    },
    cose: {
      sign1: {
        sign,
        verify: async ({ key, sign1 }: any) => {
          const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
          const { kty, crv, x, y } = key.jwk
          const imported = await crypto.subtle.importKey('jwk', { kty, crv, x, y }, algorithm, false, ['verify'])
          return crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, imported, sign1.signature, sign1.toBeSigned)
        },
      },
    },
    x509: {
      getIssuerNameField: ({ certificate, field }: any) => new x509.X509Certificate(certificate).issuerName.getField(field),
      getPublicKey: ({ certificate }: any) => CoseKey.fromJwk(keyOf(certificate) as any),
      getCertificateData: ({ certificate }: any) => {
        const { issuer, subject, serialNumber, notBefore, notAfter } = new x509.X509Certificate(certificate)
        return { issuerName: issuer, subjectName: subject, serialNumber, notBefore, notAfter, thumbprint: '', pem: '' }
      },
      verifyCertificateChain: ({ trustedCertificates: [root], x5chain: [own] }: any) => {
        if (!new X509Certificate(own).verify(new X509Certificate(root).publicKey)) throw new Error('not of the root')
      },
    },
  }
}

async function issueMdoc(signer: RemoteKey, device: RemoteKey) {
  const signed = new Date(Math.floor(Date.now() / 1000) * 1000)
  return new Issuer(PID, context(mdocSign(signer))).addIssuerNamespace(PID, CLAIMS).sign({
    signingKey: CoseKey.fromJwk(signer.publicJwk),
    algorithm: SignatureAlgorithm.ES256,
    digestAlgorithm: 'SHA-256',
    validityInfo: { signed, validFrom: signed, validUntil: new Date(signed.getTime() + 14 * 86_400_000) },
    deviceKeyInfo: { deviceKey: DeviceKey.fromJwk(device.publicJwk) },
    certificates: await certificates(signer),
  })
}

/** The claims that @auth0/mdl reads from the presentation of an mdoc, which @owf/mdoc has verified, too. */
async function verifiedMdoc(issuerSigned: IssuerSigned, device: RemoteKey, root: string) {
  const own = context(mdocSign(kms))
  const trusted = new Uint8Array(new X509Certificate(root).raw)
  await Holder.verifyIssuerSigned({ issuerSigned, trustedCertificates: [trusted] }, own)
  const session = { clientId: 'verifier.example', nonce: 'n', responseUri: 'https://verifier.example/response' }
  const sessionTranscript = await SessionTranscript.forOid4Vp(session, own)
  const asked = ItemsRequest.create({ docType: PID, namespaces: { [PID]: { family_name: true } } })
  const response = await Holder.createDeviceResponseForDeviceRequest(
    {
      deviceRequest: DeviceRequest.create({ docRequests: [DocRequest.create({ itemsRequest: asked })] }),
      issuerSigned: [issuerSigned],
      sessionTranscript,
      signature: { signingKey: CoseKey.fromJwk({ ...device.publicJwk, alg: 'ES256' }) },
    } as any,
    own
  )
  const { documents } = await new Verifier([root]).verify(response.encode(), {
    encodedSessionTranscript: sessionTranscript.encode({ asDataItem: true }),
  })
  return documents[0]!.getIssuerNameSpace(PID)
}

/** Whether @peculiar/x509 and OpenSSL find a certificate revoked by a list; both have to say the same. */
async function isRevoked(certificate: string, crl: string, root: string) {
  const list = new x509.X509Crl(crl)
  expect(await list.verify({ publicKey: new x509.X509Certificate(root).publicKey }, crypto)).toBe(true)
  const files = { root, crl, certificate }
  for (const [name, text] of Object.entries(files)) await writeFile(join(await folder, name), text)
  const check = openssl('verify', '-x509_strict', '-crl_check', '-CRLfile', 'crl', '-CAfile', 'root', 'certificate')
  const found = await check.then(
    () => false,
    (error) => {
      expect(error.stderr).toContain('certificate revoked')
      return true
    }
  )
  expect(list.findRevoked(serial(certificate)) !== null).toBe(found)
  return found
}

test('an issuer makes its keys, issues PIDs in both formats, and revokes a document signer', async () => {
  // In the morning: the IACA, a document signer for mdocs, and a key for SD-JWT VCs with rules.
  const iaca = await newKey('p384', { rules: { raw: false } })
  const root = await kms.issueCertificate(
    'iaca',
    3650,
    { kid: iaca.kid },
    { subject: utopia('IACA'), issuer_alternative_names: ['URI:https://iaca.example.com'], crl: URIS.crl }
  )
  await kms.setCertificates([root], { kid: iaca.kid })
  const old = await documentSigner(iaca, 'Document Signer 1')
  const iss = 'https://pid.example.com'
  const jws = { typ: ['dc+sd-jwt'], claims: { iss: [iss], vct: ['urn:eudi:pid:1'] }, disclosures: 'shown' as const }
  const provider = await newKey('p256', { rules: { jws } })
  const provided = await kms.issueCertificate(
    'pid-provider',
    365,
    { kid: iaca.kid },
    { ...URIS, key: provider.kid, subject: utopia('PID Provider'), policies: ['0.4.0.2042.1.2'] }
  )
  await kms.setCertificates([provided], { kid: provider.kid })
  const first = await kms.makeCrl(1, 7, [], { kid: iaca.kid })
  for (const certificate of [old.certificate, provided]) expect(await isRevoked(certificate, first, root)).toBe(false)

  // A wallet gets its PID as SD-JWT VC. Both verifiers trust the key in the certificate, which the IACA has signed.
  const wallet = await newKey('p256')
  const x5c = (await certificates(provider)).map((der) => Buffer.from(der).toString('base64'))
  const credential = await new SDJwtVcInstance(sdJwtIssuer(provider)).issue(
    { iss, vct: 'urn:eudi:pid:1', exp: inSeconds(HOUR), cnf: { jwk: wallet.publicJwk }, ...CLAIMS },
    { _sd: ['family_name', 'given_name', 'birth_date'] },
    { header: { x5c } }
  )
  const header = JSON.parse(Buffer.from(credential.split('.')[0]!, 'base64url').toString())
  const leaf = new X509Certificate(Buffer.from(header.x5c[0], 'base64'))
  expect(leaf.verify(new X509Certificate(root).publicKey)).toBe(true)
  const byJose = async (data: string, sig: string) => !!(await compactVerify(`${data}.${sig}`, leaf.publicKey))
  const verified = await new SDJwtVcInstance({ hasher, verifier: byJose }).verify(credential)
  expect(verified.payload).toMatchObject(CLAIMS)
  const byMeeco = await verifySDJWT(
    credential,
    async (jwt) => !!(await compactVerify(jwt, leaf.publicKey)),
    async () => (data) => createHash('sha256').update(data).digest('base64url')
  )
  expect(byMeeco).toMatchObject(CLAIMS)

  // And as mdoc.
  const mdoc = await issueMdoc(old.signer, wallet)
  expect(await verifiedMdoc(mdoc, wallet, root)).toEqual({ family_name: 'Mustermann' })

  // At noon the document signer is revoked: it signs no more, and the next one takes over.
  const next = await documentSigner(iaca, 'Document Signer 2')
  await kms.updateKey({ kid: old.signer.kid }, { state: 'disabled' })
  const revoked = [{ serial: serial(old.certificate), date: new Date().toISOString() }]
  const second = await kms.makeCrl(2, 7, revoked, { kid: iaca.kid })
  expect(await isRevoked(old.certificate, second, root)).toBe(true)
  for (const certificate of [next.certificate, provided]) expect(await isRevoked(certificate, second, root)).toBe(false)
  await expect(issueMdoc(old.signer, wallet)).rejects.toThrow()

  // In the evening: PIDs of the next signer, whose certificate is in the mdoc, are good.
  const later = await issueMdoc(next.signer, wallet)
  expect(await verifiedMdoc(later, wallet, root)).toEqual({ family_name: 'Mustermann' })
  expect(await isRevoked(pem(later.issuerAuth.certificate), second, root)).toBe(false)
  expect(await isRevoked(pem(mdoc.issuerAuth.certificate), second, root)).toBe(true)
})
