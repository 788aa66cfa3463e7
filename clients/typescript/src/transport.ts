import { decode, encode } from './bytes.js'
import { InvalidSetting, type MinikmsError, problemOf, retryAfterOf, UnexpectedAnswer, Unreachable } from './errors.js'
import type { components, operations as Documented } from './openapi.js'
import { operations } from './operations.js'
import { afterAnswer, afterFailure, isRepeatable } from './retries.js'
import { checkedUrl, headerValue, type Settings, tokenSource, variable } from './settings.js'
import type { Input, Jwk, Output } from './types.js'

/** The schemas of the OpenAPI document. */
export type Schemas = components['schemas']

/** The name of an operation, as the OpenAPI document has it. */
export type Operation = keyof Documented

type Json<T> = T extends { content: { 'application/json': infer Content } } ? Content : never
type Parameters<O extends Operation, Place extends string> = Documented[O]['parameters'] extends { [P in Place]?: infer T }
  ? NonNullable<T>
  : never

/** The body of an operation, with its bytes as `Data`. */
export type Body<O extends Operation> = Documented[O] extends { requestBody: infer T } ? Input<Json<T>> : never

/** The parameters of an operation in its query. */
export type Query<O extends Operation> = Parameters<O, 'query'>

/** The parameters of an operation in its path. */
export type Path<O extends Operation> = Parameters<O, 'path'>

/** The answer of an operation, with bytes as Uint8Array. */
export type Answer<O extends Operation> = Output<Json<Documented[O]['responses'][200]>>

/** The member of a type, or of one in a union. */
export type Member<T, Name extends string> = T extends { [N in Name]: infer Value } ? Value : never

/** The last argument of a method: the members that are not positional, and the options of every call. */
export type Options<T, Positional extends string> = (T extends unknown ? Omit<T, Positional> : never) & CallOptions

/** Names a key by its kid, for calls with the kid in their path. */
export type Kid = { kid: string }

/** Names a key: by its kid, or by an alias. */
export type KeyName = { kid: string; alias?: string | undefined } | { alias: string; kid?: undefined }

/** Names a key, or is a public key itself. */
export type KeyOrJwk = KeyName | { jwk: Jwk }

/** What each call takes. */
export interface CallOptions {
  signal?: AbortSignal | undefined
  /** The time limit of each attempt in milliseconds. */
  timeout?: number | undefined
  profile?: string | undefined
  /** The id of the call in the log of the service. */
  requestId?: string | undefined
}

export interface RequestOptions<O extends Operation> extends CallOptions {
  body?: Body<O>
  path?: Path<O>
  query?: Query<O>
}

// The most bytes of an answer, decompressed.
const LARGEST = 64 * 1024 * 1024

/** Calls and answers over HTTP. */
export class Transport {
  /** The URL of the service. */
  readonly url: string
  /** The profile of the calls; undefined is the default of the service. */
  readonly profile: string | undefined
  readonly #settings: Required<Omit<Settings, 'profile' | 'tokenFile'>>

  constructor(settings: Settings = {}) {
    this.url = checkedUrl(settings.url ?? variable('MINIKMS_URL') ?? 'http://127.0.0.1:8080')
    this.profile = settings.profile ?? variable('MINIKMS_PROFILE')
    this.#settings = {
      url: this.url,
      token: tokenSource(settings),
      timeout: settings.timeout ?? 30_000,
      retries: settings.retries ?? 6,
      longestWait: settings.longestWait ?? 10_000,
      fetch: settings.fetch ?? ((...call) => fetch(...call)),
    }
  }

  /** A client for another profile. */
  forProfile(profile: string): this {
    return new (this.constructor as new (settings: Settings) => this)({ ...this.#settings, profile })
  }

  /**
   * Call an operation by its `operationId`.
   *
   * @returns The answer in JSON, with its bytes as Uint8Array.
   * @throws ProblemError, Unreachable, UnexpectedAnswer, InvalidSetting, TypeError, or the reason of `signal`.
   */
  async request<O extends Operation>(operation: O, options: RequestOptions<O> = {}): Promise<Answer<O>> {
    return (await this.send(operation, options)).answer
  }

  /**
   * Call an operation as `request` does; return the headers of the answer, too.
   *
   * If a token is refused, and its file or function gives another one now, the attempt is made once more: the service refuses a
   * token before it does anything.
   */
  protected async send<O extends Operation>(
    operation: O,
    options: RequestOptions<O>
  ): Promise<{ answer: Answer<O>; headers: Headers }> {
    const { method, path, sent, received, changes } = described(operation)
    const body = options.body && JSON.stringify(converted(options.body, sent, encode))
    const target = filled(path, options.path) + queryOf(options.query)
    const repeatable = !changes || isRepeatable(operation, options.body)
    const send = (token?: string) => this.#attempt(method, target, body, token, options)
    for (let attempt = 0; ; attempt++) {
      let error: MinikmsError
      let wait: number | undefined
      const token = await this.#token()
      let tried = await send(token)
      if (tried.response?.status === 401) {
        const renewed = await this.#token().catch(() => token) // the refusal says more about the call
        if (renewed !== token) tried = await send(renewed)
      }
      if (tried.response) {
        const { ok, status, headers } = tried.response
        let refusal
        try {
          const json = JSON.parse(tried.text)
          if (ok && json instanceof Object) return { answer: converted(json, received, decode) as Answer<O>, headers }
          refusal = problemOf(json, headers)
        } catch {
          refusal = new UnexpectedAnswer(status, retryAfterOf(headers))
        }
        wait = afterAnswer(this.#settings, attempt, repeatable, (error = refusal))
      } else {
        const { cause } = tried
        wait = afterFailure(this.#settings, attempt, repeatable, cause.code)
        error = new Unreachable(`${this.url} does not answer: ${tried.reason}.`, cause)
      }
      if (wait === undefined) throw error
      await sleep(wait, options.signal)
    }
  }

  /** The token as it is now, fit for a header; throws InvalidSetting. */
  async #token(): Promise<string | undefined> {
    const { token: source } = this.#settings
    const token = typeof source === 'function' ? await source() : source
    return token && headerValue('token', token)
  }

  /** Make one attempt; return the response with its text, or the reason why there is none. */
  async #attempt(method: string, path: string, body: string | undefined, token: string | undefined, options: CallOptions) {
    const { profile = this.profile, requestId, signal } = options
    const { fetch, timeout: limit } = this.#settings
    const headers: Record<string, string> = { Accept: 'application/json' }
    if (body) headers['Content-Type'] = 'application/json'
    if (token) headers.Authorization = `Bearer ${token}`
    if (profile) headers['X-Profile'] = headerValue('profile', profile)
    if (requestId) headers['X-Request-Id'] = headerValue('requestId', requestId)
    const timeout = AbortSignal.timeout(options.timeout ?? limit)
    try {
      const response = await fetch(this.url + path, {
        method,
        headers,
        body: body ?? null,
        redirect: 'manual',
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      })
      return { response, text: await textOf(response) }
    } catch (error: any) {
      signal?.throwIfAborted()
      if (error instanceof UnexpectedAnswer) throw error
      // The error of another `fetch` may have the request, and with it the token.
      const { name, message, code: given } = error.cause ?? error
      const code = timeout.aborted ? 'ETIMEDOUT' : typeof given === 'string' ? given : undefined
      const shown = token ? message.replaceAll(token, '…') : message
      const cause = Object.assign(new Error(shown || code), { name, code })
      return { cause, reason: timeout.aborted ? 'the time limit passed' : (code ?? shown) }
    }
  }
}

/** An operation, as its row of the table says. */
interface Description {
  method: string
  changes: string
  /** Where the parameters are that are not in the path. */
  takes: 'body' | 'query'
  path: string
  result: string | undefined
  positional: string[]
  received: string[]
  sent: string[]
}

/** Read the row of an operation in the table. */
export function described(operation: Operation): Description {
  const [call, result, received, others] = operations[operation].split('|')
  const [, method, changes, inQuery, path, taken] = /^([A-Z]*)(!?)(\??) ?(\S+) ?(.*)/.exec(call!) as unknown as [
    string,
    string,
    string,
    string,
    string,
    string,
  ]
  const names = (text?: string) => (text ? text.split(' ') : [])
  return {
    ...{ path, result, changes, method: method || 'POST' },
    takes: !inQuery && (method || 'POST').startsWith('P') ? 'body' : 'query',
    positional: names(taken.replaceAll('*', '')),
    received: names(received),
    sent: [...(taken.match(/\w+(?=\*)/g) ?? []), ...names(others)],
  }
}

/** Fill the parameters of a path in; throws InvalidSetting for a name that would change the path. */
function filled(path: string, parameters: Record<string, string> = {}): string {
  return path.replace(/{(\w+)}/g, (_, name: string) => {
    const value = parameters[name]
    if (!value || /^\.\.?$/.test(value)) throw new InvalidSetting(`The call needs a ${name}.`)
    return encodeURIComponent(value)
  })
}

function queryOf(query: object = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value ?? []].flat().map((each) => [name, `${each}`]))
  return pairs.length ? `?${new URLSearchParams(pairs)}` : ''
}

/** Convert the named members of JSON; `items.sig` is the member `sig` of each item in the list `items`. */
function converted(json: any, names: string[], convert: (value: any) => unknown): unknown {
  if (!names.length) return json
  const result = { ...json }
  for (const name of names) {
    const [member, inner] = name.split('.') as [string, string?]
    const value = result[member]
    if (value != null) result[member] = inner ? value.map((item: unknown) => converted(item, [inner], convert)) : convert(value)
  }
  return result
}

/** Read the text of an answer; throws UnexpectedAnswer if it is too large, and reads no more of it. */
async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  let size = 0
  for await (const part of (response.body ?? []) as any) {
    size += part.length
    if (size > LARGEST) throw new UnexpectedAnswer(response.status)
    text += decoder.decode(part, { stream: true })
  }
  return text + decoder.decode()
}

function sleep(time: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
      signal?.aborted ? reject(signal.reason) : resolve()
    }
    const timer = setTimeout(stop, time)
    signal?.addEventListener('abort', stop)
  })
}
