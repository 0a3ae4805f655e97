import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Records } from './records.ts'

let home: string
let warnings: string[]
let records: Records
const open = (): Records => new Records(home, message => warnings.push(message))
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-records-'))
  mkdirSync(join(home, 'tmp'))
  warnings = []
  records = open()
})
afterEach(() => {
  records.close()
  rmSync(home, { recursive: true, force: true })
})

const database = (): string => join(home, 'archimage.db')

describe('records', () => {
  test('are there at once, and later for others', async () => {
    expect(records.get('cell', 'a')).toBeUndefined()
    expect(readdirSync(home)).toEqual(['tmp'])
    records.put('cell', 'a', { digest: 'sha256:1', list: [1, 2] })
    records.putAll('step', [
      ['x', 1],
      ['y', null],
    ])
    expect(records.get<object>('cell', 'a')).toEqual({ digest: 'sha256:1', list: [1, 2] })
    const other = open()
    for (let i = 0; i < 100 && other.get('cell', 'a') === undefined; i++)
      await new Promise(done => setTimeout(done, 20))
    expect(other.get<object>('cell', 'a')).toEqual({ digest: 'sha256:1', list: [1, 2] })
    expect(other.list('step').map(({ key, value }) => [key, value])).toEqual([
      ['x', 1],
      ['y', null],
    ])
    records.delete('cell', 'a')
    expect(records.get('cell', 'a')).toBeUndefined()
    records.flush()
    expect(other.get('cell', 'a')).toBeUndefined()
    expect(other.get('step', 'x')).toBe(1)
    other.close()
    expect(warnings).toEqual([])
  })

  test('binary ones come back aligned and whole, or not at all', () => {
    const value = new Uint8Array(5_000_000).map((_, i) => i * 7)
    records.putBlob('layer-index', 'sha256:abc', value)
    const back = records.blob('layer-index', 'sha256:abc')!
    expect(Buffer.from(back).equals(value)).toBe(true)
    expect(back.byteOffset % 8).toBe(0)
    expect(records.blob('layer-index', 'sha256:abd')).toBeUndefined()
    expect(records.blob('other', 'sha256:abc')).toBeUndefined()
    expect(() => records.putBlob('../../etc', 'x', value)).toThrow(TypeError)
    const [file] = readdirSync(join(home, 'cache/layer-index'))
    const path = join(home, 'cache/layer-index', file!)
    const bytes = readFileSync(path)
    for (const at of [0, 9, 16, 4_000_000, bytes.length - 1]) {
      const bad = Buffer.from(bytes)
      bad[at] = bad[at]! ^ 4
      writeFileSync(path, bad)
      expect(records.blob('layer-index', 'sha256:abc')).toBeUndefined()
    }
    writeFileSync(path, bytes.subarray(0, 11))
    expect(records.blob('layer-index', 'sha256:abc')).toBeUndefined()
    records.putBlob('layer-index', 'sha256:abc', value)
    records.delete('layer-index', 'sha256:abc')
    expect(records.blob('layer-index', 'sha256:abc')).toBeUndefined()
  })

  test('the database deleted between two runs, or beside its log, or under a running one', () => {
    records.put('cell', 'a', 1)
    records.close()
    rmSync(database())
    records = open()
    expect(records.get('cell', 'a')).toBeUndefined()
    records.put('cell', 'a', 2)
    records.flush()
    expect(statSync(`${database()}-wal`).size).toBeGreaterThan(0)
    rmSync(database())
    const other = open()
    other.put('cell', 'b', 3)
    other.flush()
    expect(other.get('cell', 'a')).toBeUndefined()
    expect(other.get('cell', 'b')).toBe(3)
    records.put('cell', 'c', 4)
    records.flush()
    expect(records.get('cell', 'c')).toBe(4)
    other.close()
    expect(warnings).toEqual([])
  })

  test('a file that is no database is set aside with a warning', () => {
    writeFileSync(database(), 'not a database at all, '.repeat(1000))
    expect(records.get('cell', 'a')).toBeUndefined()
    records.put('cell', 'a', 1)
    records.flush()
    expect(warnings.length).toBe(1)
    expect(warnings[0]).toContain('damaged')
    const other = open()
    expect(other.get('cell', 'a')).toBe(1)
    other.close()
    expect(readdirSync(home)).toContain('archimage.db-damaged')
  })

  test('a database with another schema is set aside too', () => {
    const db = new DatabaseSync(database())
    db.exec('CREATE TABLE records (something)')
    db.close()
    records.put('cell', 'a', 1)
    records.flush()
    expect(records.get('cell', 'a')).toBe(1)
    expect(warnings.length).toBe(1)
  })

  test('bytes changed anywhere in the database: a right answer or none, never a wrong one', () => {
    for (let i = 0; i < 300; i++) records.put('cell', `key ${i}`, { number: i, text: `value ${i}`.repeat(10) })
    records.close()
    const whole = readFileSync(database())
    let right = 0
    for (let round = 0; round < 60; round++) {
      const bytes = Buffer.from(whole)
      for (let n = 0; n < 1 + round / 4; n++) bytes[Math.floor(Math.random() * bytes.length)] = Math.random() * 256
      for (const end of ['', '-wal', '-shm', '-damaged']) rmSync(database() + end, { force: true })
      writeFileSync(database(), bytes)
      const damaged = open()
      for (let i = 0; i < 300; i++) {
        const value = damaged.get<{ number: number; text: string }>('cell', `key ${i}`)
        if (value === undefined) continue
        expect(value).toEqual({ number: i, text: `value ${i}`.repeat(10) })
        right++
      }
      for (const { key, value } of damaged.list<{ number: number }>('cell')) expect(key).toBe(`key ${value.number}`)
      damaged.put('cell', 'new', 1)
      damaged.flush()
      damaged.close()
    }
    expect(right).toBeGreaterThan(1000)
  })

  test('the day of the last use is written when something is read on another day', () => {
    records.put('cell', 'a', 1)
    records.put('cell', 'b', 1)
    records.close()
    const db = new DatabaseSync(database())
    db.exec('UPDATE records SET used = used - 20')
    db.close()
    records = open()
    records.get('cell', 'a')
    const now = Date.now()
    const days = records.list().map(({ key, used }) => [key, Math.floor((now - used) / 86_400_000)])
    expect(days).toEqual([
      ['a', 0],
      ['b', 20],
    ])
  })
})
