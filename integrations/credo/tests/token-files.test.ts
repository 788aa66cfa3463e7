import { setTimeout } from 'node:timers/promises'

import { Kms } from '@credo-ts/core'
import { afterAll, beforeAll, expect, it } from 'vitest'

import { type StartedMinikms, startMinikms } from '../../../clients/typescript/src/testing/index.js'
import { newPod, type Pod } from '../../../clients/typescript/tests/pod.js'
import { MinikmsKeyManagementService } from '../src/index.js'
import { bytes, context } from './kms.js'

const ED25519 = { kty: 'OKP', crv: 'Ed25519' } as const

let pod: Pod
let service: StartedMinikms

beforeAll(async () => {
  pod = await newPod()
  service = await startMinikms({ args: pod.args })
})

afterAll(async () => {
  await service.stop()
  await pod.remove()
})

async function isAccepted(token: string): Promise<boolean> {
  const { status } = await fetch(`${service.url}/keys`, { headers: { Authorization: `Bearer ${token}` } })
  return status === 200
}

it('keeps the keys of a pod with a projected token for days', async () => {
  await pod.renew(600) // for a slow start
  const kms = await MinikmsKeyManagementService.connect({ url: service.url, tokenFile: pod.file })
  const { keyId } = await kms.createKey(context, { type: ED25519 })
  const first = await pod.renew(5)
  for (let ended = false; !ended; ) {
    ended = !(await isAccepted(first))
    await pod.renew(5)
    await kms.sign(context, { keyId, algorithm: 'EdDSA', data: bytes('hello') })
    await setTimeout(50)
  }
})

it('asks a function for another token if its token is refused', async () => {
  const tokens = [await pod.renew(60), await pod.renew(-5), await pod.renew(60)]
  const kms = await MinikmsKeyManagementService.connect({ url: service.url, token: () => tokens.shift() })
  expect(tokens.length).toBe(2)
  expect(await kms.createKey(context, { type: ED25519 })).toMatchObject({ keyId: expect.any(String) })
  expect(tokens).toEqual([])
})

it('names an empty token file, and refuses two tokens', async () => {
  await pod.renew(60)
  const connect = (options: object) => MinikmsKeyManagementService.connect({ url: service.url, ...options })
  const kms = await connect({ tokenFile: () => pod.file })
  await pod.put('')
  const error = await kms.createKey(context, { type: ED25519 }).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(Kms.KeyManagementError)
  expect((error as Error).cause).toMatchObject({ message: `The token file ${pod.file} is empty.` })
  for (const token of ['', 'a', () => 'a']) {
    await expect(connect({ token, tokenFile: pod.file })).rejects.toThrow('Give a token or a tokenFile, not both.')
  }
})
