import { runInNewContext } from 'node:vm'

import { type Data, Minikms, type RemoteKey } from '@minikms/client'
import { signCompact } from '@minikms/client/jose'
import { didJwtSigner } from '@minikms/client/did-jwt'
import { expect, test } from 'vitest'

import { operations } from '../src/operations.js'
import { described, type Operation } from '../src/transport.js'
import { kms, newKey } from './kms.js'

const bytes = Uint8Array.of(104, 0, 255, 105)
const buffer = bytes.buffer
const shared = new SharedArrayBuffer(4)
new Uint8Array(shared).set(bytes)
const inside = Uint8Array.of(9, ...bytes, 9)

/** The same four bytes in each form. */
const FORMS: Record<string, Data> = {
  Uint8Array: bytes,
  Buffer: Buffer.from(bytes),
  'part of a buffer': inside.subarray(1, 5),
  DataView: new DataView(inside.buffer, 1, 4),
  Uint16Array: new Uint16Array(buffer),
  ArrayBuffer: buffer,
  SharedArrayBuffer: shared,
  'ArrayBuffer of another realm': runInNewContext('Uint8Array.of(104, 0, 255, 105).buffer'),
}

const detached = new Uint8Array(4)
structuredClone(detached, { transfer: [detached.buffer] })

/** What is not data; before, most of it was taken for no bytes. */
const OTHERS: Record<string, unknown> = {
  promise: Promise.resolve('text'),
  object: { data: 'text' },
  list: [104, 105],
  number: 5,
  boolean: true,
  function: () => 'text',
  'String object': new String('text'),
  'object that calls itself an ArrayBuffer': { [Symbol.toStringTag]: 'ArrayBuffer', byteLength: 4 },
  'bytes whose buffer was transferred': detached,
  'string with half a surrogate pair': 'a\ud800',
}

/** Every parameter that is bytes, with a call that gives it, by the method and by `request`. */
const PARAMETERS = (Object.keys(operations) as Operation[]).flatMap((operation) => {
  const { positional, sent } = described(operation)
  const filled = (name: string, value: unknown) => {
    const [member, inner] = name.split('.') as [string, string?]
    return { [member]: inner ? [{ [inner]: value }] : value }
  }
  return sent.map((name) => {
    const others = sent.filter((other) => other !== name && positional.includes(other)).map((other) => filled(other, 'x'))
    const members = (value: unknown): any => Object.assign({}, ...others, filled(name, value))
    const call = (client: any, value: unknown) => {
      const { sig_structure: structure, ...given } = members(value)
      if (operation === 'importKey') return client.importKey({ alg: 'a256gcm', ...given })
      if (structure !== undefined) return client.signSigStructure(structure, { kid: 'a' })
      const taken = positional.map((each) => (each === '@' ? { kid: 'a' } : given[each]))
      const options = Object.fromEntries(Object.entries(given).filter(([each]) => !positional.includes(each)))
      return client[operation](...taken.map((each) => each ?? 'x'), options)
    }
    const request = (client: Minikms, value: unknown) => client.request(operation, { body: members(value) })
    return { operation, name, call, request }
  })
})

/** A client that sends nothing, and the bodies that it would have sent. */
function recording() {
  const bodies: any[] = []
  const client = new Minikms({
    fetch: async (_, init) => {
      bodies.push(JSON.parse(init!.body as string))
      return new Response('{}')
    },
  })
  return { bodies, client }
}

test('the table has the parameters of bytes', () => {
  const names = PARAMETERS.map(({ operation, name }) => `${operation} ${name}`)
  expect(names.length).toBeGreaterThan(40)
  expect(names).toEqual(
    expect.arrayContaining(['sign data', 'verifyBatch items.sig', 'decrypt nonce', 'importKey seed', 'signCose sig_structure'])
  )
})

test.each(PARAMETERS)('$operation sends the bytes that it is given as $name', async ({ name, call, request }) => {
  for (const [form, value] of Object.entries(FORMS)) {
    const { bodies, client } = recording()
    await call(client, value)
    await request(client, value)
    const [member, inner] = name.split('.') as [string, string?]
    expect(bodies.length).toBe(2)
    for (const body of bodies) expect(inner ? body[member][0][inner] : body[member], form).toBe('aAD_aQ')
  }
})

test.each(PARAMETERS)('$operation refuses other values as $name, before a call', async ({ operation, name, call, request }) => {
  for (const [form, value] of Object.entries(OTHERS)) {
    const { bodies, client } = recording()
    // The payload of a JWS can be an object.
    if (!(operation === 'signJws' && ['object', 'list'].includes(form))) {
      await expect(call(client, value), form).rejects.toThrow(TypeError)
    }
    await expect(request(client, value), form).rejects.toThrow(TypeError)
    expect(bodies, `${name}: ${form}`).toEqual([])
  }
})

test.each(PARAMETERS.filter(({ operation, name }) => described(operation).positional.includes(name)))(
  '$operation refuses to be called without $name',
  async ({ name, operation }) => {
    const { positional } = described(operation)
    const { bodies, client } = recording()
    for (const absent of [undefined, null]) {
      const taken = positional.map((each) => (each === name ? absent : each === '@' ? { kid: 'a' } : 'x'))
      await expect((client as any)[operation](...taken), `${absent}`).rejects.toThrow(TypeError)
    }
    expect(bodies).toEqual([])
  }
)

test('an option of bytes may be absent', async () => {
  const { kid } = await kms.generateKey('rsa2048')
  const { ciphertext, nonce, tag } = await kms.encrypt('text', { kid }, { aad: undefined })
  expect(new TextDecoder().decode(await kms.decrypt(ciphertext, { kid }, { nonce, tag, aad: undefined }))).toBe('text')
})

test('a signature of a buffer is not one of another buffer', async () => {
  const key = await newKey('ed25519')
  const sig = await key.sign(buffer)
  expect(await kms.verify(bytes, sig, key)).toBe(true)
  expect(await kms.verify(new ArrayBuffer(4), sig, key)).toBe(false)
  expect(await kms.verify('', sig, key)).toBe(false)
})

test('the payload of a JWS is bytes, a text, or the JSON of an object', async () => {
  const key = await newKey('p256')
  const payloads: [Data | object, string][] = [
    [new TextEncoder().encode('text').buffer, 'text'],
    ['text', 'text'],
    [{ iss: 'a', later: undefined }, '{"iss":"a"}'],
    [[1, 2], '[1,2]'],
    [new (class Claims { iss = 'b' })(), '{"iss":"b"}'],
  ]
  const signers = [
    (payload: Data | object) => kms.signJws(payload, { kid: key.kid }),
    (payload: Data | object) => signCompact(key, {}, payload),
  ]
  for (const sign of signers) {
    for (const [payload, text] of payloads) {
      const { valid, payload: signed } = await kms.verifyJws(await sign(payload), key)
      expect([valid, new TextDecoder().decode(signed!)]).toEqual([true, text])
    }
    for (const other of [Promise.resolve({}), new Map(), new Date(), 5, null, undefined, () => ({}), new Blob(['text'])]) {
      await expect(sign(other as object)).rejects.toThrow(TypeError)
    }
  }
})

test('a signer of did-jwt refuses what is not data', async () => {
  const key: RemoteKey = await newKey('k256')
  for (const recoverable of [false, true]) {
    await expect(didJwtSigner(key, { recoverable })(Promise.resolve('text') as any)).rejects.toThrow(TypeError)
  }
})
