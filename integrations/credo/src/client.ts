import type { AgentContext } from '@credo-ts/core'

/** A value for every agent context, or a function that gives it for one, as for each tenant of an agent. */
export type PerContext<T> = T | ((agentContext: AgentContext) => T)

export interface MinikmsClientOptions {
  /** Where the service is. */
  url: string
  /** The token of the caller. A function gives it anew for each call. */
  token?: PerContext<string | undefined>
  /** The profile that has the keys; the service's default without it. */
  profile?: PerContext<string | undefined>
  /** How long a call may take, in milliseconds: 30,000. */
  timeout?: number
}

/** A problem (RFC 9457) that the service answered. */
export class MinikmsProblem extends Error {
  public constructor(
    public readonly slug: string,
    public readonly status: number,
    detail: string,
    public readonly requestId: string | null
  ) {
    super(detail)
  }
}

export interface Algorithm {
  name: string
  operations: string[]
  opt_in: string[]
  jose_algs: string[]
}

export interface Key {
  kid: string
  alg: string
  kty: string
  jwk: Record<string, string> | null
}

/** Names a key: by its kid, or by an alias. */
export type KeyName = { kid: string } | { alias: string }

type Json = Record<string, unknown>

/** Calls to the HTTP API of Mini KMS. */
export class MinikmsClient {
  readonly #options: MinikmsClientOptions

  public constructor(options: MinikmsClientOptions) {
    this.#options = options
  }

  /** The JSON of an answer; throws MinikmsProblem for a problem, and what `fetch` throws. */
  public async call<T>(context: AgentContext | undefined, method: string, path: string, body?: Json): Promise<T> {
    const headers: Record<string, string> = { Accept: 'application/json' }
    const token = this.#resolve(this.#options.token, context)
    const profile = this.#resolve(this.#options.profile, context)
    if (body) headers['Content-Type'] = 'application/json'
    if (token) headers.Authorization = `Bearer ${token}`
    if (profile) headers['X-Profile'] = profile
    const response = await fetch(new URL(path, this.#options.url), {
      method,
      headers,
      body: body && JSON.stringify(body),
      redirect: 'error',
      signal: AbortSignal.timeout(this.#options.timeout ?? 30_000),
    })
    const answer = (await response.json()) as Json
    if (response.ok) return answer as T
    throw new MinikmsProblem(
      String(answer.type).replace('urn:minikms:problem:', ''),
      response.status,
      String(answer.detail),
      response.headers.get('X-Request-Id')
    )
  }

  #resolve<T>(value: PerContext<T | undefined> | undefined, context: AgentContext | undefined): T | undefined {
    if (typeof value !== 'function') return value
    return context && (value as (agentContext: AgentContext) => T | undefined)(context)
  }
}
