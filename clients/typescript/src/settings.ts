import { InvalidSetting } from './errors.js'

/** A token, or a function that returns it and is called for each call. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>)

// The most bytes of a token file: the service accepts tokens of up to 16 KiB, and white space may surround the token.
const LARGEST = 17 * 1024

export interface Settings {
  /** The URL of the service; MINIKMS_URL if absent, and without it http://127.0.0.1:8080. */
  url?: string
  /** The token of the caller; MINIKMS_TOKEN if it and `tokenFile` are absent. An empty text means no token. */
  token?: TokenSource
  /** A file with the token, which somebody may renew at any time; MINIKMS_TOKEN_FILE if there is no token. */
  tokenFile?: string
  /** The profile that has the keys; MINIKMS_PROFILE if absent, and without it the default of the service. */
  profile?: string
  /** The time limit of each attempt in milliseconds, by default 30,000. */
  timeout?: number
  /** How often a call that is refused for the moment is repeated, by default 6 times. */
  retries?: number
  /** The longest pause before a repetition in milliseconds, by default 10,000. */
  longestWait?: number
  /** A `fetch` to use in place of the global one, such as one with certificates. */
  fetch?: typeof fetch
}

/** A variable of the environment; undefined if it is empty, or where there is none. */
export function variable(name: string): string | undefined {
  return globalThis.process?.env?.[name] || undefined
}

/** The token of the settings or the environment. A file is read for each attempt, since its token may be replaced at any time. */
export function tokenSource({ token, tokenFile }: Settings): TokenSource {
  if (token !== undefined && tokenFile !== undefined) throw new InvalidSetting('Give a token or a tokenFile, not both.')
  const given = token ?? (tokenFile === undefined ? variable('MINIKMS_TOKEN') : undefined)
  const file = tokenFile ?? variable('MINIKMS_TOKEN_FILE')
  return given ?? (file ? () => tokenOfFile(file) : '')
}

/** Throws InvalidSetting, without the content of the file, if it has no token. */
async function tokenOfFile(file: string): Promise<string> {
  let content = ''
  try {
    // Not imported, so that bundlers for browsers do not look for it.
    const { createReadStream } = process.getBuiltinModule('node:fs')
    for await (const part of createReadStream(file, { encoding: 'latin1', end: LARGEST })) content += part
  } catch (error: any) {
    throw new InvalidSetting(`The token file ${file} cannot be read: ${error.code ?? error.message}.`)
  }
  if (content.length > LARGEST) throw new InvalidSetting(`The token file ${file} is larger than 17 KiB.`)
  const token = content.trim()
  if (!token) throw new InvalidSetting(`The token file ${file} is empty.`)
  return token
}

/** The URL without slashes at its end. Throws InvalidSetting without quoting the URL, which may contain a password. */
export function checkedUrl(url: string): string {
  const { protocol, username, password } = URL.canParse(url) ? new URL(url) : ({} as URL)
  if (!/^https?:$/.test(protocol) || username || password) {
    throw new InvalidSetting('The url must start with http:// or https://, and have no user and no password.')
  }
  return url.replace(/\/+$/, '')
}

/** The value of a header. Throws InvalidSetting without quoting the value; the error of `fetch` would show a token. */
export function headerValue(name: string, value: string): string {
  if (!/^[ -~]+$/.test(value)) throw new InvalidSetting(`The ${name} must be one line of visible ASCII characters.`)
  return value
}
