import type { Database, SQLQueryBindings } from 'bun:sqlite'

/** A small door to SQLite: synchronous, WAL, one statement cache. */
export interface Sqlite {
  all<T>(sql: string, ...values: SQLQueryBindings[]): T[]
  get<T>(sql: string, ...values: SQLQueryBindings[]): T | undefined
  run(sql: string, ...values: SQLQueryBindings[]): number
  /** Begins with the write lock: a transaction that reads first and then writes fails at once when another one writes. */
  transaction(work: () => void): void
  close(): void
}

/**
 * Opens or makes a database. `schema` is a list of statements that may be repeated. Nothing is synced to the disk: a
 * power failure may damage the file, a killed process may not.
 */
export function openSqlite(path: string, schema: string): Sqlite {
  const { Database: Class } = require('bun:sqlite') as typeof import('bun:sqlite')
  const db: Database = new Class(path, { create: true, readwrite: true })
  try {
    db.run('PRAGMA busy_timeout = 5000')
    db.run('PRAGMA synchronous = OFF')
    const { journal_mode } = db.query('PRAGMA journal_mode').get() as { journal_mode: string }
    if (journal_mode !== 'wal') db.run('PRAGMA journal_mode = WAL')
    db.run(schema)
  } catch (error) {
    db.close()
    throw error
  }
  return {
    all: <T>(sql: string, ...values: SQLQueryBindings[]) => db.query<T, SQLQueryBindings[]>(sql).all(...values),
    get: <T>(sql: string, ...values: SQLQueryBindings[]) =>
      db.query<T, SQLQueryBindings[]>(sql).get(...values) ?? undefined,
    run: (sql, ...values) => db.query(sql).run(...values).changes,
    transaction: work => db.transaction(work).immediate(),
    close: () => db.close(),
  }
}

/** Whether an error means that the file itself is damaged, and not that it is busy or the disk full. */
export function isDamaged(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && /^SQLITE_(CORRUPT|NOTADB|FORMAT|CANTOPEN|ERROR|SCHEMA|IOERR_SHORT_READ)/.test(code)
}
