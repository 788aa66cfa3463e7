import { createCipheriv, createDecipheriv, createHmac, randomBytes, timingSafeEqual, type CipherGCMTypes } from 'node:crypto'

import { chachaInputs } from './xchacha.js'

/** The ciphertext of a JWE (RFC 7516). */
export interface Sealed {
  encrypted: Uint8Array<ArrayBuffer>
  iv: Uint8Array<ArrayBuffer>
  tag: Uint8Array<ArrayBuffer>
}

interface ContentEncryption {
  keyBytes: number
  ivBytes: number
  cipher: string
  hash?: string
  /** Makes the key and iv of the cipher, if they differ. */
  inputs?: (key: Uint8Array, iv: Uint8Array) => CipherInputs
}

interface CipherInputs {
  key: Uint8Array
  iv: Uint8Array
}

const TAG_BYTES = 16

/** Content encryptions that are computed here, with a key of the caller or an agreed one. */
export const CONTENT_ENCRYPTIONS: Record<string, ContentEncryption> = {
  A128GCM: { keyBytes: 16, ivBytes: 12, cipher: 'aes-128-gcm' },
  A192GCM: { keyBytes: 24, ivBytes: 12, cipher: 'aes-192-gcm' },
  A256GCM: { keyBytes: 32, ivBytes: 12, cipher: 'aes-256-gcm' },
  C20P: { keyBytes: 32, ivBytes: 12, cipher: 'chacha20-poly1305' },
  XC20P: { keyBytes: 32, ivBytes: 24, cipher: 'chacha20-poly1305', inputs: chachaInputs },
  'A128CBC-HS256': { keyBytes: 32, ivBytes: 16, cipher: 'aes-128-cbc', hash: 'sha256' },
  'A192CBC-HS384': { keyBytes: 48, ivBytes: 16, cipher: 'aes-192-cbc', hash: 'sha384' },
  'A256CBC-HS512': { keyBytes: 64, ivBytes: 16, cipher: 'aes-256-cbc', hash: 'sha512' },
}

/** The number of bytes of a key of a content encryption. */
export function keyBytes(enc: string): number {
  return find(enc).keyBytes
}

/** Encrypt with a key by value (RFC 7518 section 5, RFC 8439, draft-irtf-cfrg-xchacha-03). */
export function encryptContent(
  enc: string,
  key: Uint8Array,
  data: Uint8Array,
  aad: Uint8Array = new Uint8Array(),
  givenIv?: Uint8Array
): Sealed {
  const algorithm = find(enc)
  const iv = givenIv ?? randomBytes(algorithm.ivBytes)
  check(algorithm, key, iv)
  if (algorithm.hash) {
    const half = key.length / 2
    const cipher = createCipheriv(algorithm.cipher, key.subarray(half), iv)
    const encrypted = Buffer.concat([cipher.update(data), cipher.final()])
    const tag = cbcTag(algorithm.hash, key.subarray(0, half), aad, iv, encrypted)
    return sealed(encrypted, iv, tag)
  }
  const inputs = algorithm.inputs?.(key, iv) ?? { key, iv }
  const cipher = createCipheriv(algorithm.cipher as CipherGCMTypes, inputs.key, inputs.iv, { authTagLength: TAG_BYTES })
  cipher.setAAD(aad)
  const encrypted = Buffer.concat([cipher.update(data), cipher.final()])
  return sealed(encrypted, iv, cipher.getAuthTag())
}

/** The plaintext; throws if the tag does not fit. */
export function decryptContent(
  enc: string,
  key: Uint8Array,
  { encrypted, iv, tag }: { encrypted: Uint8Array; iv: Uint8Array; tag: Uint8Array },
  aad: Uint8Array = new Uint8Array()
): Uint8Array<ArrayBuffer> {
  const algorithm = find(enc)
  check(algorithm, key, iv)
  if (algorithm.hash) {
    const half = key.length / 2
    const expected = cbcTag(algorithm.hash, key.subarray(0, half), aad, iv, encrypted)
    if (expected.length !== tag.length || !timingSafeEqual(expected, tag)) throw new Error('The tag does not fit.')
    const decipher = createDecipheriv(algorithm.cipher, key.subarray(half), iv)
    return copy(Buffer.concat([decipher.update(encrypted), decipher.final()]))
  }
  const inputs = algorithm.inputs?.(key, iv) ?? { key, iv }
  const decipher = createDecipheriv(algorithm.cipher as CipherGCMTypes, inputs.key, inputs.iv, { authTagLength: TAG_BYTES })
  decipher.setAAD(aad)
  decipher.setAuthTag(tag)
  return copy(Buffer.concat([decipher.update(encrypted), decipher.final()]))
}

/** The tag of AES-CBC with HMAC (RFC 7518 section 5.2.2.1). */
function cbcTag(hash: string, key: Uint8Array, aad: Uint8Array, iv: Uint8Array, encrypted: Uint8Array): Buffer {
  const aadBits = Buffer.alloc(8)
  aadBits.writeBigUInt64BE(BigInt(aad.length) * 8n)
  const code = createHmac(hash, key).update(aad).update(iv).update(encrypted).update(aadBits).digest()
  return code.subarray(0, code.length / 2)
}

function find(enc: string): ContentEncryption {
  const algorithm = CONTENT_ENCRYPTIONS[enc]
  if (!algorithm) throw new Error(`${enc} is not computed here.`)
  return algorithm
}

function check(algorithm: ContentEncryption, key: Uint8Array, iv: Uint8Array): void {
  if (key.length !== algorithm.keyBytes) throw new Error(`The key must have ${algorithm.keyBytes} bytes.`)
  if (iv.length !== algorithm.ivBytes) throw new Error(`The iv must have ${algorithm.ivBytes} bytes.`)
}

function sealed(encrypted: Uint8Array, iv: Uint8Array, tag: Uint8Array): Sealed {
  return { encrypted: copy(encrypted), iv: copy(iv), tag: copy(tag) }
}

function copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}
