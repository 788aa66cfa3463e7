import { type By, checkedBy } from './by.js'
import { decode } from './bytes.js'
import type { KeyName, Minikms } from './client.js'
import { jwkOfDid } from './did-key.js'
import { isProblem } from './errors.js'
import { hash } from './hashes.js'
import { signCompact } from './jose.js'
import { RemoteKey } from './key.js'
import { publicFacts } from './public.js'
import type { Jwk } from './types.js'

/** Who signs a JWT, as the OpenID4VC libraries name it. */
export interface JwtSigner {
  method: string
  alg: string
  kid?: string | undefined
  didUrl?: string
  publicJwk?: LooseJwk
  x5c?: string[]
}

type LooseJwk = { kty: string; [name: string]: any }

export interface Openid4vcOptions {
  /** The key of a signer, or of the recipient of a JWE; undefined to find it by `by`. */
  keyOf?: (signer: JwtSigner) => RemoteKey | KeyName | undefined | Promise<RemoteKey | KeyName | undefined>
  /** Whether the kid of a signer is the kid or an alias of its key. DID URLs are aliases. By default `kid`. */
  by?: By
}

/**
 * The callbacks of `@openid4vc/oauth2`, `openid4vci` and `openid4vp`. `verifyJwt` checks signatures alone: whether to trust the
 * certificate, the DID or the key of a signer is for you to check.
 */
export function openid4vcCallbacks(kms: Minikms, { keyOf, by = 'kid' }: Openid4vcOptions = {}) {
  const isAlias = checkedBy(by) === 'alias'
  const byKid = new Map<string, RemoteKey>()

  /** Find the key of a signer: by `keyOf`, by its kid or DID URL, or by its public key. */
  async function keyFor(signer: JwtSigner): Promise<RemoteKey> {
    const given = await keyOf?.(signer)
    if (given instanceof RemoteKey) return given
    if (given) return lookUp(given)
    const { method, kid, didUrl } = signer
    if (kid) return lookUp(isAlias ? { alias: kid } : { kid })
    const jwk = await publicKeyOf(signer)
    if (jwk) return new RemoteKey(kms, { ...(await publicFacts(jwk)), alg: signer.alg })
    if (didUrl) return lookUp({ alias: didUrl })
    throw new TypeError(`A signer by ${method} needs a kid.`)
  }

  async function lookUp(name: KeyName): Promise<RemoteKey> {
    // An alias may move, so it is looked up each time.
    const key = byKid.get(name.kid ?? '') ?? (await kms.key(name))
    byKid.set(key.kid, key)
    return key
  }

  return {
    async signJwt(
      signer: JwtSigner,
      { header, payload }: { header: object; payload: object }
    ): Promise<{ jwt: string; signerJwk: Jwk }> {
      const key = await keyFor(signer)
      return { jwt: await signCompact(key, header, payload), signerJwk: key.publicJwk }
    },

    /** Verify by the public key of the signer, or if it has none by its key in the service. */
    async verifyJwt(
      signer: JwtSigner,
      { compact }: { compact: string }
    ): Promise<{ verified: true; signerJwk: Jwk } | { verified: false; signerJwk?: Jwk }> {
      const jwk = (await publicKeyOf(signer)) ?? (await unlessMissing(keyFor(signer)))?.publicJwk
      if (!jwk) return { verified: false }
      const { valid } = await kms.verifyJws(compact, { jwk })
      return valid ? { verified: true, signerJwk: jwk } : { verified: false, signerJwk: jwk }
    },

    /** Decrypt by the key whose public key is `jwk`, or that the header names. */
    async decryptJwe(
      jwe: string,
      { jwk }: { jwk?: LooseJwk } = {}
    ): Promise<{ decrypted: true; payload: string; decryptionJwk: Jwk } | { decrypted: false }> {
      const { kid, alg } = json(jwe.split('.')[0]!)
      const signer = jwk ? { method: 'jwk', alg, publicJwk: jwk } : { method: 'custom', alg, kid }
      const key = await unlessMissing(keyFor(signer))
      if (!key) return { decrypted: false }
      try {
        const { plaintext } = await kms.decryptJwe(jwe, { kid: key.kid })
        return { decrypted: true, payload: new TextDecoder().decode(plaintext), decryptionJwk: key.publicJwk }
      } catch (error) {
        if (isProblem(error, 'decryption-failed', 'key-not-found')) return { decrypted: false }
        throw error
      }
    },

    async encryptJwe(
      {
        publicJwk,
        alg,
        enc,
        apu,
        apv,
        kid = publicJwk.kid,
      }: { publicJwk: LooseJwk; alg: string; enc: string; apu?: string; apv?: string; kid?: string },
      data: string
    ): Promise<{ jwe: string; encryptionJwk: any }> {
      const header = Object.fromEntries(Object.entries({ kid, apu, apv }).filter(([, value]) => value !== undefined))
      const jwe = await kms.encryptJwe(data, enc as any, [{ alg: alg as any, jwk: publicJwk }], {
        header,
        serialization: 'compact',
      })
      return { jwe: jwe as string, encryptionJwk: publicJwk }
    },

    hash,

    generateRandom: (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length)),
  }
}

/** The public key that a signer brings: as a JWK, in its certificate, or in its DID. */
async function publicKeyOf({ publicJwk, x5c, didUrl }: JwtSigner): Promise<Jwk | undefined> {
  if (publicJwk) return publicJwk
  if (x5c) {
    const { X509Certificate } = await import('node:crypto')
    return new X509Certificate(`-----BEGIN CERTIFICATE-----\n${x5c[0]}\n-----END CERTIFICATE-----`).publicKey.export({
      format: 'jwk',
    }) as Jwk
  }
  return didUrl ? jwkOfDid(didUrl) : undefined
}

async function unlessMissing(key: Promise<RemoteKey>): Promise<RemoteKey | undefined> {
  try {
    return await key
  } catch (error) {
    if (isProblem(error, 'key-not-found', 'alias-not-found')) return undefined
    throw error
  }
}

function json(encoded: string): any {
  return JSON.parse(new TextDecoder().decode(decode(encoded)))
}
