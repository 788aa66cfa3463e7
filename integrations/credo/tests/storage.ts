import {
  type AgentContext,
  type BaseRecord,
  type BaseRecordConstructor,
  JsonTransformer,
  type Query,
  RecordDuplicateError,
  RecordNotFoundError,
  type StorageService,
  StorageVersionRecord,
} from '@credo-ts/core'

interface Row {
  type: string
  value: Record<string, unknown>
  tags: Record<string, unknown>
}

type Record_ = BaseRecord<any, any, any>

/** Records of an agent, in memory. They are what an agent keeps besides its keys. */
export class MemoryStorage<T extends Record_ = Record_> implements StorageService<T> {
  public readonly supportsCursorPagination = false
  public readonly rows = new Map<string, Row>()

  public constructor() {
    const version = new StorageVersionRecord({ storageVersion: StorageVersionRecord.frameworkStorageVersion })
    this.#set(version as unknown as T)
  }

  public async save(_context: AgentContext, record: T): Promise<void> {
    if (this.rows.has(record.id)) throw new RecordDuplicateError('It is there.', { recordType: record.type })
    this.#set(record)
  }

  public async update(_context: AgentContext, record: T): Promise<void> {
    this.#row(record.id, record.type)
    this.#set(record)
  }

  public async delete(_context: AgentContext, record: T): Promise<void> {
    this.#row(record.id, record.type)
    this.rows.delete(record.id)
  }

  public async deleteById(_context: AgentContext, { type }: BaseRecordConstructor<T>, id: string): Promise<void> {
    this.#row(id, type)
    this.rows.delete(id)
  }

  public async getById(_context: AgentContext, recordClass: BaseRecordConstructor<T>, id: string): Promise<T> {
    return this.#record(id, this.#row(id, recordClass.type), recordClass)
  }

  public async getAll(_context: AgentContext, recordClass: BaseRecordConstructor<T>): Promise<T[]> {
    return this.#all(recordClass, () => true)
  }

  public async findByQuery(
    _context: AgentContext,
    recordClass: BaseRecordConstructor<T>,
    query: Query<T>
  ): Promise<T[]> {
    return this.#all(recordClass, ({ tags }) => matches(tags, query as Record<string, unknown>))
  }

  #set(record: T): void {
    record.updatedAt = new Date()
    this.rows.set(record.id, { type: record.type, value: JsonTransformer.toJSON(record), tags: record.getTags() })
  }

  #row(id: string, recordType: string): Row {
    const row = this.rows.get(id)
    if (row?.type !== recordType) throw new RecordNotFoundError('It is not there.', { recordType })
    return row
  }

  #record(id: string, row: Row, recordClass: BaseRecordConstructor<T>): T {
    const record = JsonTransformer.fromJSON<T>(row.value, recordClass)
    record.id = id
    record.replaceTags(row.tags)
    return record
  }

  #all(recordClass: BaseRecordConstructor<T>, isWanted: (row: Row) => boolean): T[] {
    return [...this.rows]
      .filter(([, row]) => row.type === recordClass.type && isWanted(row))
      .map(([id, row]) => this.#record(id, row, recordClass))
  }
}

function matches(tags: Record<string, unknown>, query: Record<string, unknown>): boolean {
  const { $and, $or, $not, ...wanted } = query as Record<string, any>
  const fits = (part: Record<string, unknown>) => matches(tags, part)
  if ($and && !$and.every(fits)) return false
  if ($or && !$or.some(fits)) return false
  if ($not && fits($not)) return false
  return Object.entries(wanted).every(([name, value]) => {
    if (value === undefined) return true
    const found = tags[name]
    return Array.isArray(value) ? value.every((one) => (found as unknown[] | undefined)?.includes(one)) : found === value
  })
}
