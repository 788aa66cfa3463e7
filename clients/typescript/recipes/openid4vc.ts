import { clientAuthenticationAnonymous, createJarAuthorizationRequest, type JwtSigner } from '@openid4vc/oauth2'
import { type IssuerMetadataResult, Openid4vciClient, Openid4vciIssuer } from '@openid4vc/openid4vci'

import { Minikms } from '@minikms/client'
import { openid4vcCallbacks } from '@minikms/client/openid4vc'

const kms = new Minikms() // MINIKMS_URL, MINIKMS_TOKEN
const callbacks = { ...openid4vcCallbacks(kms), clientAuthentication: clientAuthenticationAnonymous() }

// A wallet: a key for proofs alone, and the attestation of the wallet's provider for it.
const { kid, jwk } = await kms.generateKey('p256', { rules: 'openid4vci-proof' })
const provider = await kms.generateKey('p256')
const attestation = await kms.attestKeys([kid], provider, { nonce: 'n-1', key_storage: ['iso_18045_moderate'] })

const issuerMetadata = {
  originalDraftVersion: 'V1',
  credentialIssuer: {
    credential_issuer: 'https://issuer.example',
    credential_endpoint: 'https://issuer.example/credential',
    credential_configurations_supported: {
      pid: {
        format: 'dc+sd-jwt',
        vct: 'https://issuer.example/pid',
        cryptographic_binding_methods_supported: ['jwk'],
        proof_types_supported: { jwt: { proof_signing_alg_values_supported: ['ES256'] } },
      },
    },
  },
  authorizationServers: [],
} as unknown as IssuerMetadataResult
const proof = await new Openid4vciClient({ callbacks }).createCredentialRequestJwtProof({
  issuerMetadata,
  signer: { method: 'jwk', alg: 'ES256', publicJwk: jwk! },
  nonce: 'n-1',
  issuedAt: new Date(),
  credentialConfigurationId: 'pid',
  keyAttestationJwt: attestation,
})

// An issuer verifies the proof.
const issuer = new Openid4vciIssuer({ callbacks })
const { signer } = await issuer.verifyCredentialRequestJwtProof({ jwt: proof.jwt, issuerMetadata, expectedNonce: 'n-1' })
console.log(signer.publicJwk.x === jwk!.x) // true

// A verifier: a signed request of OpenID4VP, and an encrypted response.
const didUrl = 'did:web:verifier.example#request'
await kms.generateKey('p256', { alias: didUrl, rules: { jws: { typ: ['oauth-authz-req+jwt'], max_lifetime: 600 } } })
const request = await createJarAuthorizationRequest({
  jwtSigner: { method: 'did', didUrl, alg: 'ES256' } satisfies JwtSigner,
  authorizationRequestPayload: {
    client_id: 'decentralized_identifier:did:web:verifier.example',
    response_type: 'vp_token',
    nonce: 'n-2',
  },
  expiresInSeconds: 300,
  callbacks,
})
console.log(request.authorizationRequestJwt.split('.').length) // 3
const encryption = await kms.generateKey('p256', { operations: ['jwe-decrypt'] })
const recipient = {
  method: 'jwk' as const,
  alg: 'ECDH-ES',
  enc: 'A128GCM',
  publicJwk: { ...encryption.jwk!, kid: encryption.kid },
}
const { jwe } = await callbacks.encryptJwe(recipient, '{"vp_token": {}}') // what a wallet does
console.log((await callbacks.decryptJwe(jwe)).decrypted) // true
