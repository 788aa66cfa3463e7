import { InvalidSetting } from './errors.js'

/** A token, or a function that returns it and is called for each call. */
export type TokenSource = string | (() => string | undefined | Promise<string | undefined>)

export interface Settings {
  /** The URL of the service; MINIKMS_URL if absent, and without it http://127.0.0.1:8080. */
  url?: string
  /** The token of the caller; MINIKMS_TOKEN if absent, then the content of the file MINIKMS_TOKEN_FILE. An empty one is none. */
  token?: TokenSource
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

/** The token of the environment. A file is read for each attempt, since its token may be replaced at any time. */
export function tokenOfEnvironment(): TokenSource {
  const file = variable('MINIKMS_TOKEN_FILE')
  return variable('MINIKMS_TOKEN') ?? (file ? () => tokenOfFile(file) : '')
}

/** Throws InvalidSetting if the file cannot be read. */
async function tokenOfFile(file: string): Promise<string> {
  try {
    // Not imported, so that bundlers for browsers do not look for it.
    const { readFile } = process.getBuiltinModule('node:fs/promises')
    return (await readFile(file, 'latin1')).trim()
  } catch (error: any) {
    throw new InvalidSetting(`The token file ${file} cannot be read: ${error.code ?? error.message}.`)
  }
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
