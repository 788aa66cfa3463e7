import { decode, encode } from './bytes.js'
import { hex, toBytes, toNumber } from './hex.js'
import { BASE58 } from './public.js'
import type { Jwk } from './types.js'

interface Curve {
  crv: string
  /** The prime, and the coefficients of y² = x³ + ax + b (SEC 2). */
  p: bigint
  a: bigint
  b: bigint
}

const CURVES: Record<string, Curve> = {
  8024: {
    crv: 'P-256',
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    a: -3n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  8124: {
    crv: 'P-384',
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    a: -3n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
  e701: { crv: 'secp256k1', p: 2n ** 256n - 2n ** 32n - 977n, a: 0n, b: 7n },
}

/** The public key in a did:jwk, or in a did:key of Ed25519, P-256, P-384 or secp256k1; undefined for another DID. */
export function jwkOfDid(did: string): Jwk | undefined {
  const [, method, id] = /^did:(jwk|key):([\w-]+)/.exec(did) ?? []
  if (method === 'jwk') return JSON.parse(new TextDecoder().decode(decode(id!)))
  if (method !== 'key' || id![0] !== 'z') return undefined
  const bytes = fromBase58(id!.slice(1))
  const [code, public_] = [hex(bytes.subarray(0, 2)), bytes.subarray(2)]
  if (code === 'ed01') return { kty: 'OKP', crv: 'Ed25519', x: encode(public_) }
  const curve = CURVES[code]
  if (!curve) return undefined
  const x = public_.subarray(1)
  return { kty: 'EC', crv: curve.crv, x: encode(x), y: encode(toBytes(yOf(curve, toNumber(x), public_[0]!), x.length)) }
}

/** Decompress a point (SEC 1 section 2.3.4): each p is 3 modulo 4. */
function yOf({ p, a, b }: Curve, x: bigint, sign: number): bigint {
  const square = (((x ** 3n + a * x + b) % p) + p) % p
  let root = 1n
  for (let exponent = (p + 1n) / 4n, power = square; exponent > 0n; exponent >>= 1n, power = (power * power) % p) {
    if (exponent & 1n) root = (root * power) % p
  }
  if ((root * root) % p !== square) throw new RangeError('The did:key has no point of its curve.')
  return Number(root & 1n) === (sign & 1) ? root : p - root
}

function fromBase58(text: string): Uint8Array {
  let number = 0n
  for (const character of text) number = number * 58n + BigInt(BASE58.indexOf(character))
  return toBytes(number, Math.ceil(number.toString(16).length / 2))
}
