import { createDID, resolveDIDFromLog, updateDID } from 'didwebvh-ts'

import { Minikms } from '@minikms/client'
import { nextKeyHash, webvhSigner, webvhVerifier } from '@minikms/client/webvh'

const kms = new Minikms()
const verifier = webvhVerifier(kms)
const alias = 'issuer-update'

// The log announces the next key by its hash, so make the next key first.
const { kid: first } = await kms.generateKey('ed25519', { alias })
const { kid: second } = await kms.generateKey('ed25519')
const key = await kms.key({ kid: first })
const { log } = await createDID({
  address: 'https://issuer.example',
  signer: webvhSigner(key),
  verifier,
  updateKeys: [key.multikey!],
  nextKeyHashes: [await nextKeyHash(await kms.key({ kid: second }))],
  verificationMethods: [{ type: 'Multikey', publicKeyMultibase: key.multikey!, purpose: 'assertionMethod' }],
})

// To rotate: make the key after the next one, give the alias to the next one, and sign by it. `rotateKey` would make a key that
// the log has not announced.
const { kid: third } = await kms.generateKey('ed25519')
await kms.associateAlias(alias, { kid: second })
const next = await kms.key(alias)
const updated = await updateDID({
  log,
  signer: webvhSigner(next),
  verifier,
  updateKeys: [next.multikey!],
  nextKeyHashes: [await nextKeyHash(await kms.key({ kid: third }))],
})
await kms.updateKey({ kid: first }, { state: 'verify-only' })

const { meta } = await resolveDIDFromLog(updated.log, { verifier })
console.log(meta.versionId.split('-')[0], meta.updateKeys[0] === next.multikey) // 2 true
