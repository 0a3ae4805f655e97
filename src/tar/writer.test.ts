import { describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { requirePeers } from '../../test/peers/require.ts'
import type { TarEntry } from './entry.ts'
import { decodePath } from './path-bytes.ts'
import { TarReader } from './reader.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from './writer.ts'

const FILE: TarEntry = { path: 'a/b.txt', type: 'file', mode: 0o644, uid: 1000, gid: 50, size: 5, mtime: 318211200 }

function archive(entries: readonly { entry: TarEntry; content?: Uint8Array }[]): Buffer {
  const parts = entries.flatMap(({ entry, content = new Uint8Array() }) => [
    encodeHeader(entry),
    content,
    Buffer.alloc(padding(content.length)),
  ])
  return Buffer.concat([...parts, END_OF_ARCHIVE])
}

function read(bytes: Uint8Array, step = bytes.length): { entry: TarEntry; offset: number; content: Buffer }[] {
  const out: { entry: TarEntry; offset: number; content: Buffer }[] = []
  const reader = new TarReader({
    entry: (entry, offset) => out.push({ entry, offset, content: Buffer.alloc(0) }),
    data: chunk => {
      const last = out[out.length - 1]!
      last.content = Buffer.concat([last.content, chunk])
    },
  })
  for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step))
  reader.finish()
  return out
}

describe('bytes of a header', () => {
  test('a plain entry is this ustar block, written out by hand', () => {
    // POSIX.1-2017, pax, ustar interchange format: field by field
    const field = (text: string, length: number) => text.padEnd(length, '\0')
    const number = (digits: string) => `${digits}\0`
    const numbers = ['0000644', '0001750', '0000062', '00000000005', '02275702200'].map(number)
    const before = field('a/b.txt', 100) + numbers.join('')
    const after = ['0', field('', 100), 'ustar\0', '00', field('', 64), number('0000000'), number('0000000')].join('')
    const sum = [...Buffer.from(before + after)].reduce((a, b) => a + b, 0) + 8 * 32
    const block = `${before}${sum.toString(8).padStart(6, '0')}\0 ${after}`.padEnd(512, '\0')
    expect(block.length).toBe(512)
    expect(encodeHeader(FILE).toString('latin1')).toBe(block)
  })

  test('a PAX header comes before what ustar cannot hold, records in byte order', () => {
    const bytes = encodeHeader({
      ...FILE,
      path: 'größe',
      uid: 3_000_000,
      mtime: -1,
      xattrs: { 'user.b': Buffer.from([0, 255]), 'security.capability': Buffer.from('x') },
    })
    expect(bytes.length).toBe(512 + 512 + 512)
    expect(bytes.toString('latin1', 156, 157)).toBe('x')
    const body =
      '38 SCHILY.xattr.security.capability=x\n' +
      '26 SCHILY.xattr.user.b=\0\xff\n' +
      '12 mtime=-1\n' +
      `16 path=${Buffer.from('größe').toString('latin1')}\n` +
      '15 uid=3000000\n'
    expect(bytes.toString('latin1', 512, 512 + body.length + 1)).toBe(`${body}\0`)
    // readers without PAX see something harmless
    expect(bytes.toString('latin1', 1024, 1034)).toBe('gr____e\0\0\0')
    expect(bytes.toString('latin1', 1132, 1140)).toBe('0000000\0')
  })

  test('record lengths count themselves, also where that adds a digit', () => {
    for (const length of [80, 81, 82, 83, 980, 981, 982, 983, 984]) {
      const [only] = read(archive([{ entry: { ...FILE, size: 0, path: `ö${'x'.repeat(length)}` } }]))
      expect(only!.entry.path.length).toBe(length + 1)
    }
  })

  test('the prefix field is used before PAX is', () => {
    const long = `${'d'.repeat(100)}/${'n'.repeat(100)}`
    expect(encodeHeader({ ...FILE, path: long }).length).toBe(512)
    expect(encodeHeader({ ...FILE, path: `${'d'.repeat(155)}/${'n'.repeat(100)}` }).length).toBe(512)
    expect(encodeHeader({ ...FILE, path: `${'d'.repeat(156)}/${'n'.repeat(100)}` }).length).toBeGreaterThan(512)
    expect(encodeHeader({ ...FILE, path: 'n'.repeat(101) }).length).toBeGreaterThan(512)
    // the slash at the end of a directory counts
    expect(encodeHeader({ ...FILE, type: 'dir', path: 'n'.repeat(99) }).length).toBe(512)
    expect(encodeHeader({ ...FILE, type: 'dir', path: 'n'.repeat(100) }).length).toBeGreaterThan(512)
  })

  test('golden digest of an archive with one of each', () => {
    const bytes = archive([
      { entry: { ...FILE, path: 'a', type: 'dir', mode: 0o755, size: 0 } },
      { entry: FILE, content: Buffer.from('hello') },
      { entry: { ...FILE, path: 'a/c', type: 'symlink', mode: 0o777, size: 0, link: '../b' } },
      { entry: { ...FILE, path: 'a/d', type: 'hardlink', size: 0, link: 'a/b.txt' } },
      { entry: { ...FILE, path: 'a/e', type: 'char', size: 0, major: 1, minor: 3 } },
      { entry: { ...FILE, path: 'a/ü', xattrs: { 'user.x': Buffer.from('y') } }, content: Buffer.from('world') },
    ])
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(GOLDEN)
  })

  test('what tar cannot say is an error', () => {
    for (const wrong of [{ uid: -1 }, { size: Number.NaN }, { path: 'a\0b' }, { xattrs: { 'a=b': new Uint8Array() } }])
      expect(() => encodeHeader({ ...FILE, ...wrong })).toThrow(/cannot write/)
  })
})

/** Computed apart from this code, from the POSIX tables alone, by a few lines of Python. */
const GOLDEN = '51d9e9b051e4453b7ec62f37114ec83a6254e2593e398248ce6b26f71acb4800'

requirePeers('tar')('GNU tar and python read the same from it', () => {
  const long = `${'deep/'.repeat(60)}name`
  const bytes = archive([
    { entry: { ...FILE, path: 'dir', type: 'dir', mode: 0o1777, size: 0 } },
    { entry: FILE, content: Buffer.from('hello') },
    { entry: { ...FILE, path: long, mode: 0o4755, uid: 4_000_000_000 }, content: Buffer.from('hello') },
    { entry: { ...FILE, path: 'lnk', type: 'symlink', mode: 0o777, size: 0, link: 'ä'.repeat(60) } },
    { entry: { ...FILE, path: 'hard', type: 'hardlink', size: 0, link: long } },
  ])
  const tar = spawnSync('tar', ['-tv', '--numeric-owner', '--full-time', '-f', '-'], {
    input: bytes,
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C.UTF-8' },
  })
  expect(tar.stderr).toBe('')
  expect(tar.stdout.split('\n').map(line => line.replace(/ +/g, ' '))).toEqual([
    'drwxrwxrwt 1000/50 0 1980-02-01 00:00:00 dir/',
    '-rw-r--r-- 1000/50 5 1980-02-01 00:00:00 a/b.txt',
    `-rwsr-xr-x 4000000000/50 5 1980-02-01 00:00:00 ${long}`,
    `lrwxrwxrwx 1000/50 0 1980-02-01 00:00:00 lnk -> ${'ä'.repeat(60)}`,
    `hrw-r--r-- 1000/50 0 1980-02-01 00:00:00 hard link to ${long}`,
    '',
  ])
  const script =
    'import sys,tarfile,io,json\n' +
    't=tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))\n' +
    'print(json.dumps([[m.name,m.size,m.uid,m.linkname] for m in t]))'
  const python = spawnSync('python3', ['-c', script], { input: bytes, encoding: 'utf8' })
  if (python.error || python.status !== 0) return
  expect(JSON.parse(python.stdout)).toEqual([
    ['dir', 0, 1000, ''],
    ['a/b.txt', 5, 1000, ''],
    [long, 5, 4_000_000_000, ''],
    ['lnk', 0, 1000, 'ä'.repeat(60)],
    ['hard', 0, 1000, long],
  ])
})

describe('property: what is written is read', () => {
  const name = fc
    .oneof(
      fc.uint8Array({ minLength: 1, maxLength: 120 }).map(bytes => bytes.map(b => (b === 0 || b === 0x2f ? 0x61 : b))),
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }).map(s => Buffer.from(s.replace(/[\0/]/g, '_'))),
    )
    .map(bytes => decodePath(bytes))
    .filter(text => text !== '.' && text !== '..')
  const path = fc.array(name, { minLength: 1, maxLength: 5 }).map(parts => parts.join('/'))
  const common = {
    path,
    mode: fc.nat(0o7777),
    uid: fc.nat(0xffffffff),
    gid: fc.nat(0xffffffff),
    mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  }
  const xattrs = fc.dictionary(fc.stringMatching(/^user\.[a-z]{1,8}$/), fc.uint8Array({ maxLength: 40 }), {
    minKeys: 1,
    maxKeys: 3,
    noNullPrototype: true,
  })
  const entry = fc.oneof(
    fc.record({ ...common, type: fc.constant('file' as const), xattrs, content: fc.uint8Array({ maxLength: 1500 }) }),
    fc.record({ ...common, type: fc.constantFrom('dir' as const, 'fifo' as const) }),
    fc.record({ ...common, type: fc.constant('hardlink' as const), link: path }),
    fc.record({ ...common, type: fc.constant('symlink' as const), link: path.map(p => `../${p}/`) }),
    fc.record({
      ...common,
      type: fc.constantFrom('char' as const, 'block' as const),
      major: fc.nat(4095),
      minor: fc.nat(1048575),
    }),
  )

  test('in pieces of any size', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), fc.integer({ min: 1, max: 3000 }), (wanted, step) => {
        const items = wanted.map(item => {
          const { content = new Uint8Array(), ...rest } = item as typeof item & { content?: Uint8Array }
          return { entry: { ...rest, size: content.length } as TarEntry, content }
        })
        const bytes = archive(items)
        const found = read(bytes, step)
        expect(found.map(({ entry }) => plain(entry))).toEqual(items.map(({ entry }) => plain(entry)))
        for (const [i, { offset, content }] of found.entries()) {
          expect(content).toEqual(Buffer.from(items[i]!.content))
          expect(bytes.subarray(offset, offset + content.length)).toEqual(content)
        }
      }),
      { numRuns: 300 },
    )
  })
})

/** With xattrs as plain arrays, so that Buffer and Uint8Array compare. */
function plain(entry: TarEntry): unknown {
  const xattrs = Object.entries(entry.xattrs ?? {}).map(([key, value]) => [key, [...value]])
  return { ...entry, xattrs: Object.fromEntries(xattrs) }
}
