import type { ProblemError } from './errors.js'

/** How often a call is repeated, and the longest pause before it in milliseconds. */
type Retries = { retries: number; longestWait: number }

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

/** The pause before a call that was answered with a problem is repeated; undefined to give up. */
export function afterProblem(settings: Retries, attempt: number, repeatable: boolean, problem: ProblemError): number | undefined {
  const may = [429, 503].includes(problem.status) && (repeatable || REFUSED.includes(problem.slug))
  return may ? pause(settings, attempt, problem.retryAfter) : undefined
}

/** The pause before a call without an answer is repeated; undefined to give up. */
export function afterFailure(settings: Retries, attempt: number, repeatable: boolean, code: unknown): number | undefined {
  return repeatable || UNCONNECTED.includes(String(code)) ? pause(settings, attempt) : undefined
}

function pause({ retries, longestWait }: Retries, attempt: number, retryAfter?: number): number | undefined {
  if (attempt >= retries) return undefined
  // Callers who were refused together should not come back together.
  const wait = (retryAfter ?? 0.1 * 2 ** attempt) * 1000 * (1 + 0.2 * Math.random())
  return wait <= longestWait ? wait : undefined
}
