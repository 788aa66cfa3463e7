import { type By, checkedBy } from './by.js'
import { signCompact } from './jose.js'
import type { RemoteKey } from './key.js'
import type { Jwk } from './types.js'

/**
 * What an entity of OpenID Federation signs by: the `header` of its statements, its public `jwk` for its JWK Set, and `sign`. The
 * kid is by default the thumbprint of the key, or with `by` "alias" the alias by which it was found.
 */
export function federationSigner(key: RemoteKey, { by = 'kid', kid: given }: { kid?: string; by?: By } = {}) {
  const found = checkedBy(by) === 'alias' ? key.alias : key.kid
  const kid = given ?? found ?? key.kid
  return {
    kid,
    alg: key.alg,
    jwk: { ...key.publicJwk, kid, alg: key.alg, use: 'sig' as const },
    /** The header of an entity configuration or statement. */
    header: { typ: 'entity-statement+jwt' as const, alg: key.alg, kid },
    /** Sign a statement: `typ` is such as `entity-statement+jwt`. */
    sign: (typ: string, claims: object): Promise<string> => signCompact(key, { typ, kid }, claims),
    /** The `signJwtCallback` of `@openid-federation/core`. */
    signJwtCallback: federationSignCallback({ [kid]: key }),
  }
}

/**
 * The `jwks` for the entity configuration of a key: the key, its next key, and the keys that rotations have replaced and that have not
 * retired. Each has its thumbprint as kid, as `federationSigner` without `by` and `kid`.
 *
 * @throws As `getKey` and `jwks`.
 */
export async function federationJwks(key: RemoteKey): Promise<{ keys: Jwk[] }> {
  const { next, predecessors = [] } = await key.kms.getKey({ kid: key.kid })
  const kids = [key.kid, next, ...predecessors]
  const { keys } = await key.kms.jwks({ kty: [key.publicJwk.kty] })
  return { keys: keys.filter(({ kid }) => kids.includes(kid!)) }
}

/** The `signJwtCallback` of `@openid-federation/core`, for keys by the kid that the entity's JWK Set gives them. */
export function federationSignCallback(
  keys: Record<string, RemoteKey>
): (options: { toBeSigned: Uint8Array; jwk: { kid?: string | undefined } }) => Promise<Uint8Array> {
  return async ({ toBeSigned, jwk }) => {
    const key = Object.hasOwn(keys, jwk.kid ?? '') ? keys[jwk.kid!] : undefined
    if (!key) throw new TypeError(`There is no key with the kid ${jwk.kid}.`)
    return (await key.kms.signSigningInput(new TextDecoder().decode(toBeSigned), { kid: key.kid })).sig
  }
}
