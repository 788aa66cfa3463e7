import { bytesOf, payloadOf } from './bytes.js'
import { InvalidSetting } from './errors.js'
import { type KeyOptions, RemoteKey } from './key.js'
import type { Methods } from './methods.js'
import { operations } from './operations.js'
import {
  type Answer,
  type Body,
  type CallOptions,
  described,
  type KeyName,
  type Member,
  type Operation,
  type Options,
  type Query,
  type Schemas,
  Transport,
} from './transport.js'
import type { Data } from './types.js'

export type { KeyName } from './transport.js'

/** A key of the service. */
export type Key = Answer<'generateKey'>

/** A signature. */
export type Signature = Answer<'sign'>

type JwsOptions = Options<Extract<Body<'signJws'>, { payload: unknown }>, 'payload' | 'kid' | 'alias'>
type CoseOptions = Options<Extract<Body<'signCose'>, { payload: unknown }>, 'payload' | 'kid' | 'alias'>

/**
 * A client of Mini KMS, with a method for each operation of its API.
 *
 * The data or the name that a call works on comes first, then the key, then options with the names of the API.
 */
export class Minikms extends Transport {
  /**
   * The key `{ kid }`, or the key with this alias: a string is an alias. It stays the same key if the alias moves to another
   * one. With `jwk`, no call is made, so a token with the scope `sign` alone is enough.
   *
   * @returns The key, which signs by the service, with its public facts.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ValidationFailed, InvalidSetting if the key has no public key; as
   * every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  async key(name: KeyName | string, { jwk, alg, signal }: KeyOptions = {}): Promise<RemoteKey> {
    const { kid, alias } = typeof name === 'string' ? { alias: name } : name
    if (jwk) {
      const { publicFacts } = await import('./public.js')
      return new RemoteKey(this, { ...(await publicFacts(jwk)), ...(kid && { kid }), alias, alg })
    }
    const found = await this.getKey({ kid, alias } as KeyName, { signal })
    if (!found.jwk) throw new InvalidSetting('The key has no public key.')
    return new RemoteKey(this, { ...found, jwk: found.jwk, alias, alg })
  }

  /**
   * Import a `jwk`, or for an `alg` a `secret`, a `seed` or a `wrapped` secret. Scope: `keys:write`.
   *
   * @returns The key.
   * @throws KeyNotFound, ProfileNotFound, KeyExists, AliasExists, ProfileFrozen, KeyNotUsable, ValidationFailed, TooManyKeys,
   * TooManyAliases, TooLargeRecord, UnsupportedAlgorithm, UnsupportedOperation, UnsupportedOption, InvalidKey, DecryptionFailed,
   * TypeError; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  importKey(key: Body<'importKey'>, o?: Partial<Options<Body<'importKey'>, 'jwk' | 'alg'>>): Promise<Key> {
    return this.call('importKey', key, o)
  }

  /**
   * Get a key by its kid or one of its aliases. Scope: `keys:read`.
   *
   * @returns The key, with its public key, state, aliases and labels.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ValidationFailed, UnsupportedOption; as every call: Unauthenticated,
   * Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  getKey(key: KeyName, o?: CallOptions): Promise<Answer<'getKey'>> {
    return this.call(key.kid === undefined ? 'findKey' : 'getKey', named(key), o)
  }

  /**
   * Delete a key, at once or `after` a time such as `30d`. Scope: `keys:delete`.
   *
   * @returns A message, and if it is later the time of the deletion.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ApprovalRequired; as every call: Unauthenticated, Forbidden,
   * OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  deleteKey(key: KeyName, o?: Options<Query<'deleteKey'>, never>): Promise<Answer<'deleteKey'>> {
    return this.call(key.kid === undefined ? 'deleteKeyByAlias' : 'deleteKey', named(key), o)
  }

  /**
   * Make a JWS. A payload that is an object is signed as its JSON. Scope: `sign`.
   *
   * @returns The JWS: a text, or with `serialization` "flattened" or "general" an object.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ProfileFrozen, KeyNotUsable, RuleViolated, ApprovalRequired,
   * ValidationFailed, UnsupportedOperation, UnsupportedOption, TypeError; as every call: Unauthenticated, Forbidden, OverRate,
   * Unavailable, Unreachable, UnexpectedAnswer.
   */
  async signJws<O extends JwsOptions = JwsOptions>(
    payload: Data | object,
    key: KeyName,
    o?: O
  ): Promise<O extends { serialization: 'flattened' | 'general' } ? Record<string, unknown> : string> {
    return ((await this.call('signJws', { payload: payloadOf(payload), ...named(key) }, o)) as any).jws
  }

  /**
   * Sign a JWS Signing Input that a library has made: HEADER.PAYLOAD. The rules of the key hold for it. Scope: `sign`.
   *
   * @returns The signature, for the third part of the JWS.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ProfileFrozen, KeyNotUsable, RuleViolated, ApprovalRequired,
   * ValidationFailed, UnsupportedOperation, UnsupportedOption; as every call: Unauthenticated, Forbidden, OverRate,
   * Unavailable, Unreachable, UnexpectedAnswer.
   */
  signSigningInput(
    signingInput: string,
    key: KeyName,
    o?: { disclosures?: string[] | undefined } & CallOptions
  ): Promise<Signature> {
    return this.call('signJws', { signing_input: signingInput, ...named(key) }, o) as Promise<any>
  }

  /**
   * Make a COSE_Sign1, or by a MAC key a COSE_Mac0. Scope: `sign`.
   *
   * @returns The message in CBOR.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ProfileFrozen, KeyNotUsable, RuleViolated, ApprovalRequired,
   * ValidationFailed, UnsupportedOperation, UnsupportedOption, InvalidCose, TypeError; as every call: Unauthenticated,
   * Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  async signCose(payload: Data, key: KeyName, o?: CoseOptions): Promise<Uint8Array> {
    return ((await this.call('signCose', { payload: bytesOf(payload), ...named(key) }, o)) as any).cose
  }

  /**
   * Sign a Sig_structure that a library has made (RFC 9052 section 4.4). The rules of the key hold for it. Scope: `sign`.
   *
   * @returns The signature.
   * @throws KeyNotFound, AliasNotFound, ProfileNotFound, ProfileFrozen, KeyNotUsable, RuleViolated, ApprovalRequired,
   * ValidationFailed, UnsupportedOperation, UnsupportedOption, InvalidCose, TypeError; as every call: Unauthenticated,
   * Forbidden, OverRate, Unavailable, Unreachable, UnexpectedAnswer.
   */
  async signSigStructure(sigStructure: Data, key: KeyName, o?: CallOptions): Promise<Signature> {
    return this.call('signCose', { sig_structure: bytesOf(sigStructure), ...named(key) }, o) as Promise<any>
  }

  /**
   * Get a page of the audit log; `auditEvents` has all of it. Scope: `audit`.
   *
   * @returns The events, newest first.
   * @throws AliasNotFound, ProfileNotFound; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  listAuditEvents(
    { profile = this.profile, ...query }: Query<'listAuditEvents'> = {},
    o?: CallOptions
  ): Promise<Answer<'listAuditEvents'>> {
    return this.request('listAuditEvents', { ...o, query: { profile, ...query } })
  }

  /**
   * Yield every key of a listing, page by page. Scope: `keys:read`.
   *
   * @returns The keys, in order of creation.
   * @throws ValidationFailed, UnsupportedAlgorithm; as every call: Unauthenticated, Forbidden, OverRate, Unavailable,
   * Unreachable, UnexpectedAnswer.
   */
  keys(query?: Omit<Query<'listKeys'>, 'after'>, o?: CallOptions): AsyncGenerator<Key, void> {
    return this.#pages('listKeys', { limit: 1000, ...query }, o)
  }

  /**
   * Yield every event of the audit log, page by page. Scope: `audit`.
   *
   * @returns The events, newest first.
   * @throws AliasNotFound, ProfileNotFound; as every call: Unauthenticated, Forbidden, OverRate, Unavailable, Unreachable,
   * UnexpectedAnswer.
   */
  auditEvents(
    query?: Omit<Query<'listAuditEvents'>, 'after'>,
    o?: CallOptions
  ): AsyncGenerator<Answer<'listAuditEvents'>[number], void> {
    return this.#pages('listAuditEvents', { profile: this.profile, ...query }, o)
  }

  async *#pages<O extends 'listKeys' | 'listAuditEvents'>(operation: O, query: object, o?: CallOptions) {
    for (let after: string | null | undefined; after !== null; ) {
      const { answer, headers } = await this.send(operation, { ...o, query: { ...query, after } as any })
      yield* answer as Answer<O>[number][]
      const next = /<(.*?)>/.exec(headers.get('Link') ?? '')
      after = next && new URL(next[1]!, this.url).searchParams.get('after')
    }
  }

  /** Call an operation with its members, and with options of the operation and of every call. */
  protected call<O extends Operation>(operation: O, members: object, o: CallOptions = {}): Promise<Answer<O>> {
    const { path, takes } = described(operation)
    // `profile` among the members is the kind of a certificate, and among the options the profile of the call.
    const { signal, timeout, profile, requestId, ...rest } = o
    const given: Record<string, any> = { ...rest, ...members }
    const parameters = { ...given }
    delete given[/{(\w+)}/.exec(path)?.[1] ?? '']
    return this.request(operation, { ...o, path: parameters, [takes]: given } as any)
  }
}

export interface Minikms extends Methods {}

/** Take the name of a key: a key of the service has other members, too. */
function named({ kid, alias, jwk }: { kid?: string | undefined; alias?: string | undefined; jwk?: unknown }) {
  return kid !== undefined ? { kid } : alias !== undefined ? { alias } : { jwk }
}

for (const operation of Object.keys(operations) as Operation[]) {
  const { positional, result, sent } = described(operation)
  Minikms.prototype[operation] ??= async function (this: Minikms, ...given: any[]) {
    const members = positional.map((name, at) =>
      name === '@' ? named(given[at]) : { [name]: sent.includes(name) ? bytesOf(given[at]) : given[at] }
    )
    const answer: any = await this.call(operation, Object.assign({}, ...members), given[positional.length])
    return result ? answer[result] : answer
  } as any
}
