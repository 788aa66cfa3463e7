// The signers as the libraries' own types; tsc checks them, and nothing runs.
import type { SDJwtInstance } from '@sd-jwt/core'
import type { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import type { Hasher, SaltGenerator, SDJWTConfig, Signer as SdJwtSigner } from '@sd-jwt/types'
import type { CallbackSigner } from '@contentauth/c2pa-node'
import type { SignCallback } from '@openid-federation/core'
import { type CallbackContext, clientAuthenticationAnonymous } from '@openid4vc/oauth2'
import type { Openid4vciIssuer } from '@openid4vc/openid4vci'
import type { Openid4vpVerifier } from '@openid4vc/openid4vp'
import type { MdocContext as AnimoContext } from '@animo-id/mdoc'
import type { MdocContext } from '@owf/mdoc'
import type { AbstractKeyManagementSystem } from '@veramo/key-manager'
import type { Signer as DidJwtSigner } from 'did-jwt'
import type { Signer as WebvhSigner, Verifier as WebvhVerifier } from 'didwebvh-ts'
import type { Signer as EthersSigner } from 'ethers'
import type { CompactDecryptResult, JWK } from 'jose'
import { hashTypedData, keccak256, type LocalAccount } from 'viem'

import { type Answer, isProblem, type Jwk, type Minikms, type RemoteKey } from '@minikms/client'
import { c2paCallback } from '@minikms/client/c2pa'
import { didJwtSigner } from '@minikms/client/did-jwt'
import { MinikmsSigner } from '@minikms/client/ethers'
import { federationSignCallback, federationSigner } from '@minikms/client/federation'
import { compactDecrypt } from '@minikms/client/jose'
import { mdocSign } from '@minikms/client/mdoc'
import { openid4vcCallbacks } from '@minikms/client/openid4vc'
import { hasher, saltGenerator, sdJwtHolder, sdJwtIssuer, sdJwtSigner } from '@minikms/client/sd-jwt'
import { MinikmsKeyManagementSystem } from '@minikms/client/veramo'
import { viemAccount } from '@minikms/client/viem'
import { remoteCrypto, remoteKeyPair } from '@minikms/client/webcrypto'
import { webvhSigner, webvhVerifier } from '@minikms/client/webvh'

declare const kms: Minikms
declare const key: RemoteKey

export const sdJwt: SDJWTConfig = { ...sdJwtIssuer(key), ...sdJwtHolder(key) }
export const sdJwtParts: [SdJwtSigner, Hasher, SaltGenerator] = [sdJwtSigner(key), hasher, saltGenerator]
export const sdJwtCore: ConstructorParameters<typeof SDJwtInstance>[0] = sdJwtIssuer(key)
export const sdJwtVc: ConstructorParameters<typeof SDJwtVcInstance>[0] = { ...sdJwtIssuer(key), ...sdJwtHolder(key) }
export const openid4vc: Omit<CallbackContext, 'clientAuthentication' | 'fetch'> = openid4vcCallbacks(kms)
export const openid4vci: ConstructorParameters<typeof Openid4vciIssuer>[0] = {
  callbacks: { ...openid4vcCallbacks(kms), clientAuthentication: clientAuthenticationAnonymous() },
}
export const openid4vp: ConstructorParameters<typeof Openid4vpVerifier>[0] = { callbacks: openid4vcCallbacks(kms) }
export const didJwt: DidJwtSigner = didJwtSigner(key)
export const mdoc: MdocContext['cose']['sign1']['sign'] = mdocSign(key)
export const mdocOfClient: MdocContext['cose']['sign1']['sign'] = mdocSign(kms)
export const mdocOfAnimo: AnimoContext['cose']['sign1']['sign'] = mdocSign(key)
export const webvh: [WebvhSigner, WebvhVerifier] = [webvhSigner(key), webvhVerifier(kms)]
export const federation: SignCallback[] = [federationSignCallback({ kid: key }), federationSigner(key).signJwtCallback]
export const viem: LocalAccount = viemAccount(key)
export const ethers: EthersSigner = new MinikmsSigner(key)
export const veramo: AbstractKeyManagementSystem = new MinikmsKeyManagementSystem(kms, { hashTypedData, keccak256 })
export const c2pa: Parameters<typeof CallbackSigner.newSigner>[1] = c2paCallback(key)
export const webCrypto: [Crypto, Promise<CryptoKeyPair>] = [remoteCrypto(), remoteKeyPair(key)]
export const jose: Promise<CompactDecryptResult> = compactDecrypt('', key) as Promise<CompactDecryptResult>
export const joseJwk: JWK = key.publicJwk
export const jwk: Jwk = joseJwk as Jwk

/** What must not compile. */
export async function misuse(error: unknown): Promise<unknown[]> {
  // @ts-expect-error: there is no such slug
  isProblem(error, 'no-such-slug')
  // @ts-expect-error: a key has a name
  await kms.sign('data', {})
  // @ts-expect-error: no key is named by a public key here
  await kms.sign('data', { jwk: key.publicJwk })
  // @ts-expect-error: there is no such option
  await kms.sign('data', key, { algorithm: 'ES256' })
  // @ts-expect-error: an object is no data
  await kms.sign({ data: 'data' }, key)
  // @ts-expect-error: a promise is no data
  await kms.sign(Promise.resolve('data'), key)
  // @ts-expect-error: a path has a kid
  await kms.rotateKey({ alias: 'a' })
  // @ts-expect-error: no operation has this name
  await kms.request('nothing')
  const { sig, alg }: { sig: Uint8Array; alg: string | null } = await kms.sign('data', { alias: 'a' }, { encoding: 'der' })
  const isValid: boolean = await kms.verify('data', sig, { jwk: key.publicJwk }, { alg: 'RS256', signal: AbortSignal.timeout(1) })
  const text: string = await kms.signJws('{}', key, { header: { typ: 'JWT' } })
  const object: Record<string, unknown> = await kms.signJws('{}', key, { serialization: 'general' })
  const bytes: Uint8Array = await kms.signCose(new ArrayBuffer(4), key, { external_aad: new DataView(new ArrayBuffer(4)) })
  const found: RemoteKey = await kms.key('a')
  const jwt: string = await kms.signJws({ iss: 'a' }, key)
  const answer: Answer<'random'> = await kms.request('random', { body: { length: 3 } })
  return [sig, alg, isValid, text, object, bytes, found, jwt, answer.bytes.length]
}
