import { importJWK, jwtVerify } from 'jose'
import { expect, test } from 'vitest'

import { isProblem, Minikms } from '@minikms/client'
import { signCompact } from '@minikms/client/jose'

const kms = new Minikms() // the service that vitest has started

test('the issuer signs in its own name, and in no other one', async () => {
  const iss = 'https://issuer.example'
  const { kid } = await kms.generateKey('ed25519', { rules: { jws: { claims: { iss: [iss] } } } })
  const key = await kms.key({ kid })
  const jwt = await signCompact(key, { typ: 'JWT' }, { iss })
  expect((await jwtVerify(jwt, await importJWK(key.publicJwk, 'EdDSA'))).payload.iss).toBe(iss)
  const refused = signCompact(key, { typ: 'JWT' }, { iss: 'https://evil.example' })
  await expect(refused).rejects.toSatisfy((error) => isProblem(error, 'rule-violated'))
})
