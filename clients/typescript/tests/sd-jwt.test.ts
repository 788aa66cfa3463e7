import { createHash, X509Certificate } from 'node:crypto'

import { StatusList, createHeaderAndPayload, getListFromStatusListJWT } from '@sd-jwt/jwt-status-list'
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import * as jose from 'jose'
import { describe, expect, test } from 'vitest'

import type { RemoteKey } from '@minikms/client'
import { certificateHeader, hasher, sdJwtHolder, sdJwtIssuer, sdJwtSigner } from '@minikms/client/sd-jwt'

import { HOUR, inSeconds, kms, newKey, refusal } from './kms.js'

const ISSUER = 'https://issuer.example'
const VCT = 'https://issuer.example/pid'

const RULES = {
  jws: {
    typ: ['dc+sd-jwt'],
    claims: { iss: [ISSUER], vct: [VCT] },
    max_lifetime: 2 * HOUR,
    disclosures: 'shown' as const,
  },
}

/** A verifier by jose, which is not the library that signs. */
function verifier(key: RemoteKey) {
  return async (data: string, sig: string) => {
    await jose.compactVerify(`${data}.${sig}`, await jose.importJWK(key.publicJwk, key.alg))
    return true
  }
}

function claims(holder: RemoteKey) {
  return {
    ...{ iss: ISSUER, vct: VCT, exp: inSeconds(HOUR), cnf: { jwk: holder.publicJwk } },
    ...{ given_name: 'Erika', address: { street: 'Heidestr. 17', city: 'Köln' }, nationalities: ['DE', 'FR'] },
  }
}

const frame = {
  _sd: ['given_name' as const, 'address' as const, 'nationalities' as const],
  address: { _sd: ['street' as const] },
}

describe('an SD-JWT VC', () => {
  test('is issued under rules that want disclosures shown, presented with key binding, and verified', async () => {
    const [issuer, holder] = [await newKey('p256', { rules: RULES }), await newKey('p256')]
    const instance = new SDJwtVcInstance({ ...sdJwtHolder(holder), ...sdJwtIssuer(issuer) })
    const credential = await instance.issue(claims(holder), frame)
    const presentation = await instance.present(credential, { given_name: true, address: { street: true } } as object, {
      kb: { payload: { iat: inSeconds(0), aud: 'https://verifier.example', nonce: 'n-1' } },
    })
    const checking = new SDJwtVcInstance({ hasher, verifier: verifier(issuer), kbVerifier: verifier(holder) })
    const { payload, kb } = await checking.verify(presentation, { keyBindingNonce: 'n-1' })
    expect(payload).toMatchObject({ iss: ISSUER, given_name: 'Erika', address: { street: 'Heidestr. 17', city: 'Köln' } })
    expect(payload).not.toHaveProperty('nationalities')
    expect(kb!.payload.aud).toBe('https://verifier.example')
  })

  test('has the certificate of its key in the header, and no longer when the key has another one', async () => {
    const [ca, issuer, holder] = [await newKey('p256'), await newKey('p256', { rules: RULES }), await newKey('p256')]
    const root = await kms.issueCertificate('self-signed', 365, { kid: ca.kid }, { subject: 'CN=Example CA,C=DE' })
    await kms.setCertificates([root], { kid: ca.kid })
    const certify = async () => {
      const leaf = await kms.issueCertificate('client', 90, { kid: ca.kid }, { key: issuer.kid, subject: 'CN=Issuer,C=DE' })
      await kms.setCertificates([leaf, root], { kid: issuer.kid })
      return new X509Certificate(leaf)
    }
    await expect(certificateHeader(issuer)).rejects.toThrow('no certificate')
    const leaf = await certify()
    const header = { iat: inSeconds(0), ...(await certificateHeader(issuer)) }
    expect(header.x5c).toEqual([leaf.raw.toString('base64')])
    expect(Buffer.from(header['x5t#S256'], 'base64url').toString('hex')).toBe(leaf.fingerprint256.replaceAll(':', '').toLowerCase())
    const byService = await kms.signJws('{}', { kid: ca.kid }, { certificate_header: ['x5c', 'x5t#S256'] })
    expect(jose.decodeProtectedHeader(byService)).toMatchObject(await certificateHeader(ca))
    const instance = new SDJwtVcInstance({ ...sdJwtHolder(holder), ...sdJwtIssuer(issuer), verifier: verifier(issuer) })
    const credential = await instance.issue(claims(holder), frame, { header })
    expect((await instance.verify(credential)).header).toMatchObject({ typ: 'dc+sd-jwt', ...header })
    await certify()
    expect(await refusal(instance.issue(claims(holder), frame, { header }))).toMatch('validation-failed')
    await instance.issue(claims(holder), frame, { header: await certificateHeader(issuer) })
  })

  test('is refused with one claim changed', async () => {
    const [issuer, holder] = [await newKey('p256', { rules: RULES }), await newKey('p256')]
    const instance = new SDJwtVcInstance(sdJwtIssuer(issuer))
    const changed = (change: object) => refusal(instance.issue({ ...claims(holder), ...change }, frame))
    expect(await changed({ iss: 'https://evil.example' })).toMatch(/^rule-violated: .*jws.claims.iss/)
    expect(await changed({ vct: 'urn:other' })).toMatch(/^rule-violated: .*jws.claims.vct/)
    expect(await changed({ exp: inSeconds(3 * HOUR) })).toMatch(/^rule-violated: .*max_lifetime/)
  })

  test('whose disclosures are not shown is refused', async () => {
    const [issuer, holder] = [await newKey('p256', { rules: RULES }), await newKey('p256')]
    const instance = new SDJwtVcInstance(sdJwtIssuer(issuer, { show: false }))
    expect(await refusal(instance.issue(claims(holder), frame))).toMatch(/^rule-violated: .*jws.disclosures/)
  })

  test('with decoy digests is refused by rules that want disclosures shown, and else issued', async () => {
    const [issuer, holder] = [await newKey('p256', { rules: RULES }), await newKey('p256')]
    const decoys = { ...frame, _sd_decoy: 2 }
    const instance = new SDJwtVcInstance(sdJwtIssuer(issuer))
    expect(await refusal(instance.issue(claims(holder), decoys))).toMatch(/^rule-violated: .*jws.disclosures/)
    const any = await newKey('p256', { rules: { jws: { ...RULES.jws, disclosures: 'any' } } })
    const issued = await new SDJwtVcInstance(sdJwtIssuer(any)).issue(claims(holder), decoys)
    expect((await new SDJwtVcInstance({ hasher, verifier: verifier(any) }).verify(issued)).payload.iss).toBe(ISSUER)
  })

  test('is issued by one issuer many times at once', async () => {
    const [issuer, holder] = [await newKey('ed25519', { rules: RULES }), await newKey('p256')]
    const instance = new SDJwtVcInstance(sdJwtIssuer(issuer))
    const issued = await Promise.all(Array.from({ length: 20 }, () => instance.issue(claims(holder), frame)))
    const checking = new SDJwtVcInstance({ hasher, verifier: verifier(issuer) })
    for (const credential of issued) expect((await checking.verify(credential)).payload.iss).toBe(ISSUER)
  })
})

test('a signer shows a disclosure that its hasher has seen, until it has seen 10,000 later ones', async () => {
  const issuer = sdJwtIssuer(await newKey('p256', { rules: RULES }))
  const disclose = (value: unknown) => Buffer.from(JSON.stringify(['c2FsdA', 'name', value])).toString('base64url')
  const digestOf = async (value: unknown) =>
    Buffer.from(await issuer.hasher(disclose(value), 'sha-256')).toString('base64url')
  const sign = (digest: string) => {
    const parts = [
      { alg: 'ES256', typ: 'dc+sd-jwt' },
      { iss: ISSUER, vct: VCT, exp: inSeconds(HOUR), _sd: [digest], _sd_alg: 'sha-256' },
    ]
    return issuer.signer(parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.'))
  }
  const [oldest, next] = [await digestOf('oldest'), await digestOf('next')]
  for (let count = 0; count < 9_999; count++) await digestOf(count)
  expect(await refusal(sign(oldest))).toMatch(/^rule-violated: .*jws.disclosures/)
  expect(await sign(next)).toHaveLength(86)
})

test('a status list is signed under its rules, and refused as another type', async () => {
  const key = await newKey('p256', { rules: 'status-list' })
  const list = new StatusList([0, 1, 0, 1], 1)
  const { header, payload } = createHeaderAndPayload(
    list,
    { iss: ISSUER, sub: 'https://issuer.example/status/1', iat: inSeconds(0) },
    { alg: 'ES256', typ: 'statuslist+jwt' }
  )
  const sign = async (header: object) => {
    const input = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    return `${input}.${await sdJwtSigner(key)(input)}`
  }
  const jwt = await sign(header)
  await jose.jwtVerify(jwt, await jose.importJWK(key.publicJwk, 'ES256'))
  expect(getListFromStatusListJWT(jwt).getStatus(3)).toBe(1)
  expect(await refusal(sign({ ...header, typ: 'JWT' }))).toMatch(/^rule-violated: .*jws.typ/)
})

test('a hash is the one of the text as it is, in its Unicode form, and of bytes', async () => {
  for (const text of ['', 'Köln', 'Ko\u0308ln', '\ufeff']) {
    const expected = createHash('sha384').update(text).digest('hex')
    for (const data of [text, new TextEncoder().encode(text).buffer]) {
      expect(Buffer.from(await hasher(data, 'sha-384')).toString('hex')).toBe(expected)
    }
  }
})
