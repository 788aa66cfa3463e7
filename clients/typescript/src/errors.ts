import type { components } from './openapi.js'

const PREFIX = 'urn:minikms:problem:'

/** The slugs of the problems that the service answers. */
export type Slug = components['schemas']['ProblemType'] extends `${typeof PREFIX}${infer Name}` ? Name : never

/** The base of all errors of this package. None shows a token. */
export class MinikmsError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** A URL, profile, token or name is unusable. */
export class InvalidSetting extends MinikmsError {}

/**
 * No answer came: the service cannot be reached, or the time limit passed. Its `cause` has the name, the message and the code of
 * the error of `fetch`, without its other members, which may contain the token.
 */
export class Unreachable extends MinikmsError {
  /** The code of the platform, such as ECONNREFUSED; ETIMEDOUT if the time limit passed. */
  readonly code: string | undefined

  constructor(message: string, cause?: Error & { code?: string | undefined }) {
    super(message, { cause })
    this.code = cause?.code
  }
}

/** An answer that is not from Mini KMS but perhaps from a proxy, or a redirection, or one that is too large. */
export class UnexpectedAnswer extends MinikmsError {
  constructor(
    readonly status: number,
    /** The seconds after which the call may be repeated, if the answer has them. */
    readonly retryAfter?: number | undefined
  ) {
    super(`The answer ${status} is not from Mini KMS.`)
  }
}

/** A problem as the service answers it. */
export interface Problem {
  slug: Slug | (string & {})
  status: number
  title: string
  detail: string
  /** The faults, each with a JSON pointer into the request. */
  errors: { pointer: string; detail: string }[]
  /** The id of the call, which is in the log of the service. */
  requestId?: string | undefined
  /** The seconds after which the call may be repeated. */
  retryAfter?: number | undefined
  /** `unknown` if the call may have changed something nevertheless. */
  outcome?: 'unknown' | undefined
  /** The approval that the call waits for. */
  approval?: components['schemas']['Approval'] | undefined
}

/** A problem (RFC 9457) that the service answered. Rely on its class or its slug: `title` and `detail` are for people. */
export class ProblemError extends MinikmsError implements Problem {
  declare readonly slug: Problem['slug']
  declare readonly status: number
  declare readonly title: string
  declare readonly detail: string
  declare readonly errors: Problem['errors']
  declare readonly requestId?: string | undefined
  declare readonly retryAfter?: number | undefined
  declare readonly outcome?: 'unknown' | undefined
  declare readonly approval?: components['schemas']['Approval'] | undefined

  constructor(problem: Problem) {
    super([problem.detail, ...problem.errors.map(({ pointer, detail }) => `${pointer}: ${detail}`)].join(' '))
    Object.assign(this, problem)
  }
}

/** The key, alias, profile or token of the call does not exist. */
export class NotFound extends ProblemError {}

/** The present state does not allow the call. */
export class Conflict extends ProblemError {}

/** The service does not accept the arguments of the call. */
export class Invalid extends ProblemError {}

/** The service cannot answer now; the call may be repeated later. */
export class Unavailable extends ProblemError {}

/** The body is not JSON in UTF-8 (RFC 8259). */
export class MalformedJson extends ProblemError {}

/** The HTTP message itself cannot be read. */
export class BadRequest extends ProblemError {}

/** A profile of this name exists already. */
export class ProfileExists extends ProblemError {}

/** The token is missing or not valid (RFC 6750 section 3). */
export class Unauthenticated extends ProblemError {}

/** The caller is authenticated but lacks the scope (RFC 6750 section 3.1). */
export class Forbidden extends ProblemError {}

/** No route has this path. */
export class RouteNotFound extends NotFound {}

/** The profile has no key with this kid. */
export class KeyNotFound extends NotFound {}

/** The profile has no key with this alias. */
export class AliasNotFound extends NotFound {}

/** There is no profile of this name. */
export class ProfileNotFound extends NotFound {}

/** There is no token of this id. */
export class TokenNotFound extends NotFound {}

/** The path exists, but not for this method; `Allow` lists its methods. */
export class MethodNotAllowed extends ProblemError {}

/** The caller did not send its request in time. */
export class RequestTimeout extends ProblemError {}

/** The profile has a key with this kid already. */
export class KeyExists extends Conflict {}

/** The alias already names another key, and the caller asked for a refusal. */
export class AliasExists extends Conflict {}

/** The next key is missing, or has not been published for as long as the call asks. */
export class TooEarly extends Conflict {}

/** The key's state does not allow the operation, or its algorithm is not installed. */
export class KeyNotUsable extends Conflict {}

/** The key was not made exportable. */
export class NotExportable extends ProblemError {}

/** A rule of the key does not allow the signature; `detail` names the rule. */
export class RuleViolated extends ProblemError {}

/** The use of the key needs approvals: `approval` is the one to wait for. Then repeat the call. */
export class ApprovalRequired extends ProblemError {}

/** No use waits for an approval with this id: it has expired, or was used or withdrawn. */
export class ApprovalNotFound extends NotFound {}

/** The proof is not an approver's signature of the approval. */
export class InvalidApproval extends Invalid {}

/** Too many uses of the key, or in the profile, wait for approvals. */
export class TooManyApprovals extends ProblemError {}

/** The new rules would allow more than the key's rules do. */
export class RulesLoosened extends Conflict {}

/** The profile is frozen: nothing in it changes. */
export class ProfileFrozen extends Conflict {}

/** The default profile cannot be deleted. */
export class ProfileProtected extends Conflict {}

/** The body is over the service's limit. */
export class BodyTooLarge extends ProblemError {}

/** The body has a media type that the service does not read. */
export class UnsupportedMediaType extends ProblemError {}

/** The request is addressed to another host (RFC 9110 section 15.5.20). */
export class MisdirectedRequest extends ProblemError {}

/** A field or parameter is missing, unknown or malformed; `errors` names it. */
export class ValidationFailed extends Invalid {}

/** The key has reached its limit of aliases. */
export class TooManyAliases extends Invalid {}

/** The labels or aliases of a key, or the labels and rules of a batch, are too large. */
export class TooLargeRecord extends Invalid {}

/** No algorithm has this name or alias. */
export class UnsupportedAlgorithm extends Invalid {}

/** The algorithm cannot do this. */
export class UnsupportedOperation extends Invalid {}

/** The algorithm can do this, but not with this option. */
export class UnsupportedOption extends Invalid {}

/** The material is not a key of its algorithm. */
export class InvalidKey extends Invalid {}

/** A certificate, its chain, or a name in it is not valid, or does not fit the key. */
export class InvalidCertificate extends Invalid {}

/** A key cannot be attested: exportable, imported, not usable, or not of this profile. */
export class NotAttestable extends Invalid {}

/** The bytes are not the COSE message or the CBOR map that the call takes. */
export class InvalidCose extends Invalid {}

/** The ciphertext, tag, nonce or wrapped key does not fit; no more is disclosed. */
export class DecryptionFailed extends Invalid {}

/** The profile has reached its limit of keys. */
export class TooManyKeys extends Invalid {}

/** A profile has reached its limit of tokens. */
export class TooManyTokens extends Invalid {}

/** A key or a profile is used more often than allowed; `retryAfter` has the seconds to wait. */
export class OverRate extends ProblemError {}

/** Too many invalid tokens came from one address. */
export class TooManyAttempts extends ProblemError {}

/** The request line or a header is over the service's limit (RFC 6585 section 5). */
export class HeadersTooLarge extends ProblemError {}

/** The service is at its limit of work; the caller may try again. */
export class TooBusy extends Unavailable {}

/** The store does not answer; the caller may try again. */
export class StoreUnavailable extends Unavailable {}

/** The store answers, but cancelled a statement that took too long. */
export class Timeout extends StoreUnavailable {}

/** The provider of the key does not answer; the caller may try again. */
export class ProviderUnavailable extends Unavailable {}

/** The service is shutting down and should get no new calls. */
export class ShuttingDown extends Unavailable {}

/** The call cannot be recorded, so it was not performed. */
export class AuditUnavailable extends Unavailable {}

/** The stored key does not decrypt: it was changed outside the service. */
export class KeyUnreadable extends ProblemError {}

/** A bug; the log has the traceback under the id that `detail` names. */
export class InternalError extends ProblemError {}

// By slug, and by status for slugs of a later service.
const CLASSES: Record<Slug | number, typeof ProblemError> = {
  'malformed-json': MalformedJson,
  'bad-request': BadRequest,
  'profile-exists': ProfileExists,
  unauthenticated: Unauthenticated,
  forbidden: Forbidden,
  'route-not-found': RouteNotFound,
  'key-not-found': KeyNotFound,
  'alias-not-found': AliasNotFound,
  'profile-not-found': ProfileNotFound,
  'token-not-found': TokenNotFound,
  'method-not-allowed': MethodNotAllowed,
  'request-timeout': RequestTimeout,
  'key-exists': KeyExists,
  'alias-exists': AliasExists,
  'too-early': TooEarly,
  'key-not-usable': KeyNotUsable,
  'not-exportable': NotExportable,
  'rule-violated': RuleViolated,
  'approval-required': ApprovalRequired,
  'approval-not-found': ApprovalNotFound,
  'invalid-approval': InvalidApproval,
  'too-many-approvals': TooManyApprovals,
  'rules-loosened': RulesLoosened,
  'profile-frozen': ProfileFrozen,
  'profile-protected': ProfileProtected,
  'body-too-large': BodyTooLarge,
  'unsupported-media-type': UnsupportedMediaType,
  'misdirected-request': MisdirectedRequest,
  'validation-failed': ValidationFailed,
  'too-many-aliases': TooManyAliases,
  'too-large-record': TooLargeRecord,
  'unsupported-algorithm': UnsupportedAlgorithm,
  'unsupported-operation': UnsupportedOperation,
  'unsupported-option': UnsupportedOption,
  'invalid-key': InvalidKey,
  'invalid-certificate': InvalidCertificate,
  'not-attestable': NotAttestable,
  'invalid-cose': InvalidCose,
  'decryption-failed': DecryptionFailed,
  'too-many-keys': TooManyKeys,
  'too-many-tokens': TooManyTokens,
  'over-rate': OverRate,
  'too-many-attempts': TooManyAttempts,
  'headers-too-large': HeadersTooLarge,
  'too-busy': TooBusy,
  'store-unavailable': StoreUnavailable,
  timeout: Timeout,
  'provider-unavailable': ProviderUnavailable,
  'shutting-down': ShuttingDown,
  'audit-unavailable': AuditUnavailable,
  'key-unreadable': KeyUnreadable,
  'internal-error': InternalError,
  404: NotFound,
  409: Conflict,
  422: Invalid,
  503: Unavailable,
}

/** Whether an error is a problem of the service: with one of the slugs, if some are given. */
export function isProblem<S extends Slug = Slug>(error: unknown, ...slugs: S[]): error is ProblemError & { slug: S } {
  return error instanceof ProblemError && (slugs.length === 0 || (slugs as string[]).includes(error.slug))
}

/** The seconds in `Retry-After`, if it does not have a date. */
export function retryAfterOf(headers: Headers): number | undefined {
  const after = headers.get('Retry-After') ?? ''
  return /^\d+$/.test(after) ? +after : undefined
}

/** Make the error of a problem in JSON; throws an error for other JSON. A slug of a later service has the class of its status. */
export function problemOf(json: components['schemas']['Problem'], headers: Headers): ProblemError {
  const [, slug] = json.type.split(PREFIX) as [string, Slug]
  if (!slug) throw new TypeError('The type has no slug.')
  const { status, title, detail, errors = [], outcome, approval } = json
  // Every object has a member `constructor`, which is no class of errors.
  const known = [slug, status].find((name) => Object.hasOwn(CLASSES, name))
  return new (CLASSES[known!] ?? ProblemError)({
    ...{ slug, status, title, detail, errors, outcome, approval },
    requestId: headers.get('X-Request-Id') ?? undefined,
    retryAfter: retryAfterOf(headers),
  })
}
