import { bytesOf } from './bytes.js'

/** Hash by an algorithm of the IANA registry of named information, such as sha-256. */
export async function hash(data: Uint8Array | string | ArrayBuffer, alg: string): Promise<Uint8Array> {
  const bytes = typeof data === 'string' ? bytesOf(data) : (data as ArrayBuffer)
  return new Uint8Array(await crypto.subtle.digest(alg.toUpperCase(), bytes))
}

export async function sha256(data: Uint8Array | string): Promise<Uint8Array> {
  return hash(data, 'sha-256')
}
