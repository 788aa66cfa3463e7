import { createCipheriv } from 'node:crypto'

const CONSTANTS = Buffer.from('expand 32-byte k', 'ascii')

/** The key and iv of ChaCha20 for a key and iv of XChaCha20 (draft-irtf-cfrg-xchacha-03 section 2.3). */
export function chachaInputs(key: Uint8Array, iv: Uint8Array): { key: Uint8Array; iv: Uint8Array } {
  const head = Buffer.from(iv.subarray(0, 16))
  const block = createCipheriv('chacha20', key, head).update(Buffer.alloc(64))
  // HChaCha20 is the block function of ChaCha20 without its last step, which adds the initial state.
  const subkey = Buffer.concat([subtract(block.subarray(0, 16), CONSTANTS), subtract(block.subarray(48), head)])
  return { key: subkey, iv: Buffer.concat([Buffer.alloc(4), iv.subarray(16)]) }
}

/** The differences of 32-bit words, little-endian. */
function subtract(words: Buffer, others: Buffer): Buffer {
  const differences = Buffer.alloc(words.length)
  for (let at = 0; at < words.length; at += 4) {
    differences.writeUInt32LE((words.readUInt32LE(at) - others.readUInt32LE(at)) >>> 0, at)
  }
  return differences
}
