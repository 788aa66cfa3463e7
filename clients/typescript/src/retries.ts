import type { ProblemError } from './errors.js'
import type { Operation } from './transport.js'

/** Which calls are repeated, and after which pauses. Times are in milliseconds. */
export interface Retries {
  attempts: number
  longest: number
}

// The service answers these problems before it has done any part of the call.
const REFUSED = ['too-busy', 'too-many-attempts']

// Without a connection nothing was sent: the codes of Node and Bun.
const UNCONNECTED = [
  ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT'],
  ...['ConnectionRefused', 'FailedToOpenSocket'],
]

/** Whether a call that makes a key makes one key also if it is sent twice. */
export function isRepeatable(operation: Operation, body: any): boolean {
  if (operation === 'generateKey') return body.alias && body.alias_taken === 'refuse'
  // A symmetric key has a random kid, so a second import makes a second key.
  return operation === 'importKey' && body.if_exists === 'keep' && body.jwk && !('k' in body.jwk)
}

/** The pause before a call that was answered with a problem is repeated; undefined to give up. */
export function afterProblem(retries: Retries, attempt: number, repeatable: boolean, problem: ProblemError): number | undefined {
  const may = [429, 503].includes(problem.status) && (repeatable || REFUSED.includes(problem.slug))
  return may ? pause(retries, attempt, problem.retryAfter) : undefined
}

/** The pause before a call without an answer is repeated; undefined to give up. */
export function afterFailure(retries: Retries, attempt: number, repeatable: boolean, code: unknown): number | undefined {
  return repeatable || UNCONNECTED.includes(String(code)) ? pause(retries, attempt) : undefined
}

function pause({ attempts, longest }: Retries, attempt: number, retryAfter?: number): number | undefined {
  if (attempt >= attempts) return undefined
  // Callers who were refused together should not come back together.
  const wait = (retryAfter ?? 0.1 * 2 ** attempt) * 1000 * (1 + 0.2 * Math.random())
  return wait <= longest ? wait : undefined
}
