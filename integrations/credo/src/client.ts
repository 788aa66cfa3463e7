import type { AgentContext } from '@credo-ts/core'
import { Minikms, ProblemError, type Schemas } from '@minikms/client'

export type { Key, KeyName } from '@minikms/client'

export type Algorithm = Schemas['Algorithm']

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

/** Make a call for an agent context, or for none; throws MinikmsProblem for a problem, and errors of the client. */
export async function callMinikms<T>(
  { url, token, profile, timeout }: MinikmsClientOptions,
  context: AgentContext | undefined,
  call: (kms: Minikms) => Promise<T>
): Promise<T> {
  // Empty without a value, so that the client does not read the environment.
  const resolve = (value: PerContext<string | undefined>) =>
    (typeof value === 'function' ? context && value(context) : value)?.trim() ?? ''
  try {
    // Without retries: `timeout` is the limit of the whole call, and a key is made once or its outcome is unknown.
    return await call(new Minikms({ url, token: resolve(token), profile: resolve(profile), timeout, retries: 0 }))
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    throw new MinikmsProblem(error.slug, error.status, error.detail, error.requestId ?? null, error.outcome)
  }
}
