import { createHeaderAndPayload, StatusList } from '@sd-jwt/jwt-status-list'
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import { compactVerify, createLocalJWKSet, importJWK, type JSONWebKeySet, type JWK } from 'jose'

import { Minikms } from '@minikms/client'
import { signCompact } from '@minikms/client/jose'
import { hasher, sdJwtHolder, sdJwtIssuer } from '@minikms/client/sd-jwt'

const kms = new Minikms() // MINIKMS_URL, MINIKMS_TOKEN
const iss = 'https://issuer.example'
const vct = 'https://issuer.example/pid'
const uri = 'https://issuer.example/status/1'
const nonce = 'n-0S6_WzA2Mj'
const now = Math.floor(Date.now() / 1000)

// A thief of the issuer's token makes credentials of this type, for two weeks, and nothing else.
const jws = { typ: ['dc+sd-jwt'], claims: { iss: [iss], vct: [vct] }, max_lifetime: 1209600, disclosures: 'shown' as const }
await kms.generateKey('p256', { alias: 'issuer', rules: { jws } })
await kms.generateKey('p256', { alias: 'status', rules: 'status-list' })
await kms.generateKey('p256', { alias: 'holder' })
const [issuer, status, holder] = [await kms.key('issuer'), await kms.key('status'), await kms.key('holder')]

/** A status list, as the issuer publishes it at its URI. */
async function statusList(statuses: number[]): Promise<string> {
  const claims = { iss, sub: uri, iat: now, exp: now + 86400 }
  const { header, payload } = createHeaderAndPayload(new StatusList(statuses, 1), claims, {
    alg: 'ES256',
    typ: 'statuslist+jwt',
    kid: status.kid,
  })
  return signCompact(status, header, payload)
}
let published = await statusList([0, 0, 0, 0])

// The issuer: every claim of the person can be left out, and the credential has entry 3 of the list.
const claims = { iss, vct, iat: now, exp: now + 86400, cnf: { jwk: holder.publicJwk }, status: { status_list: { idx: 3, uri } } }
const person = { given_name: 'Erika', family_name: 'Mustermann' }
const credential = await new SDJwtVcInstance(sdJwtIssuer(issuer)).issue(
  { ...claims, ...person },
  { _sd: ['given_name', 'family_name'] },
  { header: { kid: issuer.kid } }
)
console.log(`Issued: ${credential.slice(0, 40)}…, entry 3 of ${uri}`)

// The wallet: it presents one claim, bound to the nonce of the verifier.
const presentation = await new SDJwtVcInstance(sdJwtHolder(holder)).present<typeof person>(
  credential,
  { given_name: true },
  { kb: { payload: { iat: now, aud: 'https://verifier.example', nonce } } }
)

// The verifier: jose checks the signatures, by the JWK Set that the issuer publishes.
const keys = createLocalJWKSet((await kms.jwks()) as JSONWebKeySet)
const byIssuer = async (data: string, signature: string) => !!(await compactVerify(`${data}.${signature}`, keys))
const byHolder = async (data: string, signature: string, { cnf }: { cnf?: { jwk: object } }) =>
  !!(await compactVerify(`${data}.${signature}`, await importJWK(cnf!.jwk as JWK, 'ES256')))
const verifier = new SDJwtVcInstance({
  hasher,
  verifier: byIssuer,
  statusVerifier: byIssuer,
  statusListFetcher: async () => published,
  kbVerifier: byHolder,
})
const { payload, kb } = await verifier.verify(presentation, { keyBindingNonce: nonce })
console.log(`Presented to ${kb!.payload.aud}: ${Object.keys(person).filter((name) => name in payload)}`)
console.log(`Verified by jose: ${payload.given_name} has a valid credential.`)

published = await statusList([0, 0, 0, 1])
await verifier.verify(presentation, { keyBindingNonce: nonce }).then(
  () => console.log('Revoked, but still valid.'),
  (error) => console.log(`Revoked: ${error.message}`)
)
