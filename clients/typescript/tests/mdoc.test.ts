import { X509Certificate, createHash } from 'node:crypto'

import * as animo from '@animo-id/mdoc'
import { Verifier } from '@auth0/mdl'
import {
  CoseKey,
  DeviceKey,
  DeviceRequest,
  DocRequest,
  Holder,
  Issuer,
  ItemsRequest,
  SessionTranscript,
  SignatureAlgorithm,
} from '@owf/mdoc'
import { expect, test } from 'vitest'

import type { RemoteKey } from '@minikms/client'
import { certificates, mdocSign } from '@minikms/client/mdoc'

import { kms, newKey, refusal } from './kms.js'

const DOC_TYPE = 'org.iso.18013.5.1.mDL'
const NAMESPACE = 'org.iso.18013.5.1'
const CLAIMS = { family_name: 'Doe', given_name: 'Alice', issuing_country: 'DE' }

/** The context of @owf/mdoc; what only verifiers need is left out. */
function context(sign: ReturnType<typeof mdocSign>): any {
  return {
    crypto: {
      random: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
      digest: ({ digestAlgorithm, bytes }: { digestAlgorithm: string; bytes: Uint8Array }) =>
        new Uint8Array(createHash(digestAlgorithm.replace('-', '')).update(bytes).digest()),
    },
    cose: { sign1: { sign } },
    x509: { getIssuerNameField: () => ['DE'] },
  }
}

/** A document signer with its certificate, and the certificate of its IACA. */
async function documentSigner(rules?: Parameters<typeof kms.generateKey>[1]) {
  const iaca = await newKey('p384')
  const root = await kms.issueCertificate(
    'iaca',
    3650,
    { kid: iaca.kid },
    {
      subject: 'CN=Example IACA,ST=DE-BE,C=DE',
      issuer_alternative_names: ['URI:https://iaca.example'],
      crl: 'https://iaca.example/crl',
    }
  )
  await kms.setCertificates([root], { kid: iaca.kid })
  const signer = await newKey('p256', rules)
  const pem = await kms.issueCertificate(
    'document-signer',
    90,
    { kid: iaca.kid },
    {
      key: signer.kid,
      subject: 'CN=Example Signer,ST=DE-BE,C=DE',
    }
  )
  await kms.setCertificates([pem, root], { kid: signer.kid })
  return { signer, root }
}

async function issue(signer: RemoteKey, device: RemoteKey, sign = mdocSign(signer)) {
  const now = new Date(Math.floor(Date.now() / 1000) * 1000)
  return new Issuer(DOC_TYPE, context(sign)).addIssuerNamespace(NAMESPACE, CLAIMS).sign({
    signingKey: CoseKey.fromJwk(signer.publicJwk),
    algorithm: SignatureAlgorithm.ES256,
    digestAlgorithm: 'SHA-256',
    validityInfo: { signed: now, validFrom: now, validUntil: new Date(now.getTime() + 30 * 86_400_000) },
    deviceKeyInfo: { deviceKey: DeviceKey.fromJwk(device.publicJwk) },
    certificates: (await certificates(signer)).slice(0, 1),
  })
}

test('an mDL of an IACA and a document signer with rules is presented, and @auth0/mdl verifies it', async () => {
  const { signer, root } = await documentSigner({ rules: { raw: false, algs: ['ES256'], per_day: 10 } })
  const device = await newKey('p256')
  const issuerSigned = await issue(signer, device)
  const sessionTranscript = await SessionTranscript.forOid4Vp(
    { clientId: 'verifier.example', nonce: 'n', responseUri: 'https://verifier.example/response' },
    context(mdocSign(kms))
  )
  const deviceRequest = DeviceRequest.create({
    docRequests: [
      DocRequest.create({
        itemsRequest: ItemsRequest.create({ docType: DOC_TYPE, namespaces: { [NAMESPACE]: { given_name: true } } }),
      }),
    ],
  })
  const response = await Holder.createDeviceResponseForDeviceRequest(
    {
      deviceRequest,
      issuerSigned: [issuerSigned],
      sessionTranscript,
      signature: { signingKey: CoseKey.fromJwk({ ...device.publicJwk, alg: 'ES256' }) },
    } as any,
    context(mdocSign(kms))
  )
  const { documents } = await new Verifier([root]).verify(response.encode(), {
    encodedSessionTranscript: sessionTranscript.encode({ asDataItem: true }),
  })
  expect(documents[0]!.getIssuerNameSpace(NAMESPACE)).toEqual({ given_name: 'Alice' })
})

test.each(['key', 'client'])('@animo-id/mdoc issues and presents an mDL by a %s, and @auth0/mdl verifies it', async (by) => {
  const { signer, root } = await documentSigner({ rules: { raw: false, algs: ['ES256'], per_day: 10 } })
  const device = await newKey('p256')
  const signed = new Date(Math.floor(Date.now() / 1000) * 1000)
  const issuing = context(mdocSign(by === 'key' ? signer : kms))
  const mdl = await new animo.Document(DOC_TYPE, issuing)
    .addIssuerNameSpace(NAMESPACE, CLAIMS)
    .addValidityInfo({ signed })
    .addDeviceKeyInfo({ deviceKey: device.publicJwk })
    .sign({ issuerPrivateKey: signer.publicJwk, issuerCertificate: (await certificates(signer))[0]!, alg: 'ES256' }, issuing)
  const encodedSessionTranscript = new Uint8Array([0xd8, 0x18, 0x44, 0x83, 0xf6, 0xf6, 0xf6])
  const response = await animo.DeviceResponse.from(new animo.MDoc([mdl]))
    .usingPresentationDefinition({
      id: 'mdl',
      input_descriptors: [
        {
          id: DOC_TYPE,
          format: { mso_mdoc: { alg: ['ES256'] } },
          constraints: {
            limit_disclosure: 'required',
            fields: [{ path: [`$['${NAMESPACE}']['given_name']`], intent_to_retain: false }],
          },
        },
      ],
    })
    .usingSessionTranscriptBytes(encodedSessionTranscript)
    .authenticateWithSignature(device.publicJwk, 'ES256')
    .sign(context(mdocSign(by === 'key' ? device : kms)))
  const { documents } = await new Verifier([root]).verify(response.encode(), { encodedSessionTranscript })
  expect(documents[0]!.getIssuerNameSpace(NAMESPACE)).toEqual({ given_name: 'Alice' })
})

test('a document signer whose rules do not allow COSE, or this alg, signs no MSO', async () => {
  const device = await newKey('p256')
  for (const [rules, rule] of [
    [{ raw: false, cose: false }, 'cose'],
    [{ jws: { typ: ['JWT'] }, cose: true }, 'jws.typ'],
  ] as const) {
    const { signer } = await documentSigner()
    await kms.updateKey({ kid: signer.kid }, { rules: rules as object })
    expect(await refusal(issue(signer, device))).toMatch(new RegExp(`^rule-violated: .*${rule}`))
  }
})

test('certificates are those of the key, its own first', async () => {
  const { signer, root } = await documentSigner()
  const [own, issuer] = (await certificates(signer)).map((der) => new X509Certificate(der))
  expect(own!.subject).toContain('Example Signer')
  expect(own!.checkIssued(issuer!)).toBe(true)
  expect(issuer!.toString()).toBe(new X509Certificate(root).toString())
  expect(await certificates(await newKey('p256'))).toEqual([])
})
