import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isInside, makeDirsInside, writeFileAtomic } from './files.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-files-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('writeFileAtomic', () => {
  test('writes, replaces, leaves nothing else behind', () => {
    const path = join(dir, 'a.json')
    writeFileAtomic(path, 'one', 0o600)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    writeFileAtomic(path, Buffer.from('two'))
    expect(readFileSync(path, 'utf8')).toBe('two')
    expect(readdirSync(dir)).toEqual(['a.json'])
  })

  test('a failure leaves the old file and no temporary one', () => {
    mkdirSync(join(dir, 'target'))
    writeFileSync(join(dir, 'target/x'), '')
    expect(() => writeFileAtomic(join(dir, 'target'), 'x')).toThrow()
    expect(() => writeFileAtomic(join(dir, 'missing/x'), 'x')).toThrow()
    expect(readdirSync(dir)).toEqual(['target'])
  })

  test('a name of the greatest length', () => {
    const path = join(dir, 'x'.repeat(255))
    writeFileAtomic(path, 'y')
    expect(existsSync(path)).toBe(true)
  })

  test.skipIf(process.geteuid?.() === 0)('no right to write is PERMISSION', () => {
    chmodSync(dir, 0o500)
    expect(() => writeFileAtomic(join(dir, 'x'), 'y')).toThrow(expect.objectContaining({ code: 'PERMISSION' }))
    chmodSync(dir, 0o700)
  })
})

test('isInside goes by names', () => {
  for (const path of ['/a/b', '/a/b/', '/a/b/c', '/a/b/..c', '/a/b/x/../y', 'c/d', '...'])
    expect([path, isInside('/a/b', path)]).toEqual([path, true])
  for (const path of ['/a', '/a/bc', '/a/b/../c', '..', '../b2', 'c/../../..', '/'])
    expect([path, isInside('/a/b', path)]).toEqual([path, false])
  expect(isInside('/', '/anything')).toBe(true)
})

describe('makeDirsInside', () => {
  test('makes all that is missing', () => {
    const path = makeDirsInside(dir, 'a/b/c', 0o700)
    expect(path).toBe(join(dir, 'a/b/c'))
    expect(statSync(path).mode & 0o777).toBe(0o700)
    expect(makeDirsInside(dir, 'a/b/c')).toBe(path)
    expect(makeDirsInside(dir, '.')).toBe(dir)
  })

  test('never passes through a link or leads out', () => {
    mkdirSync(join(dir, 'root'))
    mkdirSync(join(dir, 'outside'))
    symlinkSync('../outside', join(dir, 'root/link'))
    symlinkSync('nowhere', join(dir, 'root/dangling'))
    writeFileSync(join(dir, 'root/file'), '')
    for (const path of ['link/x', 'link', 'dangling/x', 'file/x', '../outside/x', '/etc/archimage-test'])
      expect(() => makeDirsInside(join(dir, 'root'), path)).toThrow(
        expect.objectContaining({ code: 'CONTEXT_INVALID', hint: expect.any(String) }),
      )
    expect(readdirSync(join(dir, 'outside'))).toEqual([])
  })
})
