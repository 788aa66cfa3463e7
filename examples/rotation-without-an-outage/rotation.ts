import { rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { setTimeout } from 'node:timers/promises'

import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'

import type { Minikms } from '@minikms/client'
import { startMinikms } from '@minikms/client/testing'

const HOUR = 3600
const STEP = HOUR / 2
const LIFETIME = 4 * HOUR // of each credential
const RETIRE_AFTER = LIFETIME + 300

// The simulated time: the service adds the seconds of a file to its clock, by libfaketime, and this program sets `Date.now`.
const file = `${tmpdir()}/clock-${process.pid}`
const begin = Date.now()
let passed = 0
Date.now = () => begin + passed * 1000
async function pass(seconds: number) {
  passed += seconds
  await writeFile(`${file}.new`, `+${passed}`)
  await rename(`${file}.new`, file)
}
await pass(0)
const preload = 'LD_PRELOAD=/usr/$LIB/faketime/libfaketimeMT.so.1'
const clock = ['env', preload, `FAKETIME_TIMESTAMP_FILE=${file}`, 'FAKETIME_NO_CACHE=1']
const service = await startMinikms({ command: [...clock, ...(process.env.MINIKMS_COMMAND ?? 'minikms').split(' ')] })

/** Wait until the service has made the next key, or rotated, if that is due; at most two seconds. */
async function settle(kms: Minikms) {
  for (let tries = 0; tries < 40; tries++) {
    const { rotates, publish_ahead, next } = await kms.findKey('issuer') // the call wakes the service
    await setTimeout(50)
    if (Date.parse(rotates!) - (next ? 0 : (publish_ahead ?? 0) * 1000) > Date.now()) return
  }
}

/** Issue credentials for 100 hours, so many in each half hour, and print what verifiers see. */
async function issue(profile: string, number: number, settings: object) {
  await service.client().createProfile(profile)
  const kms = service.client(profile)
  const rules = { jws: { max_lifetime: LIFETIME } }
  const rotate_every = 30 * HOUR - 600 // a rotation is not due just when a step ends
  await kms.generateKey('ed25519', { alias: 'issuer', rules, rotate_every, ...settings })

  // The first verifier reads the set after ten minutes, or for an unknown kid after 30 s: jose's defaults. The second keeps it for an hour.
  const url = new URL(`${service.url}/jwks.json?profile=${profile}`)
  const kept = { cacheMaxAge: HOUR * 1000, cooldownDuration: HOUR * 1000 }
  const verifiers = [createRemoteJWKSet(url), createRemoteJWKSet(url, kept)]
  const refused = new Set<string>()
  const verify = async (jwt: string) => {
    const options = { currentDate: new Date(Date.now()) }
    await Promise.all(verifiers.map((keys) => jwtVerify(jwt, keys, options).catch(() => refused.add(jwt))))
  }

  const issued: string[][] = []
  const signed = new Map<string, number>() // the time when each key last signed
  const late = new Set<string>()
  for (let step = 0; step < 200; step++) {
    await pass(STEP)
    await settle(kms)
    const now = Math.floor(Date.now() / 1000)
    const claims = Array.from({ length: number }, () => ({ jti: crypto.randomUUID(), iat: now, exp: now + LIFETIME }))
    const made = await Promise.all(claims.map((each) => kms.signJws(each, { alias: 'issuer' }, { kid_header: 'kid' })))
    issued.push(made)
    for (const jwt of made) signed.set(decodeProtectedHeader(jwt).kid!, now)

    // Verify each credential when it is new, and again in the last half hour of its life.
    await Promise.all([...made, ...(issued.at(-LIFETIME / STEP) ?? [])].map(verify))
    for (const { kid } of (await kms.jwks()).keys as { kid: string }[])
      if (now > (signed.get(kid) ?? now) + STEP + RETIRE_AFTER) late.add(kid)
  }
  console.log(`${profile}: ${signed.size - 1} rotations, ${issued.flat().length} credentials`)
  console.log(`  ${refused.size} credentials refused, ${late.size} keys published past their end`)
}

await issue('three-steps', 50, { publish_ahead: 2 * HOUR, retire_after: RETIRE_AFTER })
await issue('one-step', 5, {})
await service.stop()
await rm(file)
