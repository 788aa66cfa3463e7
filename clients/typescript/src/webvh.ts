import { InvalidSetting } from './errors.js'
import type { Minikms } from './client.js'
import { sha256 } from './hashes.js'
import { RemoteKey } from './key.js'
import { encode } from './bytes.js'
import { base58 } from './public.js'

/** A signer of did:webvh logs for `didwebvh-ts`, by an Ed25519 key (eddsa-jcs-2022). */
export function webvhSigner(key: RemoteKey) {
  const { multikey } = key
  if (!multikey) throw new InvalidSetting('The key has no Multikey.')
  return {
    getVerificationMethodId: () => `did:key:${multikey}#${multikey}`,
    sign: async ({ document, proof }: { document: unknown; proof: object }): Promise<{ proofValue: string }> => ({
      proofValue: `z${base58(await key.sign(await eddsaJcs2022Input(document, proof)))}`,
    }),
  }
}

/** A verifier of Ed25519 signatures for `didwebvh-ts`; the service verifies. */
export function webvhVerifier(kms: Minikms) {
  return {
    verify: (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): Promise<boolean> =>
      kms.verify(message, signature, { jwk: { kty: 'OKP', crv: 'Ed25519', x: encode(publicKey) } }),
  }
}

/** The entry for a key in the parameter `nextKeyHashes` of a log (did:webvh 1.0, pre-rotation). */
export async function nextKeyHash(key: Pick<RemoteKey, 'multikey'>): Promise<string> {
  const digest = await sha256(key.multikey!)
  return base58(Uint8Array.of(0x12, digest.length, ...digest))
}

/**
 * Options of a log entry by a key, for `createDID` and `updateDID`. The entry announces the next key, which is made if needed.
 *
 * @throws The errors of `nextKey`, and InvalidSetting for a key without a Multikey.
 */
export async function webvhEntry(key: RemoteKey) {
  const signer = webvhSigner(key)
  const next = await key.kms.nextKey({ kid: key.kid })
  return { signer, updateKeys: [key.multikey!], nextKeyHashes: [await nextKeyHash(next)] }
}

/**
 * Rotate to the next key, which the last log entry has announced; return the options of the entry that says so. If the entry
 * is not published, `webvhEntry` of the new key gives the same options again.
 *
 * @param ifPublished The seconds for which the next key must have existed.
 * @throws The errors of `rotateKey`, such as TooEarly if there is no next key, and those of `webvhEntry`.
 */
export async function rotateWebvh({ kms, kid, alias }: RemoteKey, ifPublished = 0) {
  const { alg: _, jwk, ...facts } = await kms.rotateKey({ kid }, { if_published: ifPublished })
  return webvhEntry(new RemoteKey(kms, { ...facts, jwk: jwk!, alias }))
}

/** The bytes that eddsa-jcs-2022 signs (Data Integrity EdDSA Cryptosuites 1.0 section 3.3). */
export async function eddsaJcs2022Input(document: unknown, proof: object): Promise<Uint8Array> {
  return Uint8Array.of(...(await sha256(canonical(proof))), ...(await sha256(canonical(document))))
}

/** Write canonical JSON (RFC 8785). */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item ?? null)).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  // RFC 8785 sorts by UTF-16 code units, as JavaScript compares.
  return `{${members
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`)
    .join()}}`
}
