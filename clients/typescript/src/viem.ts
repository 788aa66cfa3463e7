import {
  type Hex,
  hashMessage,
  hashTypedData,
  keccak256,
  type LocalAccount,
  parseSignature,
  serializeSignature,
  serializeTransaction,
  toHex,
} from 'viem'
import { publicKeyToAddress, toAccount } from 'viem/accounts'
// By its name, since versions before EIP-7702 do not have hashAuthorization.
import * as utils from 'viem/utils'

import { fromHex } from './hex.js'
import type { RemoteKey } from './key.js'
import { signRecoverable, uncompressed } from './secp256k1.js'

/** An account of viem by a key of secp256k1. */
export function viemAccount(key: RemoteKey): LocalAccount {
  const publicKey = toHex(uncompressed(key))
  const sign = async (hash: Hex): Promise<Hex> => {
    const { r, s, recovery } = await signRecoverable(key, fromHex(hash))
    return serializeSignature({ r: toHex(r), s: toHex(s), yParity: recovery })
  }
  const account = toAccount({
    address: publicKeyToAddress(publicKey),
    sign: ({ hash }) => sign(hash),
    signMessage: ({ message }) => sign(hashMessage(message)),
    signTypedData: (data) => sign(hashTypedData(data as Parameters<typeof hashTypedData>[0])),
    async signAuthorization(request) {
      const { address = request.contractAddress!, chainId, nonce } = request
      return {
        address,
        chainId,
        nonce,
        ...parseSignature(await sign(utils.hashAuthorization({ address, chainId, nonce }))),
      } as any
    },
    async signTransaction(transaction, { serializer = serializeTransaction } = {}) {
      const write = serializer as typeof serializeTransaction
      // The blobs of a transaction are not signed (EIP-4844).
      const signed = transaction.type === 'eip4844' ? { ...transaction, sidecars: false as const } : transaction
      const signature = await sign(keccak256(await write(signed as any)))
      return write(transaction as any, parseSignature(signature))
    },
  })
  return { ...account, publicKey, source: 'minikms' } as LocalAccount
}
