// A wallet behind the Digital Credentials API, by @openid4vc/openid4vp, with a PID of an issuer of its own:
// `node dc_api_wallet.mjs answer` reads request.json and writes response.json, and `verify` checks presentation.txt.
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign, verify, X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

import { Openid4vpClient } from '@openid4vc/openid4vp'
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import { CompactEncrypt, compactVerify, importJWK } from 'jose'

const ORIGIN = 'https://verifier.example'
const read = (name) => JSON.parse(readFileSync(name, 'utf8'))
const raw = { dsaEncoding: 'ieee-p1363' }
const hasher = (data, alg) => createHash(alg.replace('-', '')).update(data).digest()
const signerOf = (key) => (data) => sign('sha256', Buffer.from(data), { key, ...raw }).toString('base64url')
const verifierOf = (jwk) => (data, sig) => {
  const key = createPublicKey({ key: jwk, format: 'jwk' })
  return verify('sha256', Buffer.from(data), { key, ...raw }, Buffer.from(sig, 'base64url'))
}

async function answer() {
  const root = new X509Certificate(readFileSync('ca.pem'))
  const client = new Openid4vpClient({
    callbacks: {
      hash: (data, alg) => hasher(data, alg),
      // The wallet trusts the registrar alone.
      verifyJwt: async ({ x5c, alg }, { compact }) => {
        const leaf = new X509Certificate(Buffer.from(x5c[0], 'base64'))
        const signerJwk = leaf.publicKey.export({ format: 'jwk' })
        await compactVerify(compact, await importJWK(signerJwk, alg))
        return { verified: leaf.verify(root.publicKey), signerJwk }
      },
      getX509CertificateMetadata: () => ({ sanDnsNames: [], sanUriNames: [] }),
      encryptJwe: async ({ publicJwk, alg, enc, apu, apv }, data) => {
        const bytes = (text) => Buffer.from(text, 'base64url')
        const jwe = new CompactEncrypt(Buffer.from(data)).setProtectedHeader({ alg, enc, kid: publicJwk.kid })
        jwe.setKeyManagementParameters({ apu: bytes(apu), apv: bytes(apv) })
        return { jwe: await jwe.encrypt(await importJWK(publicJwk, alg)), encryptionJwk: publicJwk }
      },
    },
  })
  const { data } = read('request.json')
  const resolve = (origin) => client.resolveOpenId4vpAuthorizationRequest({ authorizationRequestPayload: data, origin })
  const { authorizationRequestPayload, client: verifier } = await resolve(ORIGIN)
  if (verifier.prefix !== 'x509_hash') throw new Error(verifier.prefix)
  const taken = await resolve('https://evil.example').catch(() => null)
  if (taken) throw new Error('a request for another origin was taken')

  const [issuer, holder] = [1, 2].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }))
  writeFileSync('issuer.json', JSON.stringify(issuer.publicKey.export({ format: 'jwk' })))
  const sdjwt = new SDJwtVcInstance({
    signer: signerOf(issuer.privateKey),
    signAlg: 'ES256',
    kbSigner: signerOf(holder.privateKey),
    kbSignAlg: 'ES256',
    hasher,
    hashAlg: 'sha-256',
    saltGenerator: (length) => randomBytes(length).toString('base64url'),
  })
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: 'https://issuer.example', iat: now, vct: 'urn:eudi:pid:1', given_name: 'Erika', family_name: 'Mustermann' }
  const cnf = { jwk: holder.publicKey.export({ format: 'jwk' }) }
  const pid = await sdjwt.issue({ ...claims, cnf }, { _sd: ['given_name', 'family_name'] })
  const kb = { payload: { iat: now, aud: `origin:${ORIGIN}`, nonce: authorizationRequestPayload.nonce } }
  const shown = await sdjwt.present(pid, { given_name: true }, { kb })
  const { jarm } = await client.createOpenid4vpAuthorizationResponse({
    authorizationRequestPayload,
    origin: ORIGIN,
    authorizationResponsePayload: { vp_token: { pid: [shown] } },
    jarm: {
      encryption: { nonce: randomBytes(16).toString('base64url') },
      serverMetadata: {
        authorization_encryption_alg_values_supported: ['ECDH-ES'],
        authorization_encryption_enc_values_supported: ['A128GCM', 'A256GCM'],
      },
    },
  })
  writeFileSync('response.json', JSON.stringify({ protocol: 'openid4vp-v1-signed', data: { response: jarm.responseJwt } }))
}

async function check() {
  const sdjwt = new SDJwtVcInstance({
    hasher,
    verifier: verifierOf(read('issuer.json')),
    kbVerifier: (data, sig, { cnf }) => verifierOf(cnf.jwk)(data, sig),
  })
  const presentation = readFileSync('presentation.txt', 'utf8')
  const { payload, kb } = await sdjwt.verify(presentation, { keyBindingNonce: read('session.json').nonce })
  console.log(payload.given_name, 'family_name' in payload, kb.payload.aud)
}

await { answer, verify: check }[process.argv[2]]()
