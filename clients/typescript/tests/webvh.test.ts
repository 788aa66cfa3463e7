import { createHash, verify } from 'node:crypto'

import {
  createDID,
  deriveNextKeyHash,
  multibaseDecode,
  prepareDataForSigning,
  resolveDIDFromLog,
  signWitnessProofEntry,
  updateDID,
} from 'didwebvh-ts'
import { expect, test } from 'vitest'

import { isProblem, TooEarly } from '@minikms/client'
import { eddsaJcs2022Input, nextKeyHash, rotateWebvh, webvhEntry, webvhSigner, webvhVerifier } from '@minikms/client/webvh'

import { kms, newKey } from './kms.js'

/** A verifier by Node. */
const verifier = {
  verify: async (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => {
    const key = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey).toString('base64url') }
    return verify(null, message, { key, format: 'jwk' }, signature)
  },
}

test.each([
  ['Node', verifier],
  ['the service', webvhVerifier(kms)],
])('a log with pre-rotation is made, changed by the next key, and verified by %s', async (_, verifier) => {
  const alias = `did:webvh:${crypto.randomUUID()}#update`
  const first = await newKey('ed25519', { alias })
  const second = await newKey('ed25519')
  const third = await newKey('ed25519')
  const { log } = await createDID({
    address: 'https://example.com',
    signer: webvhSigner(first),
    verifier,
    updateKeys: [first.multikey!],
    nextKeyHashes: [await nextKeyHash(second)],
    verificationMethods: [{ type: 'Multikey', publicKeyMultibase: first.multikey!, purpose: 'assertionMethod' }],
  })
  await kms.associateAlias(alias, { kid: second.kid })
  const changed = await updateDID({
    log,
    signer: webvhSigner(await kms.key(alias)),
    verifier,
    updateKeys: [second.multikey!],
    nextKeyHashes: [await nextKeyHash(third)],
  })
  const { meta } = await resolveDIDFromLog(changed.log, { verifier })
  expect(meta).toMatchObject({ updateKeys: [second.multikey], nextKeyHashes: [await nextKeyHash(third)], prerotation: true })
  expect(meta.error).toBeUndefined()
  const forged = structuredClone(changed.log)
  forged[1]!.proof![0]!.proofValue = forged[0]!.proof![0]!.proofValue
  await expect(resolveDIDFromLog(forged, { verifier })).rejects.toThrow('failed verification')
})

test('each rotation is to the key that the log has announced', async () => {
  const alias = `did:webvh:${crypto.randomUUID()}#update`
  const key = await newKey('ed25519', { alias })
  await expect(rotateWebvh(key)).rejects.toBeInstanceOf(TooEarly)
  const entry = await webvhEntry(key)
  expect(await webvhEntry(key)).toMatchObject({ updateKeys: entry.updateKeys, nextKeyHashes: entry.nextKeyHashes })
  let { log } = await createDID({
    ...entry,
    address: 'https://example.com',
    verifier,
    verificationMethods: [{ type: 'Multikey', publicKeyMultibase: key.multikey!, purpose: 'assertionMethod' }],
  })
  await expect(rotateWebvh(key, 3600)).rejects.toSatisfy((error) => isProblem(error, 'too-early'))
  const signers = [key.multikey]
  for (let rotations = 0; rotations < 3; rotations++) {
    const changed = await rotateWebvh(await kms.key(alias))
    const present = await kms.key(alias)
    expect(changed.updateKeys).toEqual([present.multikey])
    const { next } = await kms.getKey({ alias })
    expect(changed.nextKeyHashes).toEqual([await deriveNextKeyHash((await kms.getKey({ kid: next! })).multikey!)])
    // The entry was not published: its options are made again.
    ;({ log } = await updateDID({ ...(await webvhEntry(present)), log, verifier }))
    signers.push(present.multikey)
  }
  expect(new Set(signers).size).toBe(4)
  expect(log.map(({ parameters }) => parameters.updateKeys)).toEqual(signers.map((multikey) => [multikey]))
  expect(log.every(({ parameters }) => parameters.nextKeyHashes?.length === 1)).toBe(true)
  const { meta } = await resolveDIDFromLog(log, { verifier })
  expect(meta).toMatchObject({ updateKeys: [signers[3]], prerotation: true })
  expect(meta.error).toBeUndefined()
  // Another next key than the announced one is refused.
  const { next } = await kms.getKey({ alias })
  await kms.deleteKey({ kid: next! })
  await kms.nextKey({ kid: (await kms.key(alias)).kid })
  await expect(updateDID({ ...(await rotateWebvh(await kms.key(alias))), log, verifier })).rejects.toThrow()
})

test('a witness signs a version of a log', async () => {
  const witness = await newKey('ed25519')
  const { versionId, proof } = await signWitnessProofEntry({
    versionId: '1-QmVersion',
    witnesses: [{ id: witness.did! }],
    witnessSignersByDid: { [witness.did!]: webvhSigner(witness) },
  })
  const { proofValue, ...template } = proof[0]!
  const input = await eddsaJcs2022Input({ versionId }, JSON.parse(JSON.stringify(template)))
  const signature = multibaseDecode(proofValue).bytes
  const key = { kty: 'OKP', crv: 'Ed25519', x: witness.publicJwk.x! }
  expect(verify(null, input, { key, format: 'jwk' }, signature)).toBe(true)
})

test('a key that the log did not announce is refused', async () => {
  const [first, second, other] = [await newKey('ed25519'), await newKey('ed25519'), await newKey('ed25519')]
  const { log } = await createDID({
    address: 'https://example.com',
    signer: webvhSigner(first),
    verifier,
    updateKeys: [first.multikey!],
    nextKeyHashes: [await nextKeyHash(second)],
    verificationMethods: [{ type: 'Multikey', publicKeyMultibase: first.multikey!, purpose: 'assertionMethod' }],
  })
  await expect(
    updateDID({
      log,
      signer: webvhSigner(other),
      verifier,
      updateKeys: [other.multikey!],
      nextKeyHashes: [await nextKeyHash(second)],
    })
  ).rejects.toThrow()
})

test('the bytes to sign and the hash of a key are those of didwebvh-ts', async () => {
  const key = await newKey('ed25519')
  expect(await nextKeyHash(key)).toBe(await deriveNextKeyHash(key.multikey!))
  const document = { b: ['ä', { z: 1e21, a: null }], a: '\u2028', '\u{1f600}': 0.1, '\ufb33': true } as any
  const proof: any = { type: 'DataIntegrityProof', cryptosuite: 'eddsa-jcs-2022', created: '2026-01-01T00:00:00Z' }
  expect(await eddsaJcs2022Input(document, proof)).toEqual(new Uint8Array(await prepareDataForSigning(document, proof)))
  expect(await eddsaJcs2022Input({ ...document, c: undefined }, proof)).toEqual(await eddsaJcs2022Input(document, proof))
  const ofTheRfc = { peach: 'This sorting order', péché: 'is wrong', pêche: 'but', sin: 'X' }
  expect((await eddsaJcs2022Input(ofTheRfc, {})).subarray(32)).toEqual(
    new Uint8Array(
      createHash('sha256').update('{"peach":"This sorting order","péché":"is wrong","pêche":"but","sin":"X"}').digest()
    )
  )
})
