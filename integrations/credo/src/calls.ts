import { type AgentContext, Kms } from '@credo-ts/core'
import type { Minikms } from '@minikms/client'

import { type Algorithm, callMinikms, type Key, type KeyName, type MinikmsClientOptions, MinikmsProblem } from './client.js'
import { type DecisiveJwk, decisiveJwk } from './jwk.js'

const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/

/** Calls to Mini KMS on keys that Credo names; problems become errors of Credo. */
export class KeyCalls {
  readonly #options: MinikmsClientOptions
  readonly #backend: string
  readonly #algorithms: ReadonlyMap<string, Algorithm>

  public constructor(options: MinikmsClientOptions, backend: string, algorithms: ReadonlyMap<string, Algorithm>) {
    this.#options = options
    this.#backend = backend
    this.#algorithms = algorithms
  }

  /** The key with a keyId, which is its kid or an alias. */
  public async key(context: AgentContext, keyId: string): Promise<Key> {
    return this.use(context, keyId, (kms, name) => kms.getKey(name))
  }

  /** The key with a keyId, if Credo allows the requested use. */
  public async allowedKey(context: AgentContext, keyId: string, assertAllowed: (jwk: DecisiveJwk) => void): Promise<Key> {
    const key = await this.key(context, keyId)
    assertAllowed(decisiveJwk(key, this.#algorithms.get(key.alg)?.jose_algs[0] ?? key.alg))
    return key
  }

  /** The result of `call` for the kid, or for the alias if no key has the kid. */
  public async use<T>(
    context: AgentContext,
    keyId: string,
    call: (kms: Minikms, name: KeyName) => Promise<T>
  ): Promise<T> {
    if (THUMBPRINT.test(keyId)) {
      try {
        return await callMinikms(this.#options, context, (kms) => call(kms, { kid: keyId }))
      } catch (error) {
        if (!(error instanceof MinikmsProblem && error.slug === 'key-not-found')) throw this.#error(error, keyId)
      }
    }
    return this.call(context, keyId, (kms) => call(kms, { alias: keyId }))
  }

  /** The result of a call that already names its key, if any. */
  public async call<T>(context: AgentContext, keyId: string | undefined, call: (kms: Minikms) => Promise<T>): Promise<T> {
    try {
      return await callMinikms(this.#options, context, call)
    } catch (error) {
      throw this.#error(error, keyId)
    }
  }

  #error(error: unknown, keyId = ''): Error {
    if (error instanceof Kms.KeyManagementError) return error
    const slug = error instanceof MinikmsProblem ? error.slug : undefined
    switch (slug) {
      case 'key-not-found':
      case 'alias-not-found':
        return new Kms.KeyManagementKeyNotFoundError(keyId, [this.#backend])
      case 'alias-exists':
        return new Kms.KeyManagementKeyExistsError(keyId, this.#backend)
      case 'unsupported-algorithm':
      case 'unsupported-operation':
      case 'unsupported-option':
        return new Kms.KeyManagementAlgorithmNotSupportedError(`this: ${(error as Error).message}`, this.#backend)
      default:
        return new Kms.KeyManagementError(asError(error).message, { cause: asError(error) })
    }
  }
}

/** The answer of a call; if the call fails and Credo's own check fails, too, the error of the check is thrown. */
export async function explained<T>(call: () => Promise<T>, check: () => unknown): Promise<T> {
  try {
    return await call()
  } catch (error) {
    await check()
    throw error
  }
}

/** A thrown value, which need not be an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
