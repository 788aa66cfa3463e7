import type { Minikms } from './client.js'
import { RemoteKey } from './key.js'
import { thumbprint } from './public.js'
import type { Jwk } from './types.js'

/**
 * `cose.sign1.sign` in the context of `@owf/mdoc`. With a client, it signs by the key of the service that has the public key of
 * `signingKey`. The rules of the key hold, which need `"cose": true`.
 */
export function mdocSign(
  signer: Minikms | RemoteKey
): (input: { toBeSigned: Uint8Array; key: { jwk: Record<string, unknown> } }) => Promise<Uint8Array> {
  return async ({ toBeSigned, key }) => {
    if (signer instanceof RemoteKey) return signer.signCose(toBeSigned)
    return (await signer.signSigStructure(toBeSigned, { kid: await thumbprint(key.jwk as unknown as Jwk) })).sig
  }
}

/** The certificates of a key in DER, its own first, as x5chain has them. */
export async function certificates(key: RemoteKey): Promise<Uint8Array[]> {
  const { certificates = [] } = await key.kms.getKey({ kid: key.kid })
  return certificates.map((pem) =>
    Uint8Array.from(atob(pem.replace(/-----.*-----|\s/g, '')), (character) => character.charCodeAt(0))
  )
}
