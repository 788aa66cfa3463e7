import { randomBytes } from 'node:crypto'

import { type AgentContext, Kms } from '@credo-ts/core'
import type { Body } from '@minikms/client'

import { ECDH_ES, makeContentKey, type Parties, readContentKey } from './agreement.js'
import {
  algorithmOfJwk,
  algorithmOfSignature,
  algorithmOfType,
  isMac,
  isRsa,
  nameOfType,
} from './algorithms.js'
import { decode } from './bytes.js'
import { asError, explained, KeyCalls } from './calls.js'
import { type Algorithm, callMinikms, type MinikmsClientOptions } from './client.js'
import { CONTENT_ENCRYPTIONS, decryptContent, encryptContent } from './content.js'
import { compactJwe } from './jwe.js'
import { assertReadable, type DecisiveJwk, publicJwk, publicMembers } from './jwk.js'

export interface MinikmsOptions extends MinikmsClientOptions {
  /** The name of the backend: `minikms`. */
  backend?: string
  /** If true, Ed25519 keys also open and make DIDComm v1 messages, as X25519 keys. */
  didcommV1?: boolean
  /** The provider, such as an HSM, that makes and keeps all new keys; imports are then refused. */
  provider?: string
}

interface Derivation {
  keyId: string
  algorithm: Kms.KnownJwaKeyAgreementAlgorithm
  externalPublicJwk: Kms.KmsJwkPublicAsymmetric
}

type Agreement = Kms.KmsKeyAgreementEncryptOptions | Kms.KmsKeyAgreementDecryptOptions

const KTYS = ['EC', 'OKP', 'RSA', 'oct']
// AES Key Wrap has neither an iv nor a tag; Credo's Askar backend returns empty ones.
const NOTHING = new Uint8Array()
const BOX = { agreement: 'ECDH-HSALSA20', encryption: 'XSALSA20-POLY1305' } as const

// Longer than most files: Credo's interface is one class.

/** Keeps the keys of an agent in Mini KMS, and uses them there. */
export class MinikmsKeyManagementService implements Kms.KeyManagementService {
  public readonly backend: string
  readonly #calls: KeyCalls
  readonly #algorithms: Map<string, Algorithm>
  readonly #didcommV1: boolean
  readonly #provider: string | undefined

  private constructor(options: MinikmsOptions, algorithms: Algorithm[]) {
    this.backend = options.backend ?? 'minikms'
    this.#algorithms = new Map(algorithms.map((algorithm) => [algorithm.name, algorithm]))
    this.#calls = new KeyCalls(options, this.backend, this.#algorithms)
    this.#didcommV1 = options.didcommV1 ?? true
    this.#provider = options.provider
  }

  /** Makes the backend for a service, after asking it for its algorithms; throws if it lacks the provider. */
  public static async connect(options: MinikmsOptions): Promise<MinikmsKeyManagementService> {
    const algorithms = await callMinikms(options, undefined, (kms) => kms.listAlgorithms())
    const { provider } = options
    if (provider !== undefined && !algorithms.some((algorithm) => algorithm.providers?.includes(provider))) {
      throw new Error(`Mini KMS has no provider ${provider}, or it does not answer.`)
    }
    return new MinikmsKeyManagementService(options, algorithms)
  }

  public isOperationSupported(_context: AgentContext, operation: Kms.KmsOperation): boolean {
    switch (operation.operation) {
      case 'deleteKey':
      case 'randomBytes':
        return true
      case 'createKey':
        return this.#makes(algorithmOfType(operation.type))
      case 'importKey':
        return this.#provider === undefined && this.#has(algorithmOfJwk(operation.privateJwk))
      case 'sign':
      case 'verify':
        return this.#has(algorithmOfSignature(operation.algorithm))
      case 'encrypt':
        return this.#encrypts(operation.encryption.algorithm, operation.keyAgreement)
      case 'decrypt':
        return this.#encrypts(operation.decryption.algorithm, operation.keyAgreement)
    }
  }

  public randomBytes(_context: AgentContext, options: Kms.KmsRandomBytesOptions): Kms.KmsRandomBytesReturn {
    return new Uint8Array(randomBytes(options.length))
  }

  public async getPublicKey(context: AgentContext, keyId: string): Promise<Kms.KmsJwkPublic | null> {
    try {
      return publicJwk(await this.#calls.key(context, keyId), keyId)
    } catch (error) {
      if (error instanceof Kms.KeyManagementKeyNotFoundError) return null
      throw error
    }
  }

  public async createKey<Type extends Kms.KmsCreateKeyType>(
    context: AgentContext,
    { type, keyId }: Kms.KmsCreateKeyOptions<Type>
  ): Promise<Kms.KmsCreateKeyReturn<Type>> {
    const alg = this.#require(algorithmOfType(type), nameOfType(type))
    if (!this.#makes(alg)) this.#refuse(`${nameOfType(type)} in the provider '${this.#provider}'`)
    const options = { ...this.#bound(keyId), ...this.#operations(alg), provider: this.#provider }
    const key = await this.#calls.call(context, keyId, (kms) => kms.generateKey(alg, options))
    const id = keyId ?? key.kid
    return { keyId: id, publicJwk: publicJwk(key, id) } as Kms.KmsCreateKeyReturn<Type>
  }

  public async importKey<Jwk extends Kms.KmsJwkPrivate>(
    context: AgentContext,
    { privateJwk }: Kms.KmsImportKeyOptions<Jwk>
  ): Promise<Kms.KmsImportKeyReturn<Jwk>> {
    if (this.#provider !== undefined) this.#refuse(`importing a key into the provider '${this.#provider}'`)
    const alg = this.#require(this.#algorithmOfJwk(privateJwk), nameOfType(privateJwk))
    const { kid: keyId } = privateJwk
    const options = { ...this.#bound(keyId), ...this.#operations(alg) }
    // Mini KMS refuses a key that it already has under any keyId, but Credo's error would be about this keyId.
    const key = await explained(
      () => this.#calls.call(context, keyId, (kms) => kms.importKey({ jwk: privateJwk, alg }, options)),
      () => this.#requireFree(context, keyId)
    )
    const id = keyId ?? key.kid
    return { keyId: id, publicJwk: publicJwk(key, id) } as Kms.KmsImportKeyReturn<Jwk>
  }

  public async deleteKey(context: AgentContext, { keyId }: Kms.KmsDeleteKeyOptions): Promise<boolean> {
    try {
      const { kid } = await this.#calls.key(context, keyId)
      await this.#calls.call(context, keyId, (kms) => kms.deleteKey({ kid }))
      return true
    } catch (error) {
      if (error instanceof Kms.KeyManagementKeyNotFoundError) return false
      throw error
    }
  }

  public async sign(context: AgentContext, { keyId, algorithm, data }: Kms.KmsSignOptions): Promise<Kms.KmsSignReturn> {
    this.#requireSignature(algorithm)
    const assertAllowed = (jwk: DecisiveJwk) => Kms.assertAllowedSigningAlgForKey(jwk, algorithm)
    if (isMac(algorithm)) {
      const { kid } = await this.#calls.allowedKey(context, keyId, assertAllowed)
      return { signature: await this.#calls.call(context, keyId, (kms) => kms.mac(data, { kid })) }
    }
    // Credo requires RSA lengths by algorithm. Mini KMS itself checks everything else.
    if (isRsa(algorithm)) await this.#calls.allowedKey(context, keyId, assertAllowed)
    const { sig } = await explained(
      () => this.#calls.use(context, keyId, (kms, name) => kms.sign(data, name, { alg: algorithm })),
      () => this.#calls.allowedKey(context, keyId, assertAllowed)
    )
    return { signature: sig }
  }

  public async verify(
    context: AgentContext,
    { key, algorithm, data, signature }: Kms.KmsVerifyOptions
  ): Promise<Kms.KmsVerifyReturn> {
    this.#requireSignature(algorithm)
    const assertAllowed = (jwk: DecisiveJwk) => Kms.assertAllowedSigningAlgForKey(jwk, algorithm)
    const { keyId } = key
    if (keyId === undefined) {
      const jwk = publicMembers(key.publicJwk)
      const valid = await explained(
        () => this.#calls.call(context, undefined, (kms) => kms.verify(data, signature, { jwk }, { alg: algorithm })),
        () => assertAllowed(key.publicJwk)
      )
      return valid ? { verified: true, publicJwk: key.publicJwk } : { verified: false }
    }
    const found = await this.#calls.allowedKey(context, keyId, assertAllowed)
    const valid = await this.#calls.call(context, keyId, (kms) =>
      isMac(algorithm) ? kms.verifyMac(data, signature, found) : kms.verify(data, signature, found, { alg: algorithm })
    )
    return valid ? { verified: true, publicJwk: publicJwk(found, keyId) } : { verified: false }
  }

  public async encrypt(
    context: AgentContext,
    { key, encryption, data }: Kms.KmsEncryptOptions
  ): Promise<Kms.KmsEncryptReturn> {
    const enc = encryption.algorithm
    this.#requireEncryption(enc, key.keyAgreement)
    const aad = 'aad' in encryption ? encryption.aad : undefined
    if (key.privateJwk) {
      const secret = decode(key.privateJwk.k)
      return this.#locally('Encrypting', () => encryptContent(enc, secret, data, aad, encryption.iv))
    }
    if (key.keyId !== undefined) {
      if (encryption.iv) this.#refuseIv()
      const { kid } = await this.#calls.allowedKey(context, key.keyId, (jwk) => Kms.assertAllowedEncryptionAlgForKey(jwk, enc))
      const sealed = await this.#calls.call(context, key.keyId, (kms) => kms.encrypt(data, { kid }, { aad }))
      return { encrypted: sealed.ciphertext, iv: sealed.nonce!, tag: sealed.tag! }
    }
    const { keyAgreement } = key
    if (keyAgreement.algorithm === BOX.agreement) {
      if (encryption.iv) this.#refuseIv()
      const to = publicMembers(keyAgreement.externalPublicJwk)
      if (keyAgreement.keyId === undefined) {
        return { encrypted: await this.#calls.call(context, undefined, (kms) => kms.sealBox(data, to)) }
      }
      const box = await this.#calls.use(context, keyAgreement.keyId, (kms, name) => kms.makeBox(data, to, name))
      return { encrypted: box.ciphertext, iv: box.nonce }
    }
    const secret = await this.#derive(context, keyAgreement)
    return this.#locally('Encrypting', () => {
      const parties = { alg: keyAgreement.algorithm, enc, apu: keyAgreement.apu, apv: keyAgreement.apv }
      const { key: contentKey, wrapped } = makeContentKey(secret, parties)
      const sealed = encryptContent(enc, contentKey, data, aad, encryption.iv)
      return { ...sealed, encryptedKey: wrapped && { encrypted: wrapped, iv: NOTHING, tag: NOTHING } }
    })
  }

  public async decrypt(
    context: AgentContext,
    { key, decryption, encrypted }: Kms.KmsDecryptOptions
  ): Promise<Kms.KmsDecryptReturn> {
    const enc = decryption.algorithm
    this.#requireEncryption(enc, key.keyAgreement)
    if (key.keyAgreement?.algorithm === BOX.agreement) {
      return { data: await this.#openBox(context, key.keyAgreement, decryption.iv, encrypted) }
    }
    if (!('tag' in decryption)) throw new Kms.KeyManagementError(`${enc} needs a tag.`)
    const { iv, tag, aad } = decryption
    if (key.privateJwk) {
      const secret = decode(key.privateJwk.k)
      return this.#locally('Decrypting', () => ({ data: decryptContent(enc, secret, { encrypted, iv, tag }, aad) }))
    }
    if (key.keyId !== undefined) {
      const { kid } = await this.#calls.allowedKey(context, key.keyId, (jwk) => Kms.assertAllowedEncryptionAlgForKey(jwk, enc))
      const parts = { nonce: iv, tag, aad }
      return { data: await this.#calls.call(context, key.keyId, (kms) => kms.decrypt(encrypted, { kid }, parts)) }
    }
    const { algorithm: alg, keyId, externalPublicJwk: epk, apu, apv } = key.keyAgreement
    const encryptedKey = 'encryptedKey' in key.keyAgreement ? key.keyAgreement.encryptedKey?.encrypted : undefined
    const jwe = compactJwe({ alg, enc, epk, apu, apv, aad, encryptedKey, iv, encrypted, tag })
    if (jwe !== undefined) {
      const { plaintext } = await this.#calls.use(context, keyId, (kms, name) => kms.decryptJwe(jwe, name))
      return { data: plaintext }
    }
    const secret = await this.#derive(context, key.keyAgreement)
    const parties: Parties = { alg, enc, apu, apv }
    return this.#locally('Decrypting', () => {
      const contentKey = readContentKey(secret, parties, encryptedKey)
      return { data: decryptContent(enc, contentKey, { encrypted, iv, tag }, aad) }
    })
  }

  async #openBox(
    context: AgentContext,
    { keyId, externalPublicJwk: from }: { keyId: string; externalPublicJwk?: Kms.KmsJwkPublic | undefined },
    nonce: Uint8Array | undefined,
    encrypted: Uint8Array
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (!from) return this.#calls.use(context, keyId, (kms, name) => kms.openSealedBox(encrypted, name))
    if (!nonce) throw new Kms.KeyManagementError(`The iv is missing, which ${BOX.encryption} needs.`)
    return this.#calls.use(context, keyId, (kms, name) => kms.openBox(encrypted, nonce, publicMembers(from), name))
  }

  /** Agrees on the raw secret of a key and a public JWK. */
  async #derive(context: AgentContext, { keyId, algorithm, externalPublicJwk: peer }: Derivation): Promise<Uint8Array> {
    return explained(
      () => this.#calls.use(context, keyId, (kms, name) => kms.derive(publicMembers(peer), name)),
      () =>
        this.#calls.allowedKey(context, keyId, (jwk) => {
          Kms.assertAllowedKeyDerivationAlgForKey(jwk, algorithm)
          Kms.assertJwkAsymmetric(jwk, keyId)
          Kms.assertAsymmetricJwkKeyTypeMatches(jwk, peer)
        })
    )
  }

  /** Computes locally, and converts failures to Credo's errors. */
  #locally<T>(what: string, compute: () => T): T {
    try {
      return compute()
    } catch (error) {
      throw new Kms.KeyManagementError(`${what} failed.`, { cause: asError(error) })
    }
  }

  /** The fields that bind a key to the caller's keyId. */
  #bound(keyId: string | undefined): Pick<Body<'generateKey'>, 'alias' | 'alias_taken'> {
    return keyId === undefined ? {} : { alias: keyId, alias_taken: 'refuse' }
  }

  /** The operations of a new key, if they differ from the default of its algorithm. */
  #operations(alg: string): Pick<Body<'generateKey'>, 'operations'> {
    const algorithm = this.#algorithms.get(alg)
    if (alg !== 'ed25519' || !this.#didcommV1 || this.#provider !== undefined || !algorithm?.opt_in.includes('box')) return {}
    return { operations: ['sign', 'verify', 'box', 'box-open'] }
  }

  #has(alg: string | undefined): boolean {
    return alg !== undefined && this.#algorithms.has(alg)
  }

  #makes(alg: string | undefined): boolean {
    if (alg === undefined || this.#provider === undefined) return this.#has(alg)
    return this.#algorithms.get(alg)?.providers?.includes(this.#provider) ?? false
  }

  #encrypts(enc: string, agreement: Agreement | undefined): boolean {
    const isBox = enc === BOX.encryption
    if (agreement?.algorithm === BOX.agreement || isBox) {
      return isBox && agreement?.algorithm === BOX.agreement && this.#does('x25519', 'box')
    }
    return enc in CONTENT_ENCRYPTIONS && (!agreement || ECDH_ES.includes(agreement.algorithm))
  }

  #does(alg: string, operation: string): boolean {
    return this.#algorithms.get(alg)?.operations.includes(operation) ?? false
  }

  /** The algorithm of Mini KMS for a private JWK; throws if Credo cannot read the JWK. */
  #algorithmOfJwk(jwk: Kms.KmsJwkPrivate): string | undefined {
    if (KTYS.includes(jwk.kty)) this.#locally('Reading the key', () => assertReadable(jwk))
    return algorithmOfJwk(jwk)
  }

  #requireSignature(algorithm: string): void {
    this.#require(algorithmOfSignature(algorithm), `signing and verification with algorithm '${algorithm}'`)
  }

  #requireEncryption(enc: string, agreement: Agreement | undefined): void {
    if (this.#encrypts(enc, agreement)) return
    const name = agreement
      ? `key agreement algorithm '${agreement.algorithm}' with encryption algorithm '${enc}'`
      : `JWA encryption algorithm '${enc}'`
    throw new Kms.KeyManagementAlgorithmNotSupportedError(name, this.backend)
  }

  async #requireFree(context: AgentContext, keyId: string | undefined): Promise<void> {
    if (keyId === undefined || (await this.getPublicKey(context, keyId)) === null) return
    throw new Kms.KeyManagementKeyExistsError(keyId, this.backend)
  }

  #require(alg: string | undefined, what: string): string {
    if (alg === undefined || !this.#algorithms.has(alg)) this.#refuse(what)
    return alg
  }

  #refuseIv(): never {
    this.#refuse('an iv of the caller: it makes its own')
  }

  #refuse(what: string): never {
    throw new Kms.KeyManagementAlgorithmNotSupportedError(what, this.backend)
  }
}
