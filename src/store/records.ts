import { existsSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { removeFile } from '../sys/files.ts'
import { checksum } from '../sys/hash.ts'
import { type Lock, lockFile } from '../sys/locks.ts'
import { isDamaged, openSqlite, type Sqlite } from '../sys/sqlite.ts'
import { readBinary, removeBinary, writeBinary } from './binaries.ts'
import { NAMES } from './home.ts'

const DAY = 86_400_000
const DELAY = 50

const SCHEMA = `CREATE TABLE IF NOT EXISTS records (
  kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, sum INTEGER NOT NULL, used INTEGER NOT NULL,
  PRIMARY KEY (kind, key)) WITHOUT ROWID`

export interface RecordEntry<T = unknown> {
  readonly kind: string
  readonly key: string
  readonly value: T
  /** Milliseconds since 1970, to the day. */
  readonly used: number
  readonly bytes: number
}

interface Row {
  readonly kind: string
  readonly key: string
  readonly value: string
  readonly sum: number
  readonly used: number
}

interface Pending {
  readonly kind: string
  readonly key: string
  /** JSON; undefined for a record that is to go. */
  readonly text: string | undefined
}

/**
 * What is remembered for speed: losing any of it, or all, costs time only. Nothing here throws because of the database:
 * what cannot be read is absent, what cannot be written is forgotten with a warning. Values are JSON; each carries a
 * checksum, so that a damaged file gives no wrong answers. Writes are gathered and go to the disk in one transaction, 50 ms
 * later or at `flush`, at the latest when the process ends (not by kill -9).
 */
export class Records {
  readonly #root: string
  readonly #warn: (message: string) => void
  readonly #pending = new Map<string, Pending>()
  readonly #touched = new Map<string, { readonly kind: string; readonly key: string }>()
  readonly #atExit = () => this.flush()
  #db: { readonly sqlite: Sqlite; readonly ino: number } | undefined
  #broken = false
  #warned = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(root: string, warn: (message: string) => void) {
    this.#root = root
    this.#warn = warn
  }

  get<T>(kind: string, key: string): T | undefined {
    const id = idOf(kind, key)
    const pending = this.#pending.get(id)
    if (pending !== undefined) return pending.text === undefined ? undefined : (JSON.parse(pending.text) as T)
    const row = this.#with(false, db =>
      db.get<Row>('SELECT kind, key, value, sum, used FROM records WHERE kind = ? AND key = ?', kind, key),
    )
    // A page in the wrong place may hold a whole record, of another name.
    if (row === undefined || row.kind !== kind || row.key !== key || !isWhole(row)) return undefined
    if (row.used < today() && !this.#touched.has(id)) {
      this.#touched.set(id, { kind, key })
      this.#later()
    }
    return JSON.parse(row.value) as T
  }

  put(kind: string, key: string, value: unknown): void {
    this.#pending.set(idOf(kind, key), { kind, key, text: JSON.stringify(value) })
    this.#later()
  }

  putAll(kind: string, entries: Iterable<readonly [key: string, value: unknown]>): void {
    for (const [key, value] of entries) this.put(kind, key, value)
  }

  /** Forgets the record, and the binary one of the same name. */
  delete(kind: string, key: string): void {
    this.#pending.set(idOf(kind, key), { kind, key, text: undefined })
    removeBinary(this.#root, kind, key)
    this.#later()
  }

  /** All of a kind, or all; keys in byte order. */
  list<T = unknown>(kind?: string): RecordEntry<T>[] {
    this.flush()
    const rows =
      this.#with(true, db =>
        kind === undefined
          ? db.all<Row>('SELECT kind, key, value, sum, used FROM records ORDER BY kind, key')
          : db.all<Row>('SELECT kind, key, value, sum, used FROM records WHERE kind = ? ORDER BY key', kind),
      ) ?? []
    return rows.filter(isWhole).map(({ kind, key, value, used }) => ({
      kind,
      key,
      value: JSON.parse(value) as T,
      used: used * DAY,
      bytes: Buffer.byteLength(value) + kind.length + key.length,
    }))
  }

  /** A binary record (layer indexes and the like; kinds of lower-case letters, digits, dashes), a file of its own. */
  blob(kind: string, key: string): Uint8Array | undefined {
    return readBinary(this.#root, kind, key)
  }

  /** Written at once. */
  putBlob(kind: string, key: string, value: Uint8Array): void {
    try {
      writeBinary(this.#root, kind, key, value)
    } catch (error) {
      if (error instanceof TypeError) throw error
      this.#warn(`a record could not be kept: ${(error as Error).message}`)
    }
  }

  /** Writes what is pending. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    process.off('exit', this.#atExit)
    if (this.#pending.size === 0 && this.#touched.size === 0) return
    const day = today()
    this.#with(true, db =>
      db.transaction(() => {
        for (const { kind, key } of this.#touched.values())
          db.run('UPDATE records SET used = ? WHERE kind = ? AND key = ?', day, kind, key)
        for (const { kind, key, text } of this.#pending.values())
          if (text === undefined) db.run('DELETE FROM records WHERE kind = ? AND key = ?', kind, key)
          else
            db.run(
              'INSERT OR REPLACE INTO records (kind, key, value, sum, used) VALUES (?, ?, ?, ?, ?)',
              kind,
              key,
              text,
              sumOf(kind, key, text),
              day,
            )
      }),
    )
    this.#pending.clear()
    this.#touched.clear()
  }

  /** Gives the room of deleted records back to the disk. */
  shrink(): void {
    this.flush()
    if (existsSync(join(this.#root, NAMES.database))) this.#with(true, db => void db.run('VACUUM'))
  }

  close(): void {
    this.flush()
    this.#db?.sqlite.close()
    this.#db = undefined
  }

  #later(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.flush(), DELAY)
    this.#timer.unref()
    process.once('exit', this.#atExit)
  }

  /** A damaged database is set aside, and the work is done again on a new one. */
  #with<T>(writing: boolean, work: (db: Sqlite) => T, again = true): T | undefined {
    if (this.#broken) return undefined
    const path = join(this.#root, NAMES.database)
    try {
      // For reading alone no database is made.
      if (this.#db === undefined && !writing && !existsSync(path)) return undefined
      this.#db ??= { sqlite: openSqlite(path, SCHEMA), ino: statSync(path).ino }
      return work(this.#db.sqlite)
    } catch (error) {
      const reason = (error as Error).message
      if (isDamaged(error) && again && this.#replace(path, reason)) return this.#with(writing, work, false)
      if (isDamaged(error)) this.#broken = true
      if (!this.#warned) this.#warn(`what is remembered in ${path} cannot be used (${reason}): this run is slower`)
      this.#warned = true
      return undefined
    }
  }

  #replace(path: string, reason: string): boolean {
    const opened = this.#db?.ino
    try {
      this.#db?.sqlite.close()
    } catch {}
    this.#db = undefined
    let lock: Lock | undefined
    try {
      lock = lockFile(join(this.#root, NAMES.indexLock), 'exclusive', 5000)
      if (lock === undefined) return false
      // Another process may have replaced it already.
      const ino = statSync(path, { throwIfNoEntry: false })?.ino
      if (ino === undefined || (opened !== undefined && opened !== ino)) return true
      renameSync(path, `${path}-damaged`)
      for (const end of ['-wal', '-shm']) removeFile(path + end)
      this.#warn(`${path} was damaged (${reason}); a new one has been started, and this run is slower`)
      return true
    } catch {
      return false
    } finally {
      lock?.release()
    }
  }
}

const idOf = (kind: string, key: string): string => `${kind}\0${key}`
const today = (): number => Math.floor(Date.now() / DAY)
const sumOf = (kind: string, key: string, text: string): number => checksum(idOf(kind, key), text)

function isWhole(row: Row): boolean {
  return typeof row.value === 'string' && row.sum === sumOf(row.kind, row.key, row.value)
}
