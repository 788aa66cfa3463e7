import type { Minikms } from './client.js'
import { RemoteKey } from './key.js'
import { thumbprint } from './public.js'

/** The argument of `cose.sign1.sign`: as `@owf/mdoc` calls it, and as `@animo-id/mdoc` does. */
type ToSign =
  | { toBeSigned: Uint8Array; key: { jwk: Record<string, unknown> } }
  | { sign1: { getRawSigningData(): { data: Uint8Array } }; jwk: object }

/**
 * `cose.sign1.sign` in the context of `@owf/mdoc` and `@animo-id/mdoc`. With a client, it signs by the key of the service that has
 * the public key of the key that the library names. The rules of the key hold, which need `"cose": true`.
 */
export function mdocSign(signer: Minikms | RemoteKey): (input: ToSign) => Promise<Uint8Array> {
  return async (input) => {
    const [structure, jwk] =
      'sign1' in input ? [input.sign1.getRawSigningData().data, input.jwk] : [input.toBeSigned, input.key.jwk]
    if (signer instanceof RemoteKey) return signer.signCose(structure)
    return (await signer.signSigStructure(structure, { kid: await thumbprint(jwk) })).sig
  }
}

/** The certificates of a key in DER, its own first, as x5chain has them. */
export async function certificates(key: RemoteKey): Promise<Uint8Array[]> {
  const { certificates = [] } = await key.kms.getKey({ kid: key.kid })
  return certificates.map((pem) =>
    Uint8Array.from(atob(pem.replace(/-----.*-----|\s/g, '')), (character) => character.charCodeAt(0))
  )
}
