import { randomUUID } from 'node:crypto'

import type { AgentContext, Kms } from '@credo-ts/core'
import { inject } from 'vitest'

import { MinikmsKeyManagementService } from '../src/index.js'

/** No agent: what the backend does with its context is to ask the functions of its options. */
export const context = { contextCorrelationId: 'default' } as AgentContext

export const bytes = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text))

/** A backend with a profile of its own. */
export async function newKms(): Promise<{ kms: MinikmsKeyManagementService; profile: string; url: string }> {
  const url = inject('url')
  const profile = `credo-${randomUUID()}`
  await post(url, '/profile', { name: profile })
  return { kms: await MinikmsKeyManagementService.connect({ url, profile }), profile, url }
}

/** A function that gives a key of a type, the same whenever it is asked: one of RSA takes seconds to make. */
export function keyOfEachType(kms: () => MinikmsKeyManagementService) {
  const made = new Map<string, Promise<Kms.KmsCreateKeyReturn>>()
  return (type: Kms.KmsCreateKeyType) => {
    const name = JSON.stringify(type)
    if (!made.has(name)) made.set(name, kms().createKey(context, { type }))
    return made.get(name)!
  }
}

/** The answer of a call to Mini KMS with a body; throws for a problem. */
export async function send(method: string, url: string, path: string, body: object, profile?: string): Promise<any> {
  const headers = { 'Content-Type': 'application/json', ...(profile && { 'X-Profile': profile }) }
  const response = await fetch(new URL(path, url), { method, headers, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(await response.text())
  return response.json()
}

export const post = (url: string, path: string, body: object, profile?: string) => send('POST', url, path, body, profile)
