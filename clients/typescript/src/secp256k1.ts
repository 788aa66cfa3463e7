import { decode } from './bytes.js'
import { InvalidSetting } from './errors.js'
import { toBytes, toNumber } from './hex.js'
import type { RemoteKey } from './key.js'

/** A signature by secp256k1 with the smaller s, and the parity by which the public key is recovered from it. */
export interface RecoverableSignature {
  r: Uint8Array
  s: Uint8Array
  recovery: number
}

type Point = readonly [bigint, bigint] | undefined

// SEC 2 section 2.4.1
const P = 2n ** 256n - 2n ** 32n - 977n
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const G: Point = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
]

/** Sign a digest of 32 bytes. The service signs; what is computed here is public. */
export async function signRecoverable(key: RemoteKey, digest: Uint8Array): Promise<RecoverableSignature> {
  const [x, y] = coordinates(key)
  const signature = await key.sign(digest, { alg: 'ES256K', prehashed: true })
  const r = toNumber(signature.subarray(0, 32))
  let s = toNumber(signature.subarray(32))
  const w = inverse(s, N)
  const public_: Point = [toNumber(x), toNumber(y)]
  // The point of the nonce, as a verifier computes it (SEC 1 section 4.1.4).
  const [nonceX, nonceY] = add(times(mod(toNumber(digest) * w, N), G), times(mod(r * w, N), public_))!
  let recovery = Number(nonceY & 1n) + (nonceX === r ? 0 : 2)
  if (s > N / 2n) {
    s = N - s
    recovery ^= 1
  }
  return { r: toBytes(r, 32), s: toBytes(s, 32), recovery }
}

function add(a: Point, b: Point): Point {
  if (!a || !b) return a ?? b
  if (a[0] === b[0] && a[1] !== b[1]) return undefined
  const slope = a[0] === b[0] ? 3n * a[0] * a[0] * inverse(2n * a[1], P) : (b[1] - a[1]) * inverse(b[0] - a[0], P)
  const x = mod(slope * slope - a[0] - b[0], P)
  return [x, mod(slope * (a[0] - x) - a[1], P)]
}

function times(scalar: bigint, point: Point): Point {
  let sum: Point
  for (let rest = scalar, power = point; rest > 0n; rest >>= 1n, power = add(power, power)) {
    if (rest & 1n) sum = add(sum, power)
  }
  return sum
}

function mod(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus
  return rest < 0n ? rest + modulus : rest
}

/** The inverse by Euclid's algorithm. */
function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [mod(value, modulus), modulus, 1n, 0n]
  while (a > 1n) {
    const quotient = b / a
    ;[a, b, x, y] = [b % a, a, y - quotient * x, x]
  }
  return mod(x, modulus)
}

/** The public point without compression (SEC 1 section 2.3.3). */
export function uncompressed(key: RemoteKey): Uint8Array {
  const [x, y] = coordinates(key)
  return Uint8Array.of(4, ...x, ...y)
}

function coordinates({ publicJwk: { crv, x, y } }: RemoteKey): [Uint8Array, Uint8Array] {
  if (crv !== 'secp256k1') throw new InvalidSetting('The key is not one of secp256k1.')
  return [decode(x!), decode(y!)]
}
