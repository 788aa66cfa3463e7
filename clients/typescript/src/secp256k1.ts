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

/** A point in Jacobian coordinates: x/z² and y/z³, or with z = 0 the point at infinity. */
type Point = readonly [x: bigint, y: bigint, z: bigint]

// SEC 2 section 2.4.1
const P = 2n ** 256n - 2n ** 32n - 977n
const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const G: Point = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
  1n,
]

/**
 * Sign a digest of 32 bytes. The service signs; what is computed here is public. The libraries that take the signature depend on
 * versions of @noble/curves without a common import, and recover a key more slowly than this finds the bit.
 */
export async function signRecoverable(key: RemoteKey, digest: Uint8Array): Promise<RecoverableSignature> {
  const [x, y] = coordinates(key)
  const signature = await key.sign(digest, { alg: 'ES256K', prehashed: true })
  const r = toNumber(signature.subarray(0, 32))
  let s = toNumber(signature.subarray(32))
  const w = inverse(s, N)
  // The point of the nonce, as a verifier computes it (SEC 1 section 4.1.4).
  const [nonceX, nonceY, z] = sumOf(mod(toNumber(digest) * w, N), mod(r * w, N), [toNumber(x), toNumber(y), 1n])
  const unit = inverse(z, P)
  const affineX = mod(nonceX * unit * unit, P)
  if (mod(affineX, N) !== r) throw new InvalidSetting('The public key is not the one of the key that signed.')
  let recovery = Number(mod(nonceY * unit * unit * unit, P) & 1n) + (affineX === r ? 0 : 2)
  if (s > N / 2n) {
    s = N - s
    recovery ^= 1
  }
  return { r: toBytes(r, 32), s: toBytes(s, 32), recovery }
}

/** The sum of a · G and b · point, bit by bit for both (Shamir's trick). */
function sumOf(a: bigint, b: bigint, point: Point): Point {
  const addends = [undefined, G, point, add(G, point)]
  let sum: Point = [1n, 1n, 0n]
  for (let bit = 255n; bit >= 0n; bit--) {
    sum = double(sum)
    const addend = addends[Number(((a >> bit) & 1n) + 2n * ((b >> bit) & 1n))]
    if (addend) sum = add(sum, addend)
  }
  return sum
}

function double([x, y, z]: Point): Point {
  const yy = (y * y) % P
  const xyy = (4n * x * yy) % P
  const slope = 3n * x * x
  const sumX = mod(slope * slope - 2n * xyy, P)
  return [sumX, mod(slope * (xyy - sumX) - 8n * yy * yy, P), mod(2n * y * z, P)]
}

function add(one: Point, two: Point): Point {
  const [[x1, y1, z1], [x2, y2, z2]] = [one, two]
  if (z1 === 0n) return two
  if (z2 === 0n) return one
  const [zz1, zz2] = [(z1 * z1) % P, (z2 * z2) % P]
  const [u1, s1] = [(x1 * zz2) % P, (((y1 * zz2) % P) * z2) % P]
  const [run, rise] = [mod(x2 * zz1 - u1, P), mod(y2 * zz1 * z1 - s1, P)]
  if (run === 0n) return rise === 0n ? double(one) : [1n, 1n, 0n]
  const square = (run * run) % P
  const [cube, u1square] = [(run * square) % P, (u1 * square) % P]
  const sumX = mod(rise * rise - cube - 2n * u1square, P)
  return [sumX, mod(rise * (u1square - sumX) - s1 * cube, P), (((z1 * z2) % P) * run) % P]
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
