import { encode } from './bytes.js'
import type { Methods } from './methods.js'
import type { KeyFacts } from './public.js'
import type { Answer, CallOptions, KeyName, Schemas } from './transport.js'
import type { Data, Jwk } from './types.js'

export interface KeyOptions {
  /** The public key, so that no call is made for it. */
  jwk?: Jwk
  /** The JOSE name of signatures, by default the first one of the key's algorithm. */
  alg?: string
  signal?: AbortSignal
}

export interface SignOptions {
  /** One of the key's JOSE names. */
  alg?: string | undefined
  /** `raw`, or for ECDSA `der`. */
  encoding?: Schemas['SignatureEncoding']
  /** Whether the bytes are a digest. */
  prehashed?: boolean
  signal?: AbortSignal
}

/** The calls that a RemoteKey makes. */
export interface KeyCalls extends Methods {
  getKey(key: KeyName, o?: CallOptions): Promise<Answer<'getKey'>>
  signSigningInput(
    signingInput: string,
    key: KeyName,
    o?: { disclosures?: string[] | undefined } & CallOptions
  ): Promise<Answer<'sign'>>
  signSigStructure(sigStructure: Data, key: KeyName, o?: CallOptions): Promise<Answer<'sign'>>
}

/** A key pair whose private key is in the service: `kms.key()` returns it. */
export class RemoteKey {
  /** The thumbprint of the public key (RFC 7638). */
  declare readonly kid: string
  /** The alias by which it was found, if it was. */
  declare readonly alias: string | undefined
  declare readonly publicJwk: Jwk
  /** The public key as W3C Multikey; null if it has none. */
  declare readonly multikey: string | null
  /** The key as did:key; null if it has none. */
  declare readonly did: string | null
  /** The JOSE name of its signatures. */
  declare readonly alg: string
  /** The rules of the key, if it was looked up and has some. */
  declare readonly rules: KeyFacts['rules']
  declare readonly kms: KeyCalls

  constructor(kms: KeyCalls, { kid, alias, jwk, multikey, did, alg, rules }: KeyFacts) {
    this.kms = kms
    this.kid = kid
    this.alias = alias
    this.publicJwk = jwk
    this.multikey = multikey ?? null
    this.did = did ?? null
    this.alg = alg ?? jwk.alg ?? ALGS[jwk.crv ?? jwk.kty] ?? ''
    this.rules = rules
  }

  /**
   * Sign bytes as they are.
   *
   * @returns The signature.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ProfileFrozen, KeyNotUsable, RuleViolated, ApprovalRequired,
   * ValidationFailed, UnsupportedOperation, UnsupportedOption, TypeError; as every call: Unauthenticated, Forbidden, OverRate,
   * Unavailable, Unreachable, UnexpectedAnswer.
   */
  async sign(data: Data, { alg = this.alg, ...options }: SignOptions = {}): Promise<Uint8Array> {
    return (await this.kms.sign(data, { kid: this.kid }, { ...options, alg: alg || undefined })).sig
  }

  /**
   * Sign the JWS Signing Input that a library has made. The rules of the key hold for it.
   *
   * @returns The signature as base64url.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ProfileFrozen, KeyNotUsable, RuleViolated, ApprovalRequired,
   * ValidationFailed, UnsupportedOperation, UnsupportedOption; as every call: Unauthenticated, Forbidden, OverRate,
   * Unavailable, Unreachable, UnexpectedAnswer.
   */
  async signJws(signingInput: string, options?: { disclosures?: string[] | undefined; signal?: AbortSignal }): Promise<string> {
    return encode((await this.kms.signSigningInput(signingInput, { kid: this.kid }, options)).sig)
  }

  /**
   * Sign the Sig_structure that a library has made (RFC 9052 section 4.4). The rules of the key hold for it.
   *
   * @returns The signature.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ProfileFrozen, KeyNotUsable, RuleViolated, ApprovalRequired,
   * ValidationFailed, UnsupportedOperation, UnsupportedOption, InvalidCose, TypeError; as every call: Unauthenticated,
   * Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  async signCose(sigStructure: Data, options?: { signal?: AbortSignal }): Promise<Uint8Array> {
    return (await this.kms.signSigStructure(sigStructure, { kid: this.kid }, options)).sig
  }
}

// The first JOSE name of each algorithm.
const ALGS: Record<string, string> = {
  ...{ 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512', secp256k1: 'ES256K' },
  ...{ Ed25519: 'EdDSA', Ed448: 'Ed448', RSA: 'RS256' },
}
