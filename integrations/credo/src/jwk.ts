import { Kms, ZodValidationError } from '@credo-ts/core'

import { encode } from './bytes.js'
import type { Key } from './client.js'
import { CONTENT_ENCRYPTIONS } from './content.js'

const PUBLIC_MEMBERS = ['kty', 'crv', 'x', 'y', 'n', 'e', 'alg']

/** The public JWK of a key, as Credo has it: under its keyId, of a symmetric key without anything secret. */
export function publicJwk(key: Key, keyId: string): Kms.KmsJwkPublic {
  return { ...(key.jwk ?? { kty: key.kty }), kid: keyId } as Kms.KmsJwkPublic
}

/** A JWK with nothing but its public key. */
export function publicMembers(jwk: Kms.KmsJwkPublic): Record<string, unknown> {
  return Object.fromEntries(Object.entries(jwk).filter(([member]) => PUBLIC_MEMBERS.includes(member)))
}

/** Have Credo read a private JWK. The error that it throws has the whole of it in its text: here, what is wrong alone. */
export function assertReadable(jwk: Kms.KmsJwkPrivate): void {
  try {
    Kms.publicJwkFromPrivateJwk(jwk)
  } catch (error) {
    if (!(error instanceof ZodValidationError)) throw error
    throw new ZodValidationError('The JWK cannot be read.', error.zodError)
  }
}

/** A JWK that Credo's checks of algorithms take. */
export type DecisiveJwk = Kms.KmsJwkPrivate | Exclude<Kms.KmsJwkPublic, Kms.KmsJwkPublicOct>

/** What decides for which algorithms Credo allows a key; zeros stand for the secret of a symmetric one. */
export function decisiveJwk(key: Key, joseAlg: string): DecisiveJwk {
  if (key.kty === 'oct') return { kty: 'oct', alg: joseAlg, k: encode(new Uint8Array(secretBytes(joseAlg))) }
  return publicJwk(key, key.kid) as DecisiveJwk
}

function secretBytes(joseAlg: string): number {
  const bits = /^HS(\d+)$/.exec(joseAlg)?.[1]
  return bits ? Number(bits) / 8 : (CONTENT_ENCRYPTIONS[joseAlg]?.keyBytes ?? 0)
}
