import { bytesOf } from './bytes.js'
import type { Data } from './types.js'

/** Hash by an algorithm of the IANA registry of named information, such as sha-256. */
export async function hash(data: Data, alg: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest(alg.toUpperCase(), bytesOf(data)))
}

export async function sha256(data: Data): Promise<Uint8Array> {
  return hash(data, 'sha-256')
}
