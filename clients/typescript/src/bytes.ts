import type { Data } from './types.js'

/** The bytes of `data`; a string is its UTF-8. Throws TypeError for anything else, and never takes it for no bytes. */
export function bytesOf(data: Data): Uint8Array<ArrayBuffer> {
  if (typeof data === 'string' && !/\p{Surrogate}/u.test(data)) return new TextEncoder().encode(data)
  try {
    // DataView refuses what is not a buffer, and takes one of another realm, such as that of a test runner.
    const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(data) ? data : new DataView(data as ArrayBuffer)
    return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)
  } catch {
    throw new TypeError('Data is a view such as Uint8Array, a buffer, or a string without lone surrogates.')
  }
}

/** The bytes of the payload of a JWS: an object is its JSON. Throws TypeError for a promise and others that are not data. */
export function payloadOf(payload: Data | object): Uint8Array<ArrayBuffer> {
  const isJson = Array.isArray(payload) || Object.prototype.toString.call(payload) === '[object Object]'
  return bytesOf(isJson ? JSON.stringify(payload) : (payload as Data))
}

/** Encode bytes as base64url without padding (RFC 4648 section 5). */
export function encode(data: Data): string {
  const bytes = bytesOf(data)
  let binary = ''
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** Decode base64url, with or without padding; throws an error for other text. */
export function decode(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0))
}
