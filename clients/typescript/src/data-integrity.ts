import { InvalidSetting } from './errors.js'
import type { RemoteKey } from './key.js'

/**
 * A signer for the cryptosuites of Digital Bazaar's libraries. `id` is the verification method, by default the key's did:key URL.
 * Signatures are raw, so a key whose rules forbid raw signatures cannot make them.
 */
export function dataIntegritySigner(key: RemoteKey, { id = methodOf(key) }: { id?: string } = {}) {
  const { crv, kty } = key.publicJwk
  return { id, algorithm: crv ?? kty, sign: ({ data }: { data: Uint8Array }): Promise<Uint8Array> => key.sign(data) }
}

/** The public key as a document of a Multikey, for verifiers. */
export function multikeyDocument(
  key: RemoteKey,
  { id = methodOf(key), controller = id.split('#')[0]! }: { id?: string; controller?: string } = {}
) {
  if (!key.multikey) throw new InvalidSetting('The key has no Multikey.')
  return {
    '@context': 'https://w3id.org/security/multikey/v1',
    id,
    type: 'Multikey',
    controller,
    publicKeyMultibase: key.multikey,
  }
}

function methodOf({ did, multikey }: RemoteKey): string {
  if (!did) throw new InvalidSetting('The key has no did:key, so give an id.')
  return `${did}#${multikey}`
}
