import { createHash, createPublicKey, randomBytes, verify, X509Certificate } from 'node:crypto'

import type { MdocContext } from '@animo-id/mdoc'

type Sign1 = Parameters<MdocContext['cose']['sign1']['verify']>[0]

const HASHES: Record<string, string> = { ES256: 'sha256', ES384: 'sha384', ES512: 'sha512' }

/** The cryptography of a verifier of mdocs that has no key: the OpenSSL of Node.js, and nothing of Mini KMS. */
export const openssl: MdocContext = {
  crypto: {
    random: (length) => randomBytes(length),
    digest: ({ digestAlgorithm, bytes }) => createHash(digestAlgorithm).update(bytes).digest(),
    calculateEphemeralMacKeyJwk: refuse,
  },
  cose: {
    sign1: { sign: refuse, verify: verifySign1 },
    mac0: { sign: refuse, verify: refuse },
  },
  x509: {
    getIssuerNameField: ({ certificate, field }) =>
      new X509Certificate(certificate).issuer
        .split('\n')
        .filter((line) => line.startsWith(`${field}=`))
        .map((line) => line.slice(field.length + 1)),
    getPublicKey: ({ certificate }) => new X509Certificate(certificate).publicKey.export({ format: 'jwk' }) as any,
    validateCertificateChain: ({ trustedCertificates, x5chain }) => {
      const chain = x5chain.map((certificate) => new X509Certificate(certificate))
      const trusted = trustedCertificates.map((certificate) => new X509Certificate(certificate))
      const isIssued = chain.every((certificate, at) => {
        const issuers = at + 1 < chain.length ? [chain[at + 1]!] : trusted
        return issuers.some((issuer) => issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))
      })
      if (!isIssued) throw new Error('The chain does not lead to a trusted certificate.')
    },
    getCertificateData: ({ certificate }) => {
      const found = new X509Certificate(certificate)
      return {
        issuerName: found.issuer,
        subjectName: found.subject,
        serialNumber: found.serialNumber,
        thumbprint: found.fingerprint256,
        notBefore: new Date(found.validFrom),
        notAfter: new Date(found.validTo),
        pem: found.toString(),
      }
    },
  },
}

function verifySign1({ sign1, jwk, options }: Sign1): boolean {
  const { data, signature } = sign1.getRawVerificationData(options)
  const key = createPublicKey({ key: jwk as any, format: 'jwk' })
  return verify(HASHES[sign1.algName!], data, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

function refuse(): never {
  throw new Error('A verifier needs no key of its own.')
}
