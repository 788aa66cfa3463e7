import { verify } from 'node:crypto'
import { writeFile } from 'node:fs/promises'

import { createDID, resolveDIDFromLog, updateDID } from 'didwebvh-ts'

import { Minikms, type RemoteKey } from '@minikms/client'
import { nextKeyHash, webvhSigner } from '@minikms/client/webvh'

const kms = new Minikms() // MINIKMS_URL, MINIKMS_TOKEN

const newKey = async (): Promise<RemoteKey> => kms.key({ kid: (await kms.generateKey('ed25519')).kid })

// Readers of the log verify its signatures by Node.js.
const verifier = {
  verify: async (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => {
    const key = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey).toString('base64url') }
    return verify(null, message, { key, format: 'jwk' }, signature)
  },
}

// The DID: the issuer's key signs credentials. `update` signs the log, which announces the hash of the next key.
await kms.generateKey('ed25519', { alias: 'issuer' })
const issuer = await kms.key('issuer')
const [first, second, third] = [await newKey(), await newKey(), await newKey()]
await kms.associateAlias('update', { kid: first.kid })
const created = await createDID({
  address: 'https://issuer.example',
  signer: webvhSigner(first),
  verifier,
  updateKeys: [first.multikey!],
  nextKeyHashes: [await nextKeyHash(second)],
  verificationMethods: [{ type: 'Multikey', publicKeyMultibase: issuer.multikey!, purpose: 'assertionMethod' }],
})
console.log(created.did)

// The log with one more version, which `key` signs, and which announces `next`.
const rotate = async (key: RemoteKey, next: RemoteKey) =>
  updateDID({
    log: created.log,
    signer: webvhSigner(key),
    verifier,
    updateKeys: [key.multikey!],
    nextKeyHashes: [await nextKeyHash(next)],
  })

// A thief of the first key cannot bring in a key of his own.
await rotate(await newKey(), third).then(
  () => console.log('A key that was not announced: taken'),
  (error) => console.log(`A key that was not announced: ${error.message}`)
)

// The announced key takes over, and the first one signs no more. `rotateKey` would make a key that the log has not announced.
const { log } = await rotate(second, third)
await kms.associateAlias('update', { kid: second.kid })
await kms.updateKey({ kid: first.kid }, { state: 'verify-only' })
await writeFile('did.jsonl', log.map((entry) => `${JSON.stringify(entry)}\n`).join(''))

const { meta, doc } = await resolveDIDFromLog(log, { verifier })
const [method] = doc.verificationMethod!
if (method.publicKeyMultibase !== issuer.multikey) throw new Error('another key is in the DID')
console.log(`Verified by Node: version ${meta.versionId.split('-')[0]} of did.jsonl, signed by the announced key.`)
