// A stand-in for a wallet, with a PID of an issuer of its own. Its keys are here, and jose alone reads the request and answers.
import { X509Certificate } from 'node:crypto'

import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import * as jose from 'jose'

import { hasher, saltGenerator } from '@minikms/client/sd-jwt'

const [issuer, holder] = await Promise.all([jose.generateKeyPair('ES256'), jose.generateKeyPair('ES256')])
const signer = (key: CryptoKey) => async (data: string) => {
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, new TextEncoder().encode(data))
  return jose.base64url.encode(new Uint8Array(signature))
}

export const issuerJwk = await jose.exportJWK(issuer.publicKey)

/** The encrypted response to a request, if the certificate of its verifier is from the registrar. */
export async function answer(authorizationRequest: string, registrar: string): Promise<string> {
  const jwt = new URL(authorizationRequest).searchParams.get('request')!
  const certificate = new X509Certificate(Buffer.from(jose.decodeProtectedHeader(jwt).x5c![0]!, 'base64'))
  if (!certificate.verify(new X509Certificate(registrar).publicKey)) throw new Error('an unknown registrar')
  const { payload: request } = await jose.jwtVerify<any>(jwt, certificate.publicKey, { typ: 'oauth-authz-req+jwt' })

  const sdJwt = new SDJwtVcInstance({
    ...{ hasher, hashAlg: 'sha-256', saltGenerator, signAlg: 'ES256', kbSignAlg: 'ES256' },
    ...{ signer: signer(issuer.privateKey), kbSigner: signer(holder.privateKey) },
  })
  const iat = Math.floor(Date.now() / 1000)
  const claims = { iss: 'https://issuer.example', vct: 'urn:eudi:pid:1', given_name: 'Erika', family_name: 'Mustermann' }
  const jwk = await jose.exportJWK(holder.publicKey)
  const pid = await sdJwt.issue({ ...claims, iat, cnf: { jwk } }, { _sd: ['given_name', 'family_name'] })
  const kb = { payload: { iat, aud: request.client_id, nonce: request.nonce } }
  const vp_token = { pid: [await sdJwt.present<typeof claims>(pid, { given_name: true }, { kb })] }

  const [key] = request.client_metadata.jwks.keys
  return new jose.CompactEncrypt(new TextEncoder().encode(JSON.stringify({ vp_token })))
    .setProtectedHeader({ alg: key.alg, enc: 'A128GCM', kid: key.kid })
    .encrypt(await jose.importJWK(key))
}
