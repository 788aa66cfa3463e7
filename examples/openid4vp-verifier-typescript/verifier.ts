import { createOpenid4vpAuthorizationRequest, parseOpenid4vpAuthorizationResponse } from '@openid4vc/openid4vp'
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import { compactVerify, importJWK, type JWK } from 'jose'

import { Minikms } from '@minikms/client'
import { openid4vcCallbacks } from '@minikms/client/openid4vc'
import { certificateHeader, hasher } from '@minikms/client/sd-jwt'

import { answer, issuerJwk } from './wallet.js'

const kms = new Minikms() // MINIKMS_URL, MINIKMS_TOKEN
const callbacks = openid4vcCallbacks(kms)

// The key of the verifier signs requests, and nothing else. Its certificate is from a registrar, here our own.
const ca = await kms.generateKey('p256', { alias: 'ca' })
const registrar = await kms.issueCertificate('self-signed', 365, ca, { subject: 'CN=Registrar,C=UT' })
await kms.setCertificates([registrar], ca)
const { kid } = await kms.generateKey('p256', { alias: 'verifier', rules: { jws: { typ: ['oauth-authz-req+jwt'] } } })
await kms.setCertificates([await kms.issueCertificate('client', 90, ca, { key: kid, subject: 'CN=Verifier,C=UT' })], { kid })
const { x5c, 'x5t#S256': hash } = await certificateHeader(await kms.key('verifier'))

// The response to this request is encrypted to a key of its own, which deletes itself after ten minutes.
const encryption = await kms.generateKey('p256', { operations: ['jwe-decrypt'], delete_after: 600 })
const pid = { id: 'pid', format: 'dc+sd-jwt', meta: { vct_values: ['urn:eudi:pid:1'] }, claims: [{ path: ['given_name'] }] }
const additionalJwtPayload = { aud: 'https://self-issued.me/v2' }
const { authorizationRequest, authorizationRequestPayload } = await createOpenid4vpAuthorizationRequest({
  callbacks,
  authorizationRequestPayload: {
    client_id: `x509_hash:${hash}`,
    response_type: 'vp_token',
    response_mode: 'direct_post.jwt',
    response_uri: 'https://verifier.example/response',
    nonce: crypto.randomUUID(),
    dcql_query: { credentials: [pid] },
    client_metadata: {
      jwks: { keys: [{ ...encryption.jwk!, kid: encryption.kid, use: 'enc', alg: 'ECDH-ES' }] },
      encrypted_response_enc_values_supported: ['A128GCM', 'A256GCM'],
      vp_formats_supported: { 'dc+sd-jwt': { 'sd-jwt_alg_values': ['ES256'], 'kb-jwt_alg_values': ['ES256'] } },
    },
  },
  jar: { jwtSigner: { method: 'x5c', x5c, alg: 'ES256' }, expiresInSeconds: 300, additionalJwtPayload },
})

// The service decrypts the response, and the key goes.
const authorizationResponse = { response: await answer(authorizationRequest, registrar) }
const opened = await parseOpenid4vpAuthorizationResponse({ callbacks, authorizationRequestPayload, authorizationResponse })
await kms.deleteKey(encryption)
console.log(`Decrypted in Mini KMS: a JWE by ${opened.jarm!.jarmHeader.alg}, whose key is deleted.`)
const [presentation] = opened.dcql!.presentations.pid as [string]

// By jose: the signature of the issuer, and the one of the holder for this verifier and this nonce.
const verify = async (jwk: JWK, data: string, signature: string) =>
  !!(await compactVerify(`${data}.${signature}`, await importJWK(jwk, 'ES256')))
const { payload, kb } = await new SDJwtVcInstance({
  hasher,
  verifier: (data, signature) => verify(issuerJwk, data, signature),
  kbVerifier: (data, signature, { cnf }) => verify(cnf!.jwk as JWK, data, signature),
}).verify(presentation, { keyBindingNonce: authorizationRequestPayload.nonce })
if (kb!.payload.aud !== authorizationRequestPayload.client_id) throw new Error('presented to another verifier')
console.log(`Verified by jose: ${payload.given_name}; family_name is ${'family_name' in payload ? 'shown' : 'hidden'}.`)
