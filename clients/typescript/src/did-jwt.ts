import { bytesOf, encode } from './bytes.js'
import { sha256 } from './hashes.js'
import type { RemoteKey } from './key.js'
import { signRecoverable } from './secp256k1.js'

/**
 * A signer of `did-jwt`. With `recoverable`, it signs for ES256K-R, by a raw signature: a key whose rules forbid these cannot.
 */
export function didJwtSigner(key: RemoteKey, { recoverable = false } = {}): (data: string | Uint8Array) => Promise<string> {
  return async (data) => {
    if (!recoverable) return key.signJws(typeof data === 'string' ? data : new TextDecoder().decode(data))
    const { r, s, recovery } = await signRecoverable(key, await sha256(bytesOf(data)))
    return encode(Uint8Array.of(...r, ...s, recovery))
  }
}
