import { bytesOf, decode, encode } from './bytes.js'
import type { Key, KeyName, Minikms } from './client.js'
import { InvalidSetting, isProblem } from './errors.js'
import { sha256 } from './hashes.js'
import { fromHex, hex } from './hex.js'
import { RemoteKey } from './key.js'
import { signRecoverable } from './secp256k1.js'

/** What Veramo knows of a key. */
export interface ManagedKey {
  kid: string
  kms: string
  type: string
  publicKeyHex: string
  meta: { algorithms: string[]; [name: string]: unknown }
}

type KeyRef = { kid: string }

const TYPES: Record<string, { alg: string; algorithms: string[] }> = {
  Ed25519: { alg: 'ed25519', algorithms: ['Ed25519', 'EdDSA'] },
  Secp256k1: { alg: 'k256', algorithms: ['ES256K', 'ES256K-R', 'eth_signMessage', 'eth_signTypedData', 'eth_rawSign'] },
  Secp256r1: { alg: 'p256', algorithms: ['ES256'] },
  X25519: { alg: 'x25519', algorithms: ['ECDH', 'ECDH-ES'] },
}

export interface VeramoOptions {
  /** The name of this key management system in Veramo, by default `minikms`. */
  name?: string
  /** Only for `eth_signMessage`, such as `keccak256` of viem: the digest of bytes, also as hexadecimal. */
  keccak256?: (data: Uint8Array) => Uint8Array | string
  /** Only for `eth_signTypedData`, such as `hashTypedData` of viem: the digest of typed data (EIP-712), also as hexadecimal. */
  hashTypedData?: (data: any) => Uint8Array | string
}

// The label with the kid that Veramo gave a key, empty if it gave none. It tells such keys from keys that were made elsewhere.
const LABEL = 'veramo_kid'

/**
 * A key management system of Veramo, in place of `@veramo/kms-local`. The kid of a key is the alias that it was given, or else its
 * kid in the service. `listKeys` names a key that was made elsewhere by its oldest alias.
 */
export class MinikmsKeyManagementSystem {
  readonly name: string
  readonly #kms: Minikms
  readonly #keccak256: VeramoOptions['keccak256']
  readonly #hashTypedData: VeramoOptions['hashTypedData']

  constructor(kms: Minikms, { name = 'minikms', keccak256, hashTypedData }: VeramoOptions = {}) {
    this.#kms = kms
    this.name = name
    this.#keccak256 = keccak256
    this.#hashTypedData = hashTypedData
  }

  async createKey({ type, kid }: { type: string; kid?: string; meta?: unknown }): Promise<ManagedKey> {
    return this.#managed(await this.#kms.generateKey(algOf(type), optionsOf(kid)), kid)!
  }

  async importKey({ type, kid, privateKeyHex }: { type: string; kid?: string; privateKeyHex: string }): Promise<ManagedKey> {
    // Veramo appends the public key to a secret of Ed25519.
    const secret = fromHex(privateKeyHex).subarray(0, 32)
    return this.#managed(await this.#kms.importKey({ alg: algOf(type), secret, ...optionsOf(kid) }), kid)!
  }

  async listKeys(): Promise<ManagedKey[]> {
    const found: ManagedKey[] = []
    for await (const key of this.#kms.keys()) {
      const given = key.labels[LABEL] ?? key.aliases[0]
      const managed = this.#managed(
        key,
        key.aliases.find((alias) => alias === given)
      )
      if (managed) found.push(managed)
    }
    return found
  }

  /** Delete a key; false if it does not exist. */
  async deleteKey({ kid }: KeyRef): Promise<boolean> {
    try {
      await this.#kms.deleteKey(named(kid))
      return true
    } catch (error) {
      if (isProblem(error, 'key-not-found', 'alias-not-found')) return false
      throw error
    }
  }

  /** Sign; a JWS Signing Input is signed under the rules of the key. */
  async sign({
    keyRef,
    algorithm,
    data,
  }: {
    keyRef: KeyRef
    algorithm?: string
    data: Uint8Array
    [name: string]: any
  }): Promise<string> {
    const key = await this.#kms.key(named(keyRef.kid))
    const alg = algorithm ?? key.alg
    if (alg === 'ES256K-R') {
      const { r, s, recovery } = await signRecoverable(key, await sha256(data))
      return encode(Uint8Array.of(...r, ...s, recovery))
    }
    if (alg === 'eth_rawSign') return ethereum(key, data)
    if (alg === 'eth_signMessage') {
      if (!this.#keccak256) throw new InvalidSetting('eth_signMessage needs the option keccak256.')
      return ethereum(key, this.#keccak256(Uint8Array.of(...bytesOf(`\x19Ethereum Signed Message:\n${data.length}`), ...data)))
    }
    if (alg === 'eth_signTypedData' || alg === 'EthereumEip712Signature2021') {
      if (!this.#hashTypedData) throw new InvalidSetting('eth_signTypedData needs the option hashTypedData.')
      return ethereum(key, this.#hashTypedData(JSON.parse(new TextDecoder().decode(data))))
    }
    const input = signingInput(data, alg)
    return input === undefined ? encode(await key.sign(data, { alg })) : key.signJws(input)
  }

  async sharedSecret({
    myKeyRef,
    theirKey,
  }: {
    myKeyRef: KeyRef
    theirKey: { publicKeyHex: string; type: string }
  }): Promise<string> {
    if (theirKey.type !== 'X25519') throw new InvalidSetting('A shared secret needs keys of X25519.')
    return hex(
      await this.#kms.derive({ kty: 'OKP', crv: 'X25519', x: encode(fromHex(theirKey.publicKeyHex)) }, named(myKeyRef.kid))
    )
  }

  /** @deprecated As Veramo says: use `sign`. */
  async signJWT({ key, data }: { key: KeyRef; data: string | Uint8Array }): Promise<string> {
    return this.sign({ keyRef: key, data: bytesOf(data) })
  }

  /** @deprecated As Veramo says; sign transactions by `@minikms/client/ethers` or `viem`. */
  async signEthTX(): Promise<string> {
    throw new InvalidSetting('Sign transactions by @minikms/client/ethers or viem.')
  }

  #managed({ kid, alg, jwk }: Key, alias?: string): ManagedKey | undefined {
    const [type, known] = Object.entries(TYPES).find(([, known]) => known.alg === alg) ?? []
    if (!type || !jwk) return undefined
    const x = hex(decode(jwk.x!))
    const y = jwk.y ? hex(decode(jwk.y)) : ''
    // As Veramo's own has them: compressed for P-256, uncompressed for secp256k1.
    const publicKeyHex = { Secp256k1: `04${x}${y}`, Secp256r1: `0${2 + (parseInt(y.slice(-1), 16) & 1)}${x}` }[type] ?? x
    return { kid: alias ?? kid, kms: this.name, type, publicKeyHex, meta: { algorithms: known!.algorithms } }
  }
}

function algOf(type: string): string {
  const found = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  if (!found) throw new InvalidSetting(`Mini KMS makes no keys of Veramo's type ${type}.`)
  return found.alg
}

/** The options of a key to which Veramo gives a kid, or none. */
function optionsOf(kid: string | undefined) {
  return { ...(kid && { alias: kid, alias_taken: 'refuse' as const }), labels: { [LABEL]: kid ?? '' } }
}

/** A thumbprint has 43 characters of base64url; any other kid is an alias. */
function named(kid: string): KeyName {
  return /^[\w-]{43}$/.test(kid) ? { kid } : { alias: kid }
}

/** The text of a JWS Signing Input for the algorithm; undefined for other bytes. */
function signingInput(data: Uint8Array, alg: string): string | undefined {
  const text = new TextDecoder().decode(data)
  if (!/^[\w-]+\.[\w-]*$/.test(text)) return undefined
  try {
    const header = JSON.parse(new TextDecoder().decode(decode(text.split('.')[0]!)))
    return header.alg === alg ? text : undefined
  } catch {
    return undefined
  }
}

async function ethereum(key: RemoteKey, digest: Uint8Array | string): Promise<string> {
  const { r, s, recovery } = await signRecoverable(key, typeof digest === 'string' ? fromHex(digest) : digest)
  return `0x${hex(r)}${hex(s)}${(27 + recovery).toString(16)}`
}
