import { expect, test } from 'bun:test'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { writeTar } from '../../test/fidelity/tar.ts'
import { isArchive } from './is-archive.ts'
import { dockerfileFromStdin, emptyContext, readStdin } from './stdin.ts'

test('a Dockerfile on standard input has an empty context', () => {
  const context = emptyContext()
  expect([context.list(''), context.lookup('a'), context.lookup('.')?.type]).toEqual([[], undefined, 'dir'])
  expect(() => context.digest('a')).toThrow('no files')
  expect(String(dockerfileFromStdin([Buffer.from('FROM '), Buffer.from('x')]))).toBe('FROM x')
  expect(() => dockerfileFromStdin(Array(17).fill(Buffer.alloc(1 << 20)))).toThrow('too big')
})

test('standard input is read to its end, in pieces', () => {
  const folder = mkdtempSync(join(tmpdir(), 'archimage-stdin-'))
  for (const size of [0, 1, 1 << 20, (1 << 20) + 7]) {
    writeFileSync(join(folder, 'x'), Buffer.alloc(size, 'x'))
    const fd = openSync(join(folder, 'x'), 'r')
    expect(Buffer.concat([...readStdin(fd)]).length).toBe(size)
    closeSync(fd)
  }
  rmSync(folder, { recursive: true })
})

test('what begins as an archive is one, whatever follows', () => {
  const tar = writeTar([{ path: 'a', type: 'file', data: Buffer.from('x') }])
  expect(isArchive(tar)).toBe(true)
  expect(isArchive(tar.subarray(0, 511))).toBe(false)
  expect(isArchive(writeTar([]))).toBe(false)
  for (const magic of ['1f8b08', '425a68', 'fd377a585a00', '28b52ffd', '502a4d1800000000'])
    expect(isArchive(Buffer.from(magic, 'hex'))).toBe(true)
  for (const text of ['FROM scratch\n', '# syntax=x\nFROM a\n', '', 'ustar', ' '.repeat(1024)])
    expect(isArchive(Buffer.from(text))).toBe(false)
})

test('random bytes and damaged headers never break the detection', () => {
  const tar = writeTar([{ path: 'a/b', type: 'symlink', link: 'c' }])
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2048 }), bytes => {
      isArchive(bytes)
    }),
    { numRuns: 2000 },
  )
  fc.assert(
    fc.property(fc.nat(511), fc.nat(255), (at, value) => {
      const damaged = Buffer.from(tar)
      const before = damaged[at]!
      damaged[at] = value
      // The checksum of the header covers all of it, so that no other byte is taken; its own digits may be written in several ways.
      if (at < 148 || at > 155) expect(isArchive(damaged)).toBe(value === before)
      else isArchive(damaged)
    }),
    { numRuns: 2000 },
  )
})
