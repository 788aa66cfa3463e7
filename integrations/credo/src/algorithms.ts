import type { Kms } from '@credo-ts/core'

const BY_CURVE: Record<string, string> = {
  'P-256': 'p256',
  'P-384': 'p384',
  'P-521': 'p521',
  secp256k1: 'k256',
  Ed25519: 'ed25519',
  X25519: 'x25519',
}

// Credo uses an AES key for any algorithm, Mini KMS for only one: AES-GCM, or for longer keys AES-CBC with HMAC.
const BY_AES_BITS: Record<number, string> = {
  128: 'a128gcm',
  192: 'a192gcm',
  256: 'a256gcm',
  384: 'a192cbchs384',
  512: 'a256cbchs512',
}

const BY_ENC: Record<string, string> = {
  A128GCM: 'a128gcm',
  A192GCM: 'a192gcm',
  A256GCM: 'a256gcm',
  'A128CBC-HS256': 'a128cbchs256',
  'A192CBC-HS384': 'a192cbchs384',
  'A256CBC-HS512': 'a256cbchs512',
  C20P: 'c20p',
  XC20P: 'xc20p',
}

const BY_SIGNATURE: Record<string, string> = {
  EdDSA: 'ed25519',
  Ed25519: 'ed25519',
  ES256: 'p256',
  ES384: 'p384',
  ES512: 'p521',
  ES256K: 'k256',
  HS256: 'hs256',
  HS384: 'hs384',
  HS512: 'hs512',
}

/** The algorithm of Mini KMS that makes keys of a type; undefined if there is none. */
export function algorithmOfType(type: Kms.KmsCreateKeyType): string | undefined {
  switch (type.kty) {
    case 'EC':
    case 'OKP':
      return BY_CURVE[type.crv]
    case 'RSA':
      return `rsa${type.modulusLength}`
    case 'oct':
      if (type.algorithm === 'hmac') return `hs${type.length}`
      return type.algorithm === 'C20P' ? 'c20p' : BY_AES_BITS[type.length]
  }
}

/**
 * The algorithm of Mini KMS that imports a private JWK.
 *
 * A symmetric key is for its own `alg`, for HMAC if its `key_ops` include `sign`, and otherwise for the algorithm of a
 * new key of its length.
 */
export function algorithmOfJwk(jwk: Kms.KmsJwkPrivate): string | undefined {
  switch (jwk.kty) {
    case 'EC':
    case 'OKP':
      return BY_CURVE[jwk.crv]
    case 'RSA':
      return `rsa${bits(jwk.n)}`
    case 'oct': {
      const length = bits(jwk.k)
      if (jwk.alg) return BY_ENC[jwk.alg] ?? BY_SIGNATURE[jwk.alg]
      return jwk.key_ops?.includes('sign') ? `hs${length}` : BY_AES_BITS[length]
    }
  }
}

const FACTS = ['crv', 'algorithm', 'alg', 'modulusLength', 'length']

/** A type of keys, worded as in errors of Credo's own backends. */
export function nameOfType(type: Kms.KmsCreateKeyType | Kms.KmsJwkPrivate): string {
  const facts = Object.entries(type).filter(([member]) => FACTS.includes(member))
  const named = facts.map(([member, value]) => `${member} '${value}'`).join(' and ')
  return named ? `${named} for kty '${type.kty}'` : `kty '${type.kty}'`
}

/** The number of bits of a member in base64url. */
function bits(member: string): number {
  return Buffer.from(member, 'base64url').length * 8
}

/** The algorithm of Mini KMS for signatures or MACs with a JOSE name. */
export function algorithmOfSignature(alg: string): string | undefined {
  return BY_SIGNATURE[alg] ?? (isRsa(alg) ? 'rsa2048' : undefined)
}

/** Tells whether a JOSE name is an RSA signature. */
export function isRsa(alg: string): boolean {
  return /^[RP]S(256|384|512)$/.test(alg)
}

/** Tells whether a JOSE name is a MAC. */
export function isMac(alg: string): boolean {
  return alg.startsWith('HS')
}
