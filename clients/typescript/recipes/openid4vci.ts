import { clientAuthenticationAnonymous } from '@openid4vc/oauth2'
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
