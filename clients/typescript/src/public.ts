import { bytesOf, decode, encode } from './bytes.js'
import { InvalidSetting } from './errors.js'
import type { Answer } from './transport.js'
import type { Jwk } from './types.js'

/** The facts from which a RemoteKey is made. */
export interface KeyFacts {
  kid: string
  alias?: string | undefined
  jwk: Jwk
  multikey?: string | null | undefined
  did?: string | null | undefined
  alg?: string | undefined
  rules?: Answer<'getKey'>['rules']
}

// The multicodecs, and whether did:key defines them.
const CODES: Record<string, readonly [number[], boolean]> = {
  'P-256': [[0x80, 0x24], true],
  'P-384': [[0x81, 0x24], true],
  'P-521': [[0x82, 0x24], true],
  secp256k1: [[0xe7, 0x01], true],
  Ed25519: [[0xed, 0x01], true],
  X25519: [[0xec, 0x01], true],
  Ed448: [[0x83, 0x24], false],
  X448: [[0x84, 0x24], false],
}

/** The kid, Multikey and DID of a public key; RSA keys and keys of other kinds get no Multikey here. */
export async function publicFacts(jwk: Jwk): Promise<KeyFacts> {
  const kid = await thumbprint(jwk)
  const [code, hasDid] = CODES[jwk.crv ?? ''] ?? []
  if (!code) return { kid, jwk }
  const x = decode(jwk.x!)
  const public_ = jwk.kty === 'EC' ? [2 + (decode(jwk.y!).at(-1)! & 1), ...x] : x
  const multikey = `z${base58(Uint8Array.of(...code, ...public_))}`
  return { kid, jwk, multikey, did: hasDid ? `did:key:${multikey}` : null }
}

/** The thumbprint of a public key (RFC 7638), which is the kid of the key in the service. */
export async function thumbprint(jwk: { kty?: string | undefined }): Promise<string> {
  const members = { EC: ['crv', 'kty', 'x', 'y'], OKP: ['crv', 'kty', 'x'], RSA: ['e', 'kty', 'n'], AKP: ['alg', 'kty', 'pub'] }[
    jwk.kty ?? ''
  ]
  if (!members) throw new InvalidSetting('The JWK is not a public key.')
  return encode(new Uint8Array(await crypto.subtle.digest('SHA-256', bytesOf(JSON.stringify(jwk, members)))))
}

export const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

/** Encode as base58btc. */
export function base58(bytes: Uint8Array): string {
  let number = BigInt(`0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('') || '0'}`)
  let text = ''
  for (; number > 0n; number /= 58n) text = BASE58[Number(number % 58n)] + text
  return '1'.repeat(bytes.findIndex((byte) => byte !== 0)) + text
}
