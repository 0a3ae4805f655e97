import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  closeSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as at from './at.ts'

let folder: string
let dir: number
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-at-'))
  if (process.platform === 'linux') dir = at.openDir(folder)
})
afterEach(() => {
  if (process.platform === 'linux') at.closeFd(dir)
  rmSync(folder, { recursive: true, force: true })
})

const codeOf = (act: () => unknown): string | undefined => {
  try {
    act()
  } catch (error) {
    return (error as { code?: string }).code
  }
  return undefined
}

describe.skipIf(process.platform !== 'linux')('calls below a directory', () => {
  test('files', () => {
    const fd = at.createFileAt(dir, 'file', 0o640)
    at.writeFd(fd, Buffer.from('content'))
    at.setMode(fd, 0o4711)
    at.setTimesFd(fd, { seconds: -5, nanoseconds: 123_456_789 })
    at.closeFd(fd)
    const { ino, ctimeNs } = lstatSync(join(folder, 'file'), { bigint: true })
    expect(at.statAt(dir, 'file')).toMatchObject({
      ...{ type: 'file', mode: 0o4711, size: 7, nlink: 1, ino, ctime: ctimeNs },
      mtime: { seconds: -5, nanoseconds: 123_456_789 },
    })
    expect(lstatSync(join(folder, 'file'), { bigint: true }).mtimeNs).toBe(-5_000_000_000n + 123_456_789n)
    at.linkAt(dir, 'file', dir, 'again')
    expect(at.statAt(dir, 'again')).toMatchObject({ nlink: 2, ino })
    expect(codeOf(() => at.createFileAt(dir, 'file', 0o600))).toBe('EEXIST')
    at.unlinkAt(dir, 'file', 'file')
    expect(at.statAt(dir, 'file')).toBeUndefined()
    expect(codeOf(() => at.openFileAt(dir, 'file'))).toBe('ENOENT')
    expect(() => at.openFileAt(dir, 'a\0b')).toThrow(TypeError)
  })

  test('links are not followed', () => {
    symlinkSync('/etc', join(folder, 'link'))
    expect(at.readLinkAt(dir, 'link').toString()).toBe('/etc')
    expect(at.statAt(dir, 'link')!.type).toBe('symlink')
    expect(codeOf(() => at.openDirAt(dir, 'link'))).toBe('ENOTDIR')
    expect(codeOf(() => at.openFileAt(dir, 'link'))).toBe('ELOOP')
    expect(codeOf(() => at.createFileAt(dir, 'link', 0o600))).toBe('EEXIST')
    at.setTimesAt(dir, 'link', { seconds: 7, nanoseconds: 0 })
    expect(lstatSync(join(folder, 'link')).mtimeMs).toBe(7000)
    at.symlinkAt(Buffer.from([0x78, 0xff]), dir, 'odd')
    expect(at.readLinkAt(dir, 'odd')).toEqual(Buffer.from([0x78, 0xff]))
  })

  test('directories are listed as often as one asks, by bytes, many at once', () => {
    const names = Array.from({ length: 3000 }, (_, i) => `${'n'.repeat(i % 200)}${i}`)
    for (const name of names) at.closeFd(at.createFileAt(dir, name, 0o600))
    at.makeDirAt(dir, Buffer.from([0xff]), 0o700)
    for (const _ of [1, 2]) {
      const found = at.listFd(dir)
      expect(found.map(({ name }) => name.toString('latin1')).sort()).toEqual([...names, '\xff'].sort())
      expect(found.find(({ name }) => name[0] === 0xff)).toEqual({ name: Buffer.from([0xff]), type: 'dir' })
    }
    expect(codeOf(() => at.unlinkAt(dir, Buffer.from([0xff]), 'file'))).toBe('EISDIR')
    at.unlinkAt(dir, Buffer.from([0xff]), 'dir')
  })

  test('a name is not taken from others by rename', () => {
    for (const name of ['a', 'b']) writeFileSync(join(folder, name), name)
    expect(codeOf(() => at.renameAt(dir, 'a', dir, 'b'))).toBe('EEXIST')
    at.renameAt(dir, 'a', dir, 'c')
    expect(readFileSync(join(folder, 'c'), 'utf8')).toBe('a')
  })

  test('bytes of one file into another, across file systems too', () => {
    writeFileSync(join(folder, 'from'), Buffer.alloc(3_000_000, 'content'))
    for (const place of [folder, '/dev/shm']) {
      const path = join(mkdtempSync(join(place, 'archimage-at-')), 'to')
      const [from, to] = [openSync(join(folder, 'from'), 'r'), openSync(path, 'w+')]
      at.copyFd(from, to, 3_000_000)
      const copy = Buffer.alloc(3_000_001)
      expect(readSync(to, copy, 0, copy.length, 0)).toBe(3_000_000)
      expect(copy.subarray(0, 3_000_000).equals(readFileSync(join(folder, 'from')))).toBe(true)
      closeSync(from)
      closeSync(to)
      rmSync(join(path, '..'), { recursive: true })
    }
  })

  test.skipIf(codeOf(attributesHere) !== undefined)('attributes, of any length', () => {
    const fd = at.createFileAt(dir, 'file', 0o600)
    at.setXattr(fd, 'user.long', Buffer.alloc(2000, 'v'))
    at.setXattr(fd, 'user.empty', new Uint8Array())
    expect(
      at
        .listXattrs(fd)
        .filter(name => name.startsWith('user.'))
        .sort(),
    ).toEqual(['user.empty', 'user.long'])
    expect(at.getXattr(fd, 'user.long')).toEqual(Buffer.alloc(2000, 'v'))
    expect(at.getXattrAt(dir, 'file', 'user.empty')).toEqual(Buffer.alloc(0))
    expect(at.getXattr(fd, 'user.none')).toBeUndefined()
    at.setXattrAt(dir, 'file', 'user.more', Buffer.from('x'))
    at.removeXattr(fd, 'user.long')
    expect(
      at
        .listXattrsAt(dir, 'file')
        .filter(name => name.startsWith('user.'))
        .sort(),
    ).toEqual(['user.empty', 'user.more'])
    at.closeFd(fd)
  })
})

/** Not every file system has them. */
function attributesHere(): void {
  const place = mkdtempSync(join(tmpdir(), 'archimage-at-'))
  const fd = at.openDir(place)
  try {
    at.setXattr(fd, 'user.probe', Buffer.from('1'))
  } finally {
    at.closeFd(fd)
    rmSync(place, { recursive: true })
  }
}
