// What Credo's tests of its own backends import, with this backend instead of theirs.
import { randomUUID } from 'node:crypto'

import type { AgentContext } from '@credo-ts/core'
import { inject } from 'vitest'

import { MinikmsKeyManagementService } from '../../src/index.js'
import { post } from '../kms.js'

const url = inject('url')

export const NodeKeyManagementService = await standIn('node')
export const AskarKeyManagementService = await standIn('askar')

/** No agent: it has no store. */
export const getAgentContext = ({ contextCorrelationId }: AgentContext) => ({ contextCorrelationId })
export const getAgentConfig = () => undefined

export const askar = undefined
export const AskarMultiWalletDatabaseScheme = {}
export class AskarError extends Error {}
export class AskarModuleConfig {}
export class AskarStoreManager {}
export class NodeFileSystem {}

/** A class whose objects are this backend, each with profiles of its own for all contexts. */
async function standIn(backend: string) {
  const profile = (context: AgentContext) => context.contextCorrelationId
  const kms = await MinikmsKeyManagementService.connect({ url, backend, profile })

  function make() {
    const tests = randomUUID()
    const profiles = new Map<string, Promise<unknown>>()
    return new Proxy(kms, {
      get: (_, name: keyof typeof kms) => {
        const member = kms[name] as any
        if (typeof member !== 'function') return member
        if (name === 'randomBytes' || name === 'isOperationSupported') return member.bind(kms)
        return async (context: AgentContext, ...rest: unknown[]) => {
          const own = { ...context, contextCorrelationId: `${tests}-${context.contextCorrelationId}` } as AgentContext
          const created = profiles.get(profile(own)) ?? post(url, '/profile', { name: profile(own) })
          profiles.set(profile(own), created)
          await created
          return member.call(kms, own, ...rest)
        }
      },
    })
  }
  // Called by `new`: what an ordinary function returns is the object then.
  return make
}
