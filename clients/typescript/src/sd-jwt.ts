import { decode, encode } from './bytes.js'
import { InvalidSetting } from './errors.js'
import { hash } from './hashes.js'
import type { RemoteKey } from './key.js'

/** Hash as SD-JWTs do: sha-256, sha-384 or sha-512. */
export const hasher = (data: string | ArrayBuffer, alg: string): Promise<Uint8Array> => hash(data, alg)

/** Make a salt of `length` random bytes. */
export const saltGenerator = (length: number): string => encode(crypto.getRandomValues(new Uint8Array(length)))

/** A signer of SD-JWTs, key binding JWTs and status lists. */
export function sdJwtSigner(key: RemoteKey): (data: string) => Promise<string> {
  return (data) => key.signJws(data)
}

/**
 * The part of a configuration of `@sd-jwt/core` that issues. If the rules of the key want disclosures shown, the signer shows the
 * ones that its hasher has seen, so keep both; `show` says so if the key was made with `jwk`, whose rules are not known.
 */
export function sdJwtIssuer(key: RemoteKey, { show = key.rules?.jws?.disclosures === 'shown' }: { show?: boolean } = {}) {
  const seen = new Map<string, string>()
  return {
    signer: (data: string) => key.signJws(data, show ? { disclosures: shown(data, seen) } : {}),
    signAlg: key.alg,
    hashAlg: 'sha-256' as const,
    saltGenerator,
    hasher: async (data: string | ArrayBuffer, alg: string) => {
      const digest = await hash(data, alg)
      if (show && typeof data === 'string') {
        seen.set(encode(digest), data)
        // What was hashed and never signed goes.
        if (seen.size > 10_000) seen.delete(seen.keys().next().value!)
      }
      return digest
    },
  }
}

/** The part of a configuration of `@sd-jwt/core` that presents with key binding. */
export function sdJwtHolder(key: RemoteKey) {
  return { kbSigner: sdJwtSigner(key), kbSignAlg: key.alg, hasher, hashAlg: 'sha-256' as const, saltGenerator }
}

/**
 * The header members with the certificate of a key, for `{ header }` of `issue`: its chain without a self-signed root, and its
 * thumbprint. They are read from the JWK Set of the profile. The service refuses them once the key has another certificate.
 */
export async function certificateHeader(key: RemoteKey): Promise<{ x5c: string[]; 'x5t#S256': string }> {
  const { keys } = await key.kms.jwks({ kty: [key.publicJwk.kty] })
  const { x5c, 'x5t#S256': thumbprint } = keys.find(({ kid }) => kid === key.kid) ?? {}
  if (!x5c || !thumbprint) throw new InvalidSetting('The key has no certificate.')
  return { x5c, 'x5t#S256': thumbprint }
}

/** Remove from `seen`, and return, the disclosures whose digests are in a payload, or in its disclosures. */
function shown(signingInput: string, seen: Map<string, string>): string[] {
  const found: string[] = []
  const visit = (value: unknown): void => {
    const disclosure = typeof value === 'string' ? seen.get(value) : undefined
    const parts = disclosure && partsOf(disclosure)
    if (parts) {
      seen.delete(value as string)
      found.push(disclosure)
      visit(parts)
    } else if (typeof value === 'object' && value) Object.values(value).forEach(visit)
  }
  visit(JSON.parse(text(signingInput.split('.')[1]!)))
  return found
}

/** The parts of a disclosure; undefined for the random bytes of a decoy digest, which libraries hash, too. */
function partsOf(disclosure: string): unknown[] | undefined {
  try {
    const parts: unknown = JSON.parse(text(disclosure))
    return Array.isArray(parts) ? parts : undefined
  } catch {
    return undefined
  }
}

const text = (encoded: string) => new TextDecoder().decode(decode(encoded))
