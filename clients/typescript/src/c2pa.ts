import type { RemoteKey } from './key.js'

/**
 * The callback of `CallbackSigner` and `signAsync` in `@contentauth/c2pa-node`, without `directCoseHandling`: it signs the
 * Sig_structure of the claim.
 */
export function c2paCallback(key: RemoteKey): (data: Uint8Array) => Promise<Buffer> {
  return async (data) => Buffer.from(await key.signCose(data))
}
