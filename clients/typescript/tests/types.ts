// The signers as the libraries' own types; tsc checks them, and nothing runs.
import type { SDJwtInstance } from '@sd-jwt/core'
import type { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import type { Hasher, SaltGenerator, SDJWTConfig, Signer as SdJwtSigner } from '@sd-jwt/types'
import type { CallbackSigner } from '@contentauth/c2pa-node'
import type { SignCallback } from '@openid-federation/core'
import { type CallbackContext, clientAuthenticationAnonymous } from '@openid4vc/oauth2'
import type { Openid4vciIssuer } from '@openid4vc/openid4vci'
import type { Openid4vpVerifier } from '@openid4vc/openid4vp'
import type { MdocContext } from '@owf/mdoc'
import type { AbstractKeyManagementSystem } from '@veramo/key-manager'
import type { Signer as DidJwtSigner } from 'did-jwt'
import type { Signer as WebvhSigner, Verifier as WebvhVerifier } from 'didwebvh-ts'
import type { Signer as EthersSigner } from 'ethers'
import type { CompactDecryptResult, JWK } from 'jose'
import type { LocalAccount } from 'viem'

import type { Jwk, Minikms, RemoteKey } from '@minikms/client'
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
export const webvh: [WebvhSigner, WebvhVerifier] = [webvhSigner(key), webvhVerifier(kms)]
export const federation: SignCallback[] = [federationSignCallback({ kid: key }), federationSigner(key).signJwtCallback]
export const viem: LocalAccount = viemAccount(key)
export const ethers: EthersSigner = new MinikmsSigner(key)
export const veramo: AbstractKeyManagementSystem = new MinikmsKeyManagementSystem(kms)
export const c2pa: Parameters<typeof CallbackSigner.newSigner>[1] = c2paCallback(key)
export const webCrypto: [Crypto, Promise<CryptoKeyPair>] = [remoteCrypto(), remoteKeyPair(key)]
export const jose: Promise<CompactDecryptResult> = compactDecrypt('', key) as Promise<CompactDecryptResult>
export const joseJwk: JWK = key.publicJwk
export const jwk: Jwk = joseJwk as Jwk
