import { Kms, ZodValidationError } from '@credo-ts/core'
import type { Jwk } from '@minikms/client'

import { encode } from './bytes.js'
import type { Key } from './client.js'
import { CONTENT_ENCRYPTIONS } from './content.js'

const PUBLIC_MEMBERS = ['kty', 'crv', 'x', 'y', 'n', 'e', 'alg']

/** The public JWK of a key for Credo: with its keyId, and for a symmetric key without the secret. */
export function publicJwk(key: Key, keyId: string): Kms.KmsJwkPublic {
  return { ...(key.jwk ?? { kty: key.kty }), kid: keyId } as Kms.KmsJwkPublic
}

/** A JWK reduced to its public key. */
export function publicMembers(jwk: Kms.KmsJwkPublic): Jwk {
  return Object.fromEntries(Object.entries(jwk).filter(([member]) => PUBLIC_MEMBERS.includes(member))) as Jwk
}

/** Lets Credo parse a private JWK. Credo's error would contain the whole JWK; this error describes only the fault. */
export function assertReadable(jwk: Kms.KmsJwkPrivate): void {
  try {
    Kms.publicJwkFromPrivateJwk(jwk)
  } catch (error) {
    if (!(error instanceof ZodValidationError)) throw error
    throw new ZodValidationError('The JWK cannot be read.', error.zodError)
  }
}

/** A JWK for Credo's checks of algorithms. */
export type DecisiveJwk = Kms.KmsJwkPrivate | Exclude<Kms.KmsJwkPublic, Kms.KmsJwkPublicOct>

/** The members by which Credo decides on algorithms for a key; zeros replace the secret of a symmetric key. */
export function decisiveJwk(key: Key, joseAlg: string): DecisiveJwk {
  if (key.kty === 'oct') return { kty: 'oct', alg: joseAlg, k: encode(new Uint8Array(secretBytes(joseAlg))) }
  return publicJwk(key, key.kid) as DecisiveJwk
}

function secretBytes(joseAlg: string): number {
  const bits = /^HS(\d+)$/.exec(joseAlg)?.[1]
  return bits ? Number(bits) / 8 : (CONTENT_ENCRYPTIONS[joseAlg]?.keyBytes ?? 0)
}
