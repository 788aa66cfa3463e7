import type { AgentContext } from '@credo-ts/core'

/** A value for every agent context, or a function that returns it for one, such as a tenant of an agent. */
export type PerContext<T> = T | ((agentContext: AgentContext) => T)

export interface MinikmsClientOptions {
  /** The URL of the service. */
  url: string
  /** The token of the caller. A function is called again for each call. */
  token?: PerContext<string | undefined>
  /** The profile that has the keys; the service's default without it. */
  profile?: PerContext<string | undefined>
  /** The time limit of a call in milliseconds, by default 30,000. */
  timeout?: number
}

/** A problem (RFC 9457) from the service. Its outcome is unknown if the call may have changed something. */
export class MinikmsProblem extends Error {
  public constructor(
    public readonly slug: string,
    public readonly status: number,
    detail: string,
    public readonly requestId: string | null,
    public readonly outcome?: 'unknown'
  ) {
    super(detail)
  }
}

export interface Algorithm {
  name: string
  operations: string[]
  opt_in: string[]
  /** The providers that support it now. */
  providers?: string[]
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

const PROBLEM = 'urn:minikms:problem:'

/** The largest answer in bytes, decompressed. */
const LARGEST = 64 * 1024 * 1024

type Json = Record<string, unknown>

/** Calls to the HTTP API of Mini KMS. */
export class MinikmsClient {
  readonly #options: MinikmsClientOptions

  public constructor(options: MinikmsClientOptions) {
    const protocol = URL.canParse(options.url) ? new URL(options.url).protocol : ''
    if (!['http:', 'https:'].includes(protocol)) throw new Error('The url of Mini KMS must begin with http:// or https://.')
    this.#options = options
  }

  /** The JSON of an answer; throws MinikmsProblem for a problem, and another error if Mini KMS does not answer. */
  public async call<T>(context: AgentContext | undefined, method: string, path: string, body?: Json): Promise<T> {
    const headers: Record<string, string> = { Accept: 'application/json' }
    const token = this.#resolve(this.#options.token, context)
    const profile = this.#resolve(this.#options.profile, context)
    if (body) headers['Content-Type'] = 'application/json'
    if (token) headers.Authorization = `Bearer ${headerValue('token', token)}`
    if (profile) headers['X-Profile'] = headerValue('profile', profile)
    const url = new URL(path, this.#options.url)
    const response = await fetch(url, {
      method,
      headers,
      body: body && JSON.stringify(body),
      redirect: 'error',
      signal: AbortSignal.timeout(this.#options.timeout ?? 30_000),
    }).catch((error: Error) => {
      const reason = error.cause instanceof Error ? error.cause.message : error.message
      throw new Error(`${url.origin} does not answer: ${reason}.`, { cause: error })
    })
    const answer = await jsonOf(response).catch(() => undefined)
    if (response.ok && answer) return answer as T
    if (!String(answer?.type).startsWith(PROBLEM)) {
      throw new Error(`The answer ${response.status} of ${url.origin} is not one of Mini KMS.`)
    }
    throw new MinikmsProblem(
      String(answer?.type).slice(PROBLEM.length),
      response.status,
      String(answer?.detail),
      response.headers.get('X-Request-Id'),
      answer?.outcome === 'unknown' ? 'unknown' : undefined
    )
  }

  #resolve<T>(value: PerContext<T | undefined> | undefined, context: AgentContext | undefined): T | undefined {
    if (typeof value !== 'function') return value
    return context && (value as (agentContext: AgentContext) => T | undefined)(context)
  }
}

/** A value for a header; throws if a header cannot hold it. The error of `fetch` would show the value, a secret token. */
function headerValue(name: string, value: string): string {
  const trimmed = value.trim()
  if (/[^ -~]/.test(trimmed)) throw new Error(`The ${name} of Mini KMS has a character that is not visible ASCII.`)
  return trimmed
}

/** The JSON object or array of an answer; throws for anything else, and closes the connection if it is too large. */
async function jsonOf(response: Response): Promise<Json> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += part.length
    if (size > LARGEST) throw new Error('The answer is too large.')
    parts.push(part)
  }
  const answer: unknown = JSON.parse(Buffer.concat(parts).toString())
  if (typeof answer !== 'object' || answer === null) throw new Error('The answer is no object.')
  return answer as Json
}
