/** How often a call is repeated, and the longest pause before it in milliseconds. */
type Retries = { retries: number; longestWait: number }

/** An answer with an error; without a slug, it is not from Mini KMS. */
type Refusal = { status: number; slug?: string; retryAfter?: number | undefined }

// The service answers these problems before it has done any part of the call.
const REFUSED = ['too-busy', 'too-many-attempts']

// Without a connection nothing was sent: the codes of Node and Bun.
const UNCONNECTED = [
  ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'],
  ...['ConnectionRefused', 'FailedToOpenSocket'],
]

/** Whether a call that makes a key makes one key also if it is sent twice. */
export function isRepeatable(operation: string, body: any): boolean {
  if (operation === 'generateKey') return body.alias && body.alias_taken === 'refuse'
  // A symmetric key has a random kid, so a second import makes a second key.
  return operation === 'importKey' && body.if_exists === 'keep' && body.jwk && !('k' in body.jwk)
}

/**
 * The pause before a call that was answered with an error is repeated; undefined to give up. If the answer is not a problem, it
 * is a proxy's, and the service may have got the call.
 */
export function afterAnswer(settings: Retries, attempt: number, repeatable: boolean, error: Refusal): number | undefined {
  const { status, slug, retryAfter = 0 } = error
  const may = slug
    ? [429, 503].includes(status) && (repeatable || REFUSED.includes(slug))
    : [502, 503, 504].includes(status) && repeatable
  // An earlier call would be over the rate again, but a service may be there earlier than it says.
  if (!may || (status === 429 && retryAfter * 1000 > settings.longestWait)) return undefined
  return pause(settings, attempt, retryAfter)
}

/** The pause before a call without an answer is repeated; undefined to give up. */
export function afterFailure(settings: Retries, attempt: number, repeatable: boolean, code: unknown): number | undefined {
  return repeatable || UNCONNECTED.includes(String(code)) ? pause(settings, attempt) : undefined
}

function pause({ retries, longestWait }: Retries, attempt: number, retryAfter = 0): number | undefined {
  if (attempt >= retries) return undefined
  // Callers who were refused together should not come back together.
  return Math.min(Math.max(0.1 * 2 ** attempt, retryAfter) * 1000 * (1 + 0.2 * Math.random()), longestWait)
}
