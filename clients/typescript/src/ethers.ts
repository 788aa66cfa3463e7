// By its name, since versions before EIP-7702 do not have hashAuthorization.
import * as library from 'ethers'
import {
  AbstractSigner,
  type Addressable,
  type BigNumberish,
  computeAddress,
  getAddress,
  getBigInt,
  getBytes,
  hashMessage,
  hexlify,
  type Numeric,
  type Provider,
  resolveAddress,
  resolveProperties,
  Signature,
  Transaction,
  type TransactionLike,
  type TransactionRequest,
  type TypedDataDomain,
  TypedDataEncoder,
  type TypedDataField,
} from 'ethers'

import type { RemoteKey } from './key.js'
import { signRecoverable, uncompressed } from './secp256k1.js'

/** A signer of ethers by a key of secp256k1. */
export class MinikmsSigner extends AbstractSigner {
  readonly address: string
  readonly #key: RemoteKey

  constructor(key: RemoteKey, provider: Provider | null = null) {
    super(provider)
    this.#key = key
    this.address = computeAddress(hexlify(uncompressed(key)))
  }

  async getAddress(): Promise<string> {
    return this.address
  }

  connect(provider: Provider | null): MinikmsSigner {
    return new MinikmsSigner(this.#key, provider)
  }

  async signTransaction(request: TransactionRequest): Promise<string> {
    const { from, to, ...rest } = request
    const resolved = await resolveProperties({
      ...rest,
      to: to ? resolveAddress(to, this.provider) : undefined,
      from: from ? resolveAddress(from, this.provider) : undefined,
    })
    if (resolved.from && getAddress(resolved.from) !== this.address)
      throw new TypeError('The transaction is from another address.')
    delete resolved.from
    const transaction = Transaction.from(resolved as TransactionLike)
    transaction.signature = await this.#sign(transaction.unsignedHash)
    return transaction.serialized
  }

  async signMessage(message: string | Uint8Array): Promise<string> {
    return (await this.#sign(hashMessage(message))).serialized
  }

  async signTypedData(
    domain: TypedDataDomain,
    types: Record<string, TypedDataField[]>,
    value: Record<string, any>
  ): Promise<string> {
    const names = async (name: string) => resolveAddress(name, this.provider)
    const resolved = await TypedDataEncoder.resolveNames(domain, types, value, names)
    return (await this.#sign(TypedDataEncoder.hash(resolved.domain, types, resolved.value))).serialized
  }

  /** Authorize an account to run the code at `address` (EIP-7702). */
  override async authorize(request: {
    address: string | Addressable
    nonce?: Numeric
    chainId?: BigNumberish
  }): Promise<{ address: string; nonce: bigint; chainId: bigint; signature: Signature }> {
    const address = getAddress(await resolveAddress(request.address, this))
    const { nonce, chainId } = await this.populateAuthorization({ ...request, address })
    const signature = await this.#sign(library.hashAuthorization({ address, nonce: nonce!, chainId: chainId! }))
    return { address, nonce: getBigInt(nonce!), chainId: getBigInt(chainId!), signature }
  }

  async #sign(digest: string): Promise<Signature> {
    const { r, s, recovery } = await signRecoverable(this.#key, getBytes(digest))
    return Signature.from({ r: hexlify(r), s: hexlify(s), yParity: recovery as 0 | 1 })
  }
}
