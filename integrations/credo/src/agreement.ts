import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'

import { keyBytes } from './content.js'

// RFC 3394 section 2.2.3.1.
const WRAP_IV = Buffer.alloc(8, 0xa6)
const WRAPS: Record<string, number> = { 'ECDH-ES+A128KW': 16, 'ECDH-ES+A192KW': 24, 'ECDH-ES+A256KW': 32 }

/** Key agreements in which a key of Mini KMS takes part by `derive`. */
export const ECDH_ES = ['ECDH-ES', ...Object.keys(WRAPS)]

export interface Parties {
  alg: string
  enc: string
  apu?: Uint8Array | undefined
  apv?: Uint8Array | undefined
}

/** A content encryption key for a recipient, and its wrapped form if the algorithm wraps it (RFC 7518 section 4.6). */
export function makeContentKey(secret: Uint8Array, parties: Parties): { key: Buffer; wrapped?: Uint8Array<ArrayBuffer> } {
  const agreed = agreedKey(secret, parties)
  if (parties.alg === 'ECDH-ES') return { key: agreed }
  const key = randomBytes(keyBytes(parties.enc))
  const cipher = createCipheriv(wrapCipher(agreed), agreed, WRAP_IV)
  return { key, wrapped: new Uint8Array(Buffer.concat([cipher.update(key), cipher.final()])) }
}

/** The content encryption key of a message; throws if the wrapped key does not decrypt. */
export function readContentKey(secret: Uint8Array, parties: Parties, wrapped: Uint8Array | undefined): Buffer {
  const agreed = agreedKey(secret, parties)
  if (parties.alg === 'ECDH-ES') return agreed
  if (!wrapped) throw new Error('The encrypted key is missing.')
  const decipher = createDecipheriv(wrapCipher(agreed), agreed, WRAP_IV)
  return Buffer.concat([decipher.update(wrapped), decipher.final()])
}

function wrapCipher(key: Uint8Array): string {
  return `id-aes${key.length * 8}-wrap`
}

/** The key that both sides compute: Concat KDF with SHA-256 (NIST SP 800-56A, RFC 7518 section 4.6.2). */
function agreedKey(secret: Uint8Array, { alg, enc, apu, apv }: Parties): Buffer {
  const isDirect = alg === 'ECDH-ES'
  const length = isDirect ? keyBytes(enc) : WRAPS[alg]
  if (!length) throw new Error(`${alg} is not a key agreement.`)
  const algorithm = Buffer.from(isDirect ? enc : alg, 'ascii')
  const info = [prefixed(algorithm), prefixed(apu), prefixed(apv), uint32(length * 8)]
  const rounds = Array.from({ length: Math.ceil(length / 32) }, (_, index) =>
    createHash('sha256')
      .update(Buffer.concat([uint32(index + 1), secret, ...info]))
      .digest()
  )
  return Buffer.concat(rounds).subarray(0, length)
}

function prefixed(data: Uint8Array = new Uint8Array()): Buffer {
  return Buffer.concat([uint32(data.length), data])
}

function uint32(number: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(number)
  return bytes
}
