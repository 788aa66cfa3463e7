import type { RemoteKey } from './key.js'

const remote = new WeakMap<object, { key: RemoteKey; alg: string; publicKey: CryptoKey }>()

const RSA = { RS: 'RSASSA-PKCS1-v1_5', PS: 'RSA-PSS' } as const

/**
 * A key pair whose private key signs by `remoteCrypto`. `hash` applies only to an RSA key; its alg selects RSASSA-PKCS1-v1_5 or
 * RSA-PSS.
 */
export async function remoteKeyPair(key: RemoteKey, hash = 'SHA-256'): Promise<CryptoKeyPair> {
  const { kty, crv } = key.publicJwk
  const scheme = RSA[key.alg.startsWith('PS') ? 'PS' : 'RS']
  const algorithm = kty === 'RSA' ? { name: scheme, hash } : kty === 'EC' ? { name: 'ECDSA', namedCurve: crv! } : { name: crv! }
  const publicJwk = Object.fromEntries(['kty', 'crv', 'x', 'y', 'n', 'e'].map((name) => [name, key.publicJwk[name as 'kty']]))
  const publicKey = await crypto.subtle.importKey('jwk', publicJwk, algorithm, true, ['verify'])
  const privateKey = Object.freeze({
    ...{ type: 'private', extractable: false, algorithm: publicKey.algorithm, usages: ['sign'] },
    [Symbol.toStringTag]: 'CryptoKey',
  }) as unknown as CryptoKey
  remote.set(privateKey, { key, alg: kty === 'RSA' ? `${scheme === RSA.PS ? 'PS' : 'RS'}${hash.slice(4)}` : key.alg, publicKey })
  return { privateKey, publicKey }
}

/** A Crypto that signs by keys of `remoteKeyPair`, and leaves all else to another one. It patches nothing. */
export function remoteCrypto(base: Crypto = globalThis.crypto): Crypto {
  const sign = async (
    algorithm: AlgorithmIdentifier | EcdsaParams | RsaPssParams,
    key: CryptoKey,
    data: BufferSource
  ): Promise<ArrayBuffer> => {
    const found = remote.get(key)
    if (!found) return base.subtle.sign(algorithm, key, data)
    const { alg, publicKey } = found
    // Copied before the check, during which the caller may change the data.
    const view = ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data)
    const bytes = view.slice()
    // The platform refuses other algorithms, parameters and data for its keys: here by a signature that is never valid.
    await crypto.subtle.verify(algorithm, publicKey, new Uint8Array(), data)
    const { hash, saltLength } = algorithm as Partial<EcdsaParams & RsaPssParams>
    const wanted = HASHES[alg]
    if (wanted && (typeof hash === 'string' ? hash : hash!.name).toUpperCase() !== wanted) {
      throw new DOMException(`This key signs with ${wanted}.`, 'NotSupportedError')
    }
    if (alg.startsWith('PS') && saltLength !== Number(alg.slice(2)) / 8) {
      throw new DOMException('This key signs with a salt as long as its hash.', 'NotSupportedError')
    }
    const signature = await found.key.sign(bytes, { alg })
    return signature.slice().buffer as ArrayBuffer
  }
  const subtle = new Proxy(base.subtle, { get: (target, name) => (name === 'sign' ? sign : bound(target, name)) })
  return new Proxy(base, { get: (target, name) => (name === 'subtle' ? subtle : bound(target, name)) })
}

// The hashes that JOSE gives to curves.
const HASHES: Record<string, string> = { ES256: 'SHA-256', ES384: 'SHA-384', ES512: 'SHA-512', ES256K: 'SHA-256' }

/** Methods of the platform need their own object. */
function bound(target: any, name: string | symbol): unknown {
  const value = target[name]
  return typeof value === 'function' ? value.bind(target) : value
}
