// The records of an agent, in memory: what it keeps besides its keys, here its DIDs. An agent of yours has them in Askar.
import { type DependencyManager, InjectionSymbols, StorageVersionRecord } from '@credo-ts/core'

const kept = new Map<string, any>()
const keep = async (_: unknown, record: any) => void kept.set(record.id, record)
await keep(null, new StorageVersionRecord({ storageVersion: StorageVersionRecord.frameworkStorageVersion }))

const has = (record: any, tags: object) =>
  Object.entries(tags).every(([name, value]) => value === undefined || record.getTags()[name] === value)

const storage = {
  save: keep,
  update: keep,
  getById: async (_: unknown, __: unknown, id: string) => kept.get(id),
  findByQuery: async (_: unknown, { type }: { type: string }, { $or = [{}], ...all }: any) =>
    [...kept.values()].filter((record) => record.type === type && has(record, all) && $or.some((any: object) => has(record, any))),
}

export const records = {
  register: (manager: DependencyManager) => manager.registerInstance(InjectionSymbols.StorageService, storage),
}
