import { Kms } from '@credo-ts/core'
import { expect, it } from 'vitest'

import { newAgent } from './agent.js'

it.each([
  ['key', {}, { kty: 'OKP', crv: 'Ed25519' }],
  ['jwk', {}, { kty: 'EC', crv: 'P-256' }],
  ['peer', { numAlgo: 0 }, { kty: 'OKP', crv: 'Ed25519' }],
] as const)('an agent has a did:%s', async (method, options, type) => {
  const { agent } = await newAgent(method)
  const { didState } = await agent.dids.create({
    method,
    options: { ...options, createKey: { type } },
  } as any)
  expect(didState).toMatchObject({ state: 'finished' })
  const did = didState.did!
  expect(did).toMatch(new RegExp(`^did:${method}:`))
  const { didDocument } = await agent.dids.resolve(did)
  expect(didDocument?.id).toBe(did)
})

it('two agents connect, and send messages', async () => {
  const alice = await newAgent('alice')
  const bob = await newAgent('bob')
  const { outOfBandInvitation, id } = await alice.agent.didcomm.oob.createInvitation()
  const { connectionRecord } = await bob.agent.didcomm.oob.receiveInvitation(outOfBandInvitation, { label: 'bob' })
  const ofBob = await bob.agent.didcomm.connections.returnWhenIsConnected(connectionRecord!.id)
  const [found] = await alice.agent.didcomm.connections.findAllByOutOfBandId(id)
  const ofAlice = await alice.agent.didcomm.connections.returnWhenIsConnected(found!.id)
  await bob.agent.didcomm.basicMessages.sendMessage(ofBob.id, 'hello')
  await alice.agent.didcomm.basicMessages.sendMessage(ofAlice.id, 'welcome')
  await expect.poll(() => texts(alice.agent, ofAlice.id)).toEqual(['hello', 'welcome'])
  await expect.poll(() => texts(bob.agent, ofBob.id)).toEqual(['hello', 'welcome'])
  for (const { storage } of [alice, bob]) {
    expect(storage.rows.size).toBeGreaterThan(1)
    const kept = JSON.stringify([...storage.rows.values()])
    for (const member of ['"d"', '"k"', 'privateKey', 'secretKey']) expect(kept).not.toContain(member)
  }
})

async function texts(agent: any, connectionId: string): Promise<string[]> {
  const records = await agent.didcomm.basicMessages.findAllByQuery({ connectionId })
  return records.map((record: any) => record.content).sort()
}

it('refuses what Mini KMS does not have', async () => {
  const { agent } = await newAgent('nobody')
  const call = agent.kms.createKey({ type: { kty: 'oct', algorithm: 'aes', length: 200 } })
  await expect(call).rejects.toThrow(Kms.KeyManagementError)
})
