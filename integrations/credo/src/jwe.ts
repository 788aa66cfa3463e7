import { Kms } from '@credo-ts/core'

import { encode } from './bytes.js'

interface Message {
  alg: string
  enc: string
  epk: Kms.KmsJwkPublic
  apu?: Uint8Array | undefined
  apv?: Uint8Array | undefined
  aad?: Uint8Array | undefined
  encryptedKey?: Uint8Array | undefined
  iv: Uint8Array
  encrypted: Uint8Array
  tag: Uint8Array
}

/**
 * The compact JWE (RFC 7516) of the parts of a message; undefined if they do not form one.
 *
 * The `aad` of a JWE is its protected header. If it has everything that the caller passes, Mini KMS opens the message
 * itself, and no shared secret leaves it.
 */
export function compactJwe(message: Message): string | undefined {
  const head = Buffer.from(message.aad ?? []).toString('latin1')
  const header = parse(head)
  if (!header || header.alg !== message.alg || header.enc !== message.enc) return undefined
  if (!isSame(header.epk, message.epk) || !hasText(header, 'apu', message.apu) || !hasText(header, 'apv', message.apv)) {
    return undefined
  }
  const parts = [message.encryptedKey ?? new Uint8Array(), message.iv, message.encrypted, message.tag]
  return [head, ...parts.map(encode)].join('.')
}

function parse(head: string): Record<string, unknown> | undefined {
  if (!/^[A-Za-z0-9_-]+$/.test(head)) return undefined
  try {
    const header: unknown = JSON.parse(Buffer.from(head, 'base64url').toString('utf8'))
    return typeof header === 'object' && header !== null ? (header as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function isSame(epk: unknown, expected: Kms.KmsJwkPublic): boolean {
  if (typeof epk !== 'object' || epk === null) return false
  const found = epk as Record<string, unknown>
  const wanted = expected as unknown as Record<string, unknown>
  return ['kty', 'crv', 'x', 'y'].every((member) => found[member] === wanted[member])
}

function hasText(header: Record<string, unknown>, member: string, bytes: Uint8Array | undefined): boolean {
  return header[member] === (bytes && bytes.length > 0 ? encode(bytes) : undefined)
}
