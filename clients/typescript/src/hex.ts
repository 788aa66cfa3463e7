/** Encode as hexadecimal. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Decode hexadecimal, also with 0x. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.replace(/^0x/, '').match(/../g) ?? [], (pair) => parseInt(pair, 16))
}

/** Read a number, the highest byte first. */
export function toNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${hex(bytes)}`)
}

/** Write a number in so many bytes, the highest first. */
export function toBytes(number: bigint, length: number): Uint8Array {
  return fromHex(number.toString(16).padStart(length * 2, '0'))
}
