import { DataIntegrityProof } from '@digitalbazaar/data-integrity'
import * as EcdsaMultikey from '@digitalbazaar/ecdsa-multikey'
import { cryptosuite as ecdsa } from '@digitalbazaar/ecdsa-rdfc-2019-cryptosuite'
import { cryptosuite as eddsa } from '@digitalbazaar/eddsa-rdfc-2022-cryptosuite'
import multikey from '@digitalbazaar/multikey-context'
import * as vc from '@digitalbazaar/vc'
import { expect, test } from 'vitest'

import { InvalidSetting } from '@minikms/client'
import { dataIntegritySigner, multikeyDocument } from '@minikms/client/data-integrity'

import { kms, newKey } from './kms.js'

const CONTEXT = 'https://www.w3.org/ns/credentials/v2'

test.each([
  ['ed25519', eddsa],
  ['p256', ecdsa],
  ['p384', ecdsa],
])('a credential that a %s key signs is verified', async (alg, cryptosuite) => {
  const key = await newKey(alg)
  const id = `${key.did}#${key.multikey}`
  const controller = {
    '@context': 'https://w3id.org/security/v2',
    id: key.did,
    verificationMethod: [multikeyDocument(key)],
    assertionMethod: [id],
  }
  const documentLoader = async (url: string) => {
    const document = { [id]: multikeyDocument(key), [key.did!]: controller, ...Object.fromEntries(multikey.contexts) }[url]
    return document ? { document, documentUrl: url } : vc.defaultDocumentLoader(url)
  }
  const credential = {
    '@context': [CONTEXT],
    type: ['VerifiableCredential'],
    issuer: key.did,
    credentialSubject: { id: 'urn:uuid:6d6bd2c2-7d1c-4d2c-8e3a-2f4f7e0b4b5a' },
  }
  const suite = new DataIntegrityProof({ signer: dataIntegritySigner(key), cryptosuite })
  const signed = await vc.issue({ credential, suite, documentLoader })
  const verifying = new DataIntegrityProof({ cryptosuite })
  const verified = await vc.verifyCredential({ credential: signed, suite: verifying, documentLoader })
  expect(verified.error).toBeUndefined()
  expect(verified.verified).toBe(true)
  const changed = { ...signed, credentialSubject: { id: 'urn:uuid:00000000-0000-4000-8000-000000000000' } }
  expect((await vc.verifyCredential({ credential: changed, suite: verifying, documentLoader })).verified).toBe(false)
})

test('the document of a Multikey is read by the library of Digital Bazaar', async () => {
  const key = await newKey('p256')
  const read = await EcdsaMultikey.from(
    multikeyDocument(key, { id: 'https://example.com/#k', controller: 'https://example.com/' })
  )
  expect(await read.verifier().verify({ data: new Uint8Array([1]), signature: await key.sign(new Uint8Array([1])) })).toBe(true)
})

test('a key without a Multikey or did:key needs an id, and has no document', async () => {
  const key = await newKey('rsa2048')
  const plain = await kms.key({ kid: key.kid }, { jwk: key.publicJwk })
  expect(() => multikeyDocument(plain, { id: 'https://example.com/#k' })).toThrow(InvalidSetting)
  expect(() => dataIntegritySigner(plain)).toThrow(InvalidSetting)
  expect(dataIntegritySigner(plain, { id: 'https://example.com/#k' })).toMatchObject({ algorithm: 'RSA' })
})
