import { createHeaderAndPayload, StatusList } from '@sd-jwt/jwt-status-list'
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import { compactVerify, importJWK, type JWK } from 'jose'

import { signCompact } from '@minikms/client/jose'
import { hasher, sdJwtHolder, sdJwtIssuer } from '@minikms/client/sd-jwt'
import { startMinikms } from '@minikms/client/testing'

const service = await startMinikms()
const kms = service.client()

// Keys with rules: a thief of the issuer's token makes credentials of this type, for two weeks, and nothing else.
const iss = 'https://issuer.example'
const vct = 'https://issuer.example/pid'
const jws = { typ: ['dc+sd-jwt'], claims: { iss: [iss], vct: [vct] }, max_lifetime: 1209600, disclosures: 'shown' as const }
await kms.generateKey('p256', { alias: 'issuer', rules: { jws } })
await kms.generateKey('p256', { alias: 'status', rules: 'status-list' })
await kms.generateKey('p256', { alias: 'holder' })
const [issuer, statusKey, holder] = [await kms.key('issuer'), await kms.key('status'), await kms.key('holder')]

// A status list, whose entry 3 is the credential.
const uri = 'https://issuer.example/status/1'
const now = Math.floor(Date.now() / 1000)
const list = createHeaderAndPayload(
  new StatusList([0, 0, 0, 0], 1),
  { iss, sub: uri, iat: now },
  { alg: 'ES256', typ: 'statuslist+jwt' }
)
const statusList = await signCompact(statusKey, list.header, list.payload)

// The issuer signs, and the holder presents one claim, bound to the verifier's nonce.
const issuing = new SDJwtVcInstance(sdJwtIssuer(issuer))
const claims = { iss, vct, exp: now + 86400, cnf: { jwk: holder.publicJwk }, given_name: 'Erika', family_name: 'Mustermann' }
const status = { status_list: { idx: 3, uri } }
const credential = await issuing.issue({ ...claims, status }, { _sd: ['given_name', 'family_name'] })
const presenting = new SDJwtVcInstance(sdJwtHolder(holder))
const presentation = await presenting.present<{ given_name: string }>(
  credential,
  { given_name: true },
  {
    kb: { payload: { iat: now, aud: 'https://verifier.example', nonce: 'n-0S6_WzA2Mj' } },
  }
)

// A verifier with another library for signatures.
const verifier = (jwk: object) => async (data: string, sig: string) =>
  !!(await compactVerify(`${data}.${sig}`, await importJWK(jwk as JWK, 'ES256')))
const verifying = new SDJwtVcInstance({
  hasher,
  verifier: verifier(issuer.publicJwk),
  kbVerifier: verifier(holder.publicJwk),
  statusVerifier: verifier(statusKey.publicJwk),
  statusListFetcher: async () => statusList,
})
const { payload } = await verifying.verify(presentation, { keyBindingNonce: 'n-0S6_WzA2Mj' })
console.log(payload.given_name, 'family_name' in payload) // Erika false

await service.stop()
