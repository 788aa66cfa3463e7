import { createHash, verify, X509Certificate } from 'node:crypto'

import { CoseKey, DeviceKey, Issuer, type MdocContext, SignatureAlgorithm } from '@owf/mdoc'

import { Minikms } from '@minikms/client'
import { certificates, mdocSign } from '@minikms/client/mdoc'

const kms = new Minikms()

// The IACA and its certificate, and a document signer with a certificate of the IACA.
const iaca = await kms.generateKey('p384')
const root = await kms.issueCertificate('iaca', 3650, iaca, {
  subject: 'CN=Example IACA,C=DE',
  issuer_alternative_names: ['URI:https://iaca.example'],
  crl: 'https://iaca.example/crl',
})
await kms.setCertificates([root], iaca)
const { kid } = await kms.generateKey('p256', { alias: 'mdl-signer', rules: { raw: false, algs: ['ES256'], per_day: 10000 } })
const certificate = await kms.issueCertificate('document-signer', 90, iaca, { key: kid, subject: 'CN=Example Signer,C=DE' })
await kms.setCertificates([certificate], { kid })

const signer = await kms.key('mdl-signer')
const context = {
  crypto: {
    random: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
    digest: ({ digestAlgorithm, bytes }: { digestAlgorithm: string; bytes: Uint8Array }) =>
      createHash(digestAlgorithm.replace('-', '')).update(bytes).digest(),
  },
  cose: { sign1: { sign: mdocSign(signer) } },
} as unknown as MdocContext

const device = await kms.generateKey('p256') // the wallet's
const signed = new Date(Math.floor(Date.now() / 1000) * 1000)
const mdoc = await new Issuer('org.iso.18013.5.1.mDL', context)
  .addIssuerNamespace('org.iso.18013.5.1', { family_name: 'Mustermann', issuing_country: 'DE' })
  .sign({
    signingKey: CoseKey.fromJwk(signer.publicJwk),
    algorithm: SignatureAlgorithm.ES256,
    digestAlgorithm: 'SHA-256',
    validityInfo: { signed, validFrom: signed, validUntil: new Date(signed.getTime() + 30 * 86_400_000) },
    deviceKeyInfo: { deviceKey: DeviceKey.fromJwk(device.jwk!) },
    certificates: await certificates(signer),
  })

// The signature of the MSO, verified by Node with the certificate in it, which is of the IACA.
const { issuerAuth } = mdoc
const leaf = new X509Certificate(issuerAuth.certificate)
const isValid = verify('sha256', issuerAuth.toBeSigned, { key: leaf.publicKey, dsaEncoding: 'ieee-p1363' }, issuerAuth.signature)
console.log(isValid, leaf.verify(new X509Certificate(root).publicKey)) // true true
