import { setTimeout } from 'node:timers/promises'
import { inspect } from 'node:util'

import { InvalidSetting, Minikms, Unauthenticated } from '@minikms/client'
import { type StartedMinikms, startMinikms } from '@minikms/client/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { newPod, type Pod } from './pod.js'

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

/** The token of a call. */
const tokenOf = (init?: RequestInit) => new Headers(init?.headers).get('Authorization')?.replace('Bearer ', '')

/** A client of the file that notes the tokens it sends; `first` is awaited after the first call has read its token. */
function onTheWay(first: () => Promise<unknown>, settings: { token: () => string } | { tokenFile: string }) {
  const sent: unknown[] = []
  const client = new Minikms({
    url: service.url,
    ...settings,
    fetch: async (input, init) => {
      if (sent.push(tokenOf(init)) === 1) await first()
      return fetch(input, init)
    },
  })
  return { client, sent }
}

async function isAccepted(token: string): Promise<boolean> {
  const { status } = await fetch(`${service.url}/keys`, { headers: { Authorization: `Bearer ${token}` } })
  return status === 200
}

test('a pod with a projected token runs for days', async () => {
  await pod.renew(600) // for a slow start
  const client = new Minikms({ url: service.url, tokenFile: pod.file })
  const { kid } = await client.generateKey('ed25519')
  const first = await pod.renew(5)
  for (let ended = false; !ended; ) {
    ended = !(await isAccepted(first))
    await pod.renew(5)
    await client.sign('hello', { kid })
    await setTimeout(50)
  }
})

test('a call whose token ends on its way is made once more, and makes one key', async () => {
  const ended = await pod.renew(-5)
  let renewed = ''
  const { client, sent } = onTheWay(async () => (renewed = await pod.renew(60)), { tokenFile: pod.file })
  const { kid } = await client.generateKey('ed25519', { labels: { made: 'once' } })
  const keys = await client.listKeys({ label: ['made:once'] })
  expect(keys.map((key) => key.kid)).toEqual([kid])
  expect(sent).toEqual([ended, renewed, renewed])
})

test('a function is asked for another token if its token is refused', async () => {
  const tokens = [await pod.renew(-5), await pod.renew(60)]
  const left = [...tokens]
  const { client, sent } = onTheWay(async () => {}, { token: () => left.shift()! })
  await client.listKeys()
  expect(sent).toEqual(tokens)
})

test.each(['the same token', 'another token', 'two\nlines', ''])('a call whose token stays refused fails: %j', async (later) => {
  const refused = await pod.renew(-5)
  const put = () => (later === 'the same token' ? pod.put(refused) : later === 'another token' ? pod.renew(-5) : pod.put(later))
  const { client, sent } = onTheWay(put, { tokenFile: pod.file })
  await expect(client.listKeys()).rejects.toThrow(Unauthenticated)
  expect(sent.length).toBe(later === 'another token' ? 2 : 1)
})

test.each([
  ['is empty', ' \n'],
  ['is larger than 17 KiB', 'secret'.repeat(3000)],
])('a token file that %s is refused by its name', async (fault, content) => {
  await pod.put(content)
  const client = new Minikms({ url: service.url, tokenFile: pod.file })
  const error = await client.listKeys().catch((error) => error)
  expect(error).toBeInstanceOf(InvalidSetting)
  expect(error.message).toBe(`The token file ${pod.file} ${fault}.`)
  expect(inspect(error)).not.toContain('secret')
})

test('a token file that cannot be read is refused by its name', async () => {
  const client = (tokenFile: string) => new Minikms({ url: service.url, tokenFile })
  await expect(client('/no/token').listKeys()).rejects.toThrow('The token file /no/token cannot be read: ENOENT.')
  await expect(client('/').listKeys()).rejects.toThrow('The token file / cannot be read: EISDIR.')
  expect(() => new Minikms({ token: 'a', tokenFile: '/token' })).toThrow('Give a token or a tokenFile, not both.')
})
