import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import type { TarEntry } from './entry.ts'
import { readTar, TarReader } from './reader.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from './writer.ts'

interface Found {
  readonly entry: TarEntry
  readonly offset: number
  content: string
}

function read(bytes: Uint8Array, options = {}): Found[] {
  const out: Found[] = []
  const reader = new TarReader(
    {
      entry: (entry, offset) => out.push({ entry, offset, content: '' }),
      data: chunk => {
        out[out.length - 1]!.content += Buffer.from(chunk).toString('latin1')
      },
    },
    options,
  )
  reader.push(bytes)
  reader.finish()
  return out
}

const FILE: TarEntry = { path: 'a', type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0 }

/** A header block as given, with the right checksum. */
function block(fields: Record<number, string | Buffer>, base = encodeHeader(FILE)): Buffer {
  const out = Buffer.from(base.subarray(0, 512))
  for (const [at, text] of Object.entries(fields)) out.write(text.toString('latin1'), Number(at), 'latin1')
  out.fill(' ', 148, 156)
  const sum = out.reduce((a, b) => a + b, 0)
  out.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return out
}

const NAME = 0
const SIZE = 124
const TYPE = 156
const LINK = 157

function pad(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string, 'latin1')
  return Buffer.concat([bytes, Buffer.alloc(padding(bytes.length))])
}

function meta(type: string, text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  return Buffer.concat([block({ [TYPE]: type, [SIZE]: bytes.length.toString(8).padStart(11, '0') }), pad(bytes)])
}

function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length
  return length + rest
}

const close = (...parts: Uint8Array[]) => Buffer.concat([...parts, END_OF_ARCHIVE])

describe('archives of GNU tar', () => {
  let dir = ''
  const long = `${'long-directory-name/'.repeat(8)}${'f'.repeat(120)}`

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'archimage-tar-'))
    mkdirSync(join(dir, 'long-directory-name/'.repeat(8)), { recursive: true })
    writeFileSync(join(dir, long), 'long')
    writeFileSync(join(dir, 'ünï'), 'content', { mode: 0o640 })
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0x66, 0xff])]), 'latin')
    writeFileSync(join(dir, 'z-empty'), '')
    symlinkSync('../outside', join(dir, 'link'))
    linkSync(join(dir, 'ünï'), join(dir, 'zz-hard'))
    spawnSync('mkfifo', [join(dir, 'fifo')])
    utimesSync(join(dir, 'ünï'), 1234567890.5, 1234567890.5)
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  for (const format of ['gnu', 'pax', 'ustar', 'v7'])
    requirePeers('tar')(format, () => {
      const names = ['ünï', Buffer.from([0x66, 0xff]), 'z-empty', 'link', 'zz-hard', 'long-directory-name', 'fifo']
      if (format === 'v7') names.splice(5, 2)
      // ustar cannot hold the last component of the long name
      const options = format === 'ustar' ? [`--exclude=${'f'.repeat(120)}`] : []
      const { stdout, stderr, status } = spawnSync(
        'tar',
        [
          ...['-c', `--format=${format}`, '--owner=1001', '--group=1002', '--numeric-owner', ...options],
          ...['-C', dir, '--null', '--verbatim-files-from', '-T', '-'],
        ],
        {
          input: Buffer.concat(names.flatMap(name => [Buffer.from(name as string), Buffer.alloc(1)])),
          maxBuffer: 1 << 24,
        },
      )
      expect([status, String(stderr)]).toEqual([0, ''])
      const found = new Map(read(stdout).map(item => [item.entry.path, item]))
      const file = found.get('ünï')!
      expect(file.entry).toMatchObject({ type: 'file', mode: 0o640, uid: 1001, gid: 1002, size: 7 })
      expect(file.entry.mtime).toBe(format === 'pax' ? 1234567890.5 : 1234567890)
      expect(file.content).toBe('content')
      expect(found.get('f\udcff')?.content).toBe('latin')
      expect(found.get('z-empty')?.entry.size).toBe(0)
      expect(found.get('link')?.entry).toMatchObject({ type: 'symlink', link: '../outside', size: 0 })
      expect(found.get('zz-hard')?.entry).toMatchObject({ type: 'hardlink', link: 'ünï', size: 0 })
      if (format === 'v7') return
      expect(found.get('fifo')?.entry.type).toBe('fifo')
      expect(found.get('long-directory-name')?.entry.type).toBe('dir')
      if (format !== 'ustar') expect(found.get(long)?.content).toBe('long')
    })

  test('xattrs, when the file system and setfattr are there', () => {
    const name = join(dir, 'z-empty')
    const python = 'import os,sys; os.setxattr(sys.argv[1], "user.test", b"a\\0b=\\n")'
    if (spawnSync('python3', ['-c', python, name]).status !== 0) return
    const { stdout } = spawnSync('tar', ['-c', '--xattrs', '-C', dir, 'z-empty'])
    expect(read(stdout)[0]?.entry.xattrs).toEqual({ 'user.test': Buffer.from('a\0b=\n') })
  })

  requirePeers('tar')('a sparse file is refused with the way out', () => {
    const name = join(dir, 'sparse')
    spawnSync('truncate', ['-s', '10M', name])
    for (const format of ['gnu', 'pax']) {
      const { stdout } = spawnSync('tar', ['-cS', `--format=${format}`, '-C', dir, 'sparse'])
      expect(() => read(stdout)).toThrow(/sparse.*--sparse/)
    }
  })
})

describe('dialects', () => {
  test('GNU: base-256 numbers, long names and links', () => {
    const base256 = (value: bigint, length: number) => {
      const out = Buffer.alloc(length)
      for (let i = length - 1, rest = value; i >= 0; i--, rest >>= 8n) out[i] = Number(rest & 255n)
      out[0]! |= 0x80
      return out
    }
    const bytes = close(
      meta('L', `${'n'.repeat(300)}\0`),
      meta('K', `${'l'.repeat(300)}\0`),
      block({
        [TYPE]: '2',
        108: base256(4_000_000_000n, 8),
        136: base256(-5n & ((1n << 95n) - 1n), 12),
        257: 'ustar  \0',
      }),
      block({ [NAME]: 'b\0' }),
    )
    const [first, second] = read(bytes)
    expect(first!.entry).toMatchObject({ path: 'n'.repeat(300), link: 'l'.repeat(300), uid: 4_000_000_000, mtime: -5 })
    expect(second!.entry.path).toBe('b')
  })

  test('a base-256 size beyond octal comes through', () => {
    const size = Buffer.from([0x80, 0, 0, 0, 0, 0, 0, 0x05, 0, 0, 0, 0])
    const seen: TarEntry[] = []
    new TarReader({ entry: entry => seen.push(entry) }).push(block({ [SIZE]: size }))
    expect(seen[0]?.size).toBe(0x500000000)
  })

  test('PAX: local over global records, an empty value deletes', () => {
    const bytes = close(
      meta('g', record('uid', '7') + record('comment', 'x') + record('gid', '8')),
      block({}),
      meta('x', record('uid', '9') + record('gid', '') + record('path', './p/../q/') + record('mtime', '1.25')),
      block({ [TYPE]: '5' }),
      block({}),
    )
    const found = read(bytes).map(({ entry }) => entry)
    expect(found[0]).toMatchObject({ path: 'a', uid: 7, gid: 8 })
    expect(found[1]).toMatchObject({ path: 'q', uid: 9, gid: 0, mtime: 1.25 })
    expect(found[2]).toMatchObject({ path: 'a', uid: 7 })
  })

  test('PAX: xattrs of libarchive, records of windows', () => {
    const pax = [
      record('LIBARCHIVE.xattr.user.a%3Db', 'eA'),
      record('SCHILY.xattr.__proto__', 'y'),
      record('MSWINDOWS.fileattr', '32'),
      record('LIBARCHIVE.creationtime', '1.0'),
      record('SCHILY.fflags', 'nodump'),
    ]
    const [{ entry }] = read(close(meta('x', pax.join('')), block({}))) as [Found]
    expect(Object.entries(entry.xattrs!)).toEqual([
      ['user.a=b', Buffer.from('x')],
      ['__proto__', Buffer.from('y')],
    ])
    expect(entry.pax).toEqual({ 'MSWINDOWS.fileattr': '32', 'LIBARCHIVE.creationtime': '1.0' })
  })

  test('old directories have only a slash; sizes of links and directories mean nothing', () => {
    const old = block({ [TYPE]: '\0', [NAME]: 'd/\0', 257: '\0'.repeat(8) })
    const link = block({ [TYPE]: '1', [LINK]: './x/\0', [SIZE]: '00000001000' })
    const found = read(close(old, link, block({})))
    expect(found.map(({ entry }) => [entry.type, entry.path])).toEqual([
      ['dir', 'd'],
      ['hardlink', 'a'],
      ['file', 'a'],
    ])
    expect(found[1]!.entry.link).toBe('x')
  })

  test('what follows the end marker is counted and ignored', () => {
    const reader = new TarReader({ entry: () => {} })
    reader.push(Buffer.concat([close(block({})), Buffer.alloc(9000, 1)]))
    reader.finish()
    expect(reader.offset).toBe(512 + 1024 + 9000)
  })

  test('duplicates come in order', () => {
    expect(read(close(block({ 100: '0000600' }), block({}))).map(({ entry }) => entry.mode)).toEqual([0o600, 0o644])
  })
})

describe('hostile and damaged archives are refused, with entry and reason', () => {
  const cases: [string, Uint8Array, RegExp][] = [
    [
      'climbing name',
      close(block({ [NAME]: '../../etc/passwd\0' })),
      /"\.\.\/\.\.\/etc\/passwd": its name leaves the root/,
    ],
    [
      'climbing PAX path',
      close(meta('x', record('path', 'x/../../y')), block({})),
      /"x\/\.\.\/\.\.\/y": its name leaves/,
    ],
    [
      'climbing hard link',
      close(block({ [TYPE]: '1', [LINK]: '../x\0' })),
      /hard link that leaves the root: "\.\.\/x"/,
    ],
    ['file without a name', close(block({ [NAME]: './\0' })), /has no name/],
    ['NUL in a PAX path', close(meta('x', record('path', 'a\0b')), block({})), /NUL/],
    ['NUL in a PAX link', close(meta('x', record('linkpath', 'a\0b')), block({ [TYPE]: '2' })), /NUL/],
    ['symlink to nothing', close(block({ [TYPE]: '2' })), /link without a target/],
    ['checksum', close(encodeHeader(FILE).fill(0x31, 148, 152)), /checksum/],
    ['not a tar', Buffer.from('#!/bin/sh\n'.repeat(200)), /no tar archive/],
    ['number with letters', close(block({ [SIZE]: '0000000zz00' })), /its size is not a number/],
    ['negative size', close(block({ [SIZE]: Buffer.alloc(12, 0xff) })), /size is not a possible/],
    [
      'size beyond 2^53',
      close(block({ [SIZE]: Buffer.from([0x80, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0]) })),
      /size is not a possible/,
    ],
    ['PAX size in words', close(meta('x', record('size', '1e3')), block({})), /PAX record size is not a number/],
    ['negative owner', close(block({ 108: Buffer.alloc(8, 0xff) })), /owner -1:0/],
    [
      'PAX header of 2 GB',
      close(block({ [TYPE]: 'x', [SIZE]: '20000000000' })),
      /extended header claims 2147483648 bytes/,
    ],
    ['PAX length too long', close(meta('x', '99 path=x\n'), block({})), /PAX record is not well formed/],
    ['PAX length zero', close(meta('x', '0 path=x\n'), block({})), /PAX record is not well formed/],
    ['PAX without =', close(meta('x', '8 pathx\n'), block({})), /PAX record is not well formed/],
    ['PAX without newline', close(meta('x', '9 path=xx'), block({})), /PAX record is not well formed/],
    [
      'a name deeper than any file system has',
      close(meta('L', 'a/'.repeat(2100)), block({})),
      /its name has more than 4096 bytes/,
    ],
    [
      'a link target longer than any file system has',
      close(meta('K', 'l'.repeat(4097)), block({ [TYPE]: '2' })),
      /its link target has more than 4096 bytes/,
    ],
    [
      'global headers that add up',
      close(meta('g', record('a', 'x'.repeat(9000))), meta('g', record('b', 'x'.repeat(9000))), block({})),
      /global headers hold more than 16384 bytes/,
    ],
    ['GNU sparse', close(block({ [TYPE]: 'S', 257: 'ustar  \0' })), /sparse/],
    ['multi-volume', close(block({ [TYPE]: 'M' })), /type "M"/],
    ['cut in a header', close(block({})).subarray(0, 300), /cut off/],
    ['cut in a content', close(block({ [SIZE]: '00000001000' })).subarray(0, 700), /"a": .*cut off/],
    ['cut before the end marker', block({}), /end of the archive is missing/],
    ['nothing at all', Buffer.alloc(0), /end of the archive is missing/],
    ['zeros in the middle', close(Buffer.alloc(512), block({})), /single block of zeros/],
  ]
  for (const [name, bytes, reason] of cases)
    test(name, () => {
      let error: { code?: string; message?: string } = {}
      try {
        read(bytes, { name: 'x.tar' })
      } catch (caught) {
        error = caught as typeof error
      }
      expect(error.code).toBe('TAR_INVALID')
      expect(error.message).toMatch(reason)
      expect(error.message).toStartWith('x.tar')
    })

  test('extended attributes that would fill the memory', () => {
    let seen = 0
    const reader = new TarReader({ entry: () => seen++ })
    const one = Buffer.concat([meta('x', record('SCHILY.xattr.user.a', 'x'.repeat(1_000_000))), block({})])
    const all = (): void => {
      for (let i = 0; i < 1000; i++) reader.push(one)
    }
    expect(all).toThrow(/names and attributes up to here have more than/)
    expect(seen).toBeGreaterThan(500)
  })

  test('absolute names lose their slash, as docker has it', () => {
    expect(read(close(block({ [NAME]: '/etc/x\0' })))[0]!.entry.path).toBe('etc/x')
  })

  test('a digest may stand in for the end marker', () => {
    expect(read(block({}), { endOptional: true })).toHaveLength(1)
    expect(() => read(block({}).subarray(0, 511), { endOptional: true })).toThrow(/cut off/)
  })

  test('every flipped byte of a header is noticed', () => {
    const good = close(block({}))
    for (let at = 0; at < 512; at++) {
      const bad = Buffer.from(good)
      bad[at]! ^= 1
      // two bytes of the checksum field are allowed to be NUL or blank
      if (at === 154 || at === 155) continue
      expect(() => read(bad)).toThrow()
    }
  })
})

test('a source is left when the archive is wrong', async () => {
  let closed = false
  async function* source() {
    try {
      for (;;) yield Buffer.alloc(1000, 65)
    } finally {
      closed = true
    }
  }
  await expect(readTar(source(), { entry: () => {} })).rejects.toThrow(/no tar archive/)
  expect(closed).toBe(true)
})
