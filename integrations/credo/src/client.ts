import type { AgentContext } from '@credo-ts/core'
import { Minikms, ProblemError, type Schemas } from '@minikms/client'

export type { Key, KeyName } from '@minikms/client'

export type Algorithm = Schemas['Algorithm']

/**
 * A value for every agent context, or a function that returns it for one, such as a tenant of an agent. Without a parameter, it is
 * also called to connect.
 */
export type PerContext<T> = T | ((agentContext: AgentContext) => T)

export interface MinikmsClientOptions {
  /** The URL of the service. */
  url: string
  /** The token of the caller. A function is called again for each call, and if its token is refused. */
  token?: PerContext<string | undefined>
  /** A file with the token, which somebody may renew at any time. */
  tokenFile?: PerContext<string | undefined>
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
  { url, token, tokenFile, profile, timeout }: MinikmsClientOptions,
  context: AgentContext | undefined,
  call: (kms: Minikms) => Promise<T>
): Promise<T> {
  // Empty without a value, so that the client does not read the environment.
  const resolve = (value: PerContext<string | undefined>): string => {
    if (typeof value !== 'function') return value?.trim() ?? ''
    if (!context && value.length > 0) return ''
    return value(context as AgentContext)?.trim() ?? ''
  }
  const caller =
    tokenFile === undefined
      ? { token: () => resolve(token) }
      : { token: token && '', tokenFile: resolve(tokenFile) } // the client refuses both
  try {
    // Without retries: `timeout` is the limit of the whole call, and a key is made once or its outcome is unknown.
    return await call(new Minikms({ url, ...caller, profile: resolve(profile), timeout, retries: 0 }))
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    throw new MinikmsProblem(error.slug, error.status, error.detail, error.requestId ?? null, error.outcome)
  }
}
