import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { lstatSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeNode, readXattrs, setTimes, writeXattr } from './ffi.ts'

let dir: string
let file: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archimage-ffi-'))
  file = join(dir, 'file')
  writeFileSync(file, 'x')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const linux = process.platform === 'linux'
const root = process.geteuid?.() === 0
const python = (code: string, ...args: string[]): string => {
  const { stdout, stderr, status } = spawnSync('python3', ['-c', code, ...args])
  if (status !== 0) throw new Error(stderr.toString())
  return stdout.toString().trim()
}
const hasPython = spawnSync('python3', ['--version']).status === 0

/** Not every file system has them. */
function attributes(where = tmpdir()): boolean {
  try {
    const probe = mkdtempSync(join(where, 'archimage-ffi-probe-'))
    writeXattr(probe, 'user.probe', Buffer.from('1'))
    rmSync(probe, { recursive: true })
    return true
  } catch {
    return false
  }
}

describe.skipIf(!linux || !attributes())('extended attributes', () => {
  test('none is undefined, as is a file that does not exist', () => {
    expect(readXattrs(file)).toBeUndefined()
    expect(readXattrs(join(dir, 'missing'))).toBeUndefined()
  })

  test('come back as written, of any length, by string and by bytes', () => {
    const long = Buffer.alloc(2000, 'long')
    writeXattr(file, 'user.a', Buffer.from([0, 1, 255]))
    writeXattr(Buffer.from(file), 'user.long', long)
    writeXattr(file, 'user.empty', new Uint8Array())
    const expected = {
      'user.a': new Uint8Array([0, 1, 255]),
      'user.long': new Uint8Array(long),
      'user.empty': new Uint8Array(),
    }
    expect(readXattrs(file)).toEqual(expected)
    expect(readXattrs(Buffer.from(file))).toEqual(expected)
  })

  test('names that are not UTF-8 by their bytes', () => {
    const odd = Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe])])
    writeFileSync(odd, 'x')
    writeXattr(odd, 'user.a', Buffer.from('b'))
    expect(readXattrs(odd)).toEqual({ 'user.a': new Uint8Array([98]) })
  })

  // ext4 has room for few; a tmpfs has for many.
  test.skipIf(!hasPython || !attributes('/dev/shm'))(
    'by another program, more names than fit at first; others are left out',
    () => {
      const memory = mkdtempSync('/dev/shm/archimage-ffi-')
      try {
        const code =
          'import os,sys\nfor i in range(90): os.setxattr(sys.argv[1], "user." + "n" * 60 + str(i), b"v%d" % i)'
        python(code, memory)
        if (root) python('import os,sys; os.setxattr(sys.argv[1], "trusted.secret", b"x")', memory)
        const found = readXattrs(memory)!
        expect(Object.keys(found).length).toBe(90)
        expect(Buffer.from(found[`user.${'n'.repeat(60)}59`]!).toString()).toBe('v59')
      } finally {
        rmSync(memory, { recursive: true })
      }
    },
  )

  test('of a link, not of what it points to', () => {
    writeXattr(file, 'user.a', Buffer.from('b'))
    symlinkSync('file', join(dir, 'link'))
    expect(readXattrs(join(dir, 'link'))).toBeUndefined()
  })

  test('a refusal is an error with its code', () => {
    expect(() => writeXattr(join(dir, 'missing'), 'user.a', Buffer.from('b'))).toThrow(/ENOENT.*missing/)
    expect(() => writeXattr(`${file}\0x`, 'user.a', Buffer.from('b'))).toThrow(TypeError)
  })

  test.skipIf(!root || !hasPython)('file capabilities', () => {
    // vfs_cap_data, revision 2, cap_net_bind_service (bit 10) permitted and effective.
    const value = Buffer.from('0100000200040000000000000000000000000000', 'hex')
    writeXattr(file, 'security.capability', value)
    expect(python('import os,sys; print(os.getxattr(sys.argv[1], "security.capability").hex())', file)).toBe(
      value.toString('hex'),
    )
    expect(readXattrs(file)).toEqual({ 'security.capability': new Uint8Array(value) })
  })
})

describe.skipIf(!linux)('times', () => {
  test('exact, before 1970, of a link itself', () => {
    setTimes(file, -5, 123_456_789)
    expect(lstatSync(file, { bigint: true }).mtimeNs).toBe(-5_000_000_000n + 123_456_789n)
    symlinkSync('nowhere', join(dir, 'link'))
    setTimes(join(dir, 'link'), 317_606_400)
    expect(lstatSync(join(dir, 'link')).mtime.toISOString()).toBe('1980-01-25T00:00:00.000Z')
    expect(() => setTimes(join(dir, 'missing'), 0)).toThrow(/ENOENT/)
  })
})

describe.skipIf(!linux)('nodes', () => {
  test('a fifo', () => {
    makeNode(join(dir, 'fifo'), 'fifo', 0o600)
    expect(statSync(join(dir, 'fifo')).isFIFO()).toBe(true)
    expect(() => makeNode(join(dir, 'fifo'), 'fifo', 0o600)).toThrow(/EEXIST/)
  })

  test.skipIf(!root || !hasPython)('devices with large numbers', () => {
    for (const [major, minor] of [
      [0, 0],
      [1, 3],
      [259, 300],
      [4095, 1_048_575],
    ] as const) {
      const path = join(dir, `${major}-${minor}`)
      makeNode(path, 'char', 0o600, major, minor)
      const shown = python('import os,sys; d=os.stat(sys.argv[1]).st_rdev; print(os.major(d), os.minor(d))', path)
      expect(shown).toBe(`${major} ${minor}`)
    }
  })
})
