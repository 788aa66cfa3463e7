import { expect, test } from 'vitest'

import { decode, encode } from '../src/bytes.js'
import { fromHex, hex, toBytes, toNumber } from '../src/hex.js'
import { base58 } from '../src/public.js'

// Lengths around the parts in which base64url is encoded.
test.each([0, 1, 2, 3, 8191, 8192, 8193, 16_384, 16_385, 40_000])(
  '%i bytes are the same in base64url and hexadecimal',
  (length) => {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 7 + length) % 256)
    expect(encode(bytes)).toBe(Buffer.from(bytes).toString('base64url'))
    expect(Buffer.from(decode(encode(bytes)))).toEqual(Buffer.from(bytes))
    expect(hex(bytes)).toBe(Buffer.from(bytes).toString('hex'))
    expect(Buffer.from(fromHex(`0x${hex(bytes)}`))).toEqual(Buffer.from(bytes))
  }
)

test('base64url is read with and without padding, and nothing else is', () => {
  for (const text of ['-_8', '-_8=']) expect([...decode(text)]).toEqual([0xfb, 0xff])
  for (const text of ['a', '*', 'ä']) expect(() => decode(text)).toThrow()
})

test('zeros at the start of a number, of hexadecimal and of base58 stay', () => {
  expect([...fromHex('0x0001')]).toEqual([0, 1])
  expect([...fromHex('0001')]).toEqual([0, 1])
  expect([...toBytes(258n, 4)]).toEqual([0, 0, 1, 2])
  expect(toNumber(Uint8Array.of(0, 1, 2))).toBe(258n)
  expect(base58(Uint8Array.of(0, 0, 0x28, 0x7f, 0xb4, 0xcd))).toBe('11233QC4') // draft-msporny-base58-03
})
