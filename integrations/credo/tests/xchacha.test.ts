import { expect, it } from 'vitest'

import { chachaInputs } from '../src/xchacha.js'
import { bytes, context, newKms } from './kms.js'

const range = (start: number, length: number) => Buffer.from(Array.from({ length }, (_, index) => start + index))

it('has the subkey of draft-irtf-cfrg-xchacha-03, section 2.2.1', () => {
  const head = Buffer.from('000000090000004a0000000031415927', 'hex')
  const { key, iv } = chachaInputs(range(0, 32), Buffer.concat([head, range(1, 8)]))
  expect(Buffer.from(key).toString('hex')).toBe('82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc')
  expect(Buffer.from(iv).toString('hex')).toBe('000000000102030405060708')
})

it('is what Mini KMS computes', async () => {
  const { kms } = await newKms()
  const privateJwk = { kty: 'oct', k: range(128, 32).toString('base64url') } as const
  const { keyId } = await kms.importKey(context, { privateJwk: { ...privateJwk, alg: 'XC20P' } })
  const encryption = { algorithm: 'XC20P', aad: bytes('head') } as const
  const data = bytes('Ladies and Gentlemen')
  for (const [one, other] of [[{ keyId }, { privateJwk }], [{ privateJwk }, { keyId }]] as const) {
    const { encrypted, iv, tag } = await kms.encrypt(context, { key: one as any, encryption, data })
    const decryption = { ...encryption, iv: iv!, tag: tag! }
    expect(await kms.decrypt(context, { key: other as any, decryption, encrypted })).toEqual({ data })
  }
})
