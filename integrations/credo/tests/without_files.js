// What an agent needs besides its keys, without native libraries: records in memory, and no files.
import { EventEmitter } from 'node:events'

import { InjectionSymbols, RecordNotFoundError, StorageVersionRecord } from '@credo-ts/core'

export const agentDependencies = {
  FileSystem: class {},
  EventEmitterClass: EventEmitter,
  fetch,
  WebSocketClass: class {},
}

const kept = new Map()
const version = new StorageVersionRecord({ storageVersion: StorageVersionRecord.frameworkStorageVersion })
kept.set(version.id, version)

const storage = {
  supportsCursorPagination: false,
  save: async (_, record) => void kept.set(record.id, record),
  update: async (_, record) => void kept.set(record.id, record),
  delete: async (_, record) => void kept.delete(record.id),
  getById: async (_, recordClass, id) => {
    const found = kept.get(id)
    if (!found) throw new RecordNotFoundError('It is not there.', { recordType: recordClass.type })
    return found
  },
  getAll: async (_, recordClass) => [...kept.values()].filter(({ type }) => type === recordClass.type),
  findByQuery: async () => [],
}

export const records = { register: (manager) => manager.registerInstance(InjectionSymbols.StorageService, storage) }
