import { encode, payloadOf } from './bytes.js'
import type { RemoteKey } from './key.js'
import type { Data } from './types.js'

export { thumbprint } from './public.js'

/** Sign a compact JWS; the rules of the key hold for it. `alg` is by default the key's, and an object is a payload in JSON. */
export async function signCompact(key: RemoteKey, header: object, payload: Data | object): Promise<string> {
  const protectedHeader = encode(JSON.stringify({ alg: key.alg, ...header }))
  const input = `${protectedHeader}.${encode(payloadOf(payload))}`
  return `${input}.${await key.signJws(input)}`
}

/** Decrypt a compact JWE, as `compactDecrypt` of jose does. */
export async function compactDecrypt(
  jwe: string,
  key: RemoteKey
): Promise<{ plaintext: Uint8Array; protectedHeader: Record<string, unknown> }> {
  const { plaintext, header } = await key.kms.decryptJwe(jwe, { kid: key.kid })
  return { plaintext, protectedHeader: header }
}
