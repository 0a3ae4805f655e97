import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { requirePeers } from '../../test/peers/require.ts'
import type { Digest } from '../oci/digest.ts'
import type { TarEntry } from '../tar/entry.ts'
import { TarReader } from '../tar/reader.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import { applyLayer } from './apply.ts'
import { decodeIndex, encodeIndex } from './codec.ts'
import { LayerContent } from './content.ts'
import type { Entry } from './entry.ts'
import { indexLayer } from './index.ts'
import { Tree } from './tree.ts'
import { type LayerItem, type WriteLayerOptions, type WrittenLayer, writeLayer } from './write.ts'

const sha256 = (bytes: Uint8Array | string): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
/** `expect(…).rejects` turns the event loop inside itself, where answers of workers get lost. */
const failure = (promise: Promise<unknown>): Promise<{ code?: string; message?: string } | undefined> =>
  promise.then(
    () => undefined,
    error => error,
  )

type Part = Partial<TarEntry> & { path: string; text?: string }

function tar(...parts: Part[]): Buffer {
  const blocks = parts.flatMap(({ text = '', ...part }) => {
    const content = Buffer.from(text)
    const type = part.type ?? (part.path.endsWith('/') ? 'dir' : part.link !== undefined ? 'symlink' : 'file')
    const entry = {
      type,
      mode: type === 'dir' ? 0o755 : 0o644,
      uid: 0,
      gid: 0,
      mtime: 0,
      ...part,
      size: content.length,
    }
    return [
      encodeHeader({ ...entry, path: part.path.replace(/\/$/, '') }),
      content,
      Buffer.alloc(padding(content.length)),
    ]
  })
  return Buffer.concat([...blocks, END_OF_ARCHIVE])
}

const index = (bytes: Uint8Array, options = {}) => indexLayer([bytes], options)

async function stack(...layers: Uint8Array[]): Promise<Tree> {
  const tree = new Tree()
  for (const layer of layers) applyLayer(tree, await index(layer))
  return tree
}

const paths = (tree: Tree) => Array.from(tree.walk(), item => item.path).slice(1)

describe('index', () => {
  const layer = tar(
    { path: 'etc/' },
    { path: 'etc/passwd', text: 'root:x:0:0::/root:/bin/sh\n' },
    {
      path: 'big',
      text: 'x'.repeat(100_000),
      mode: 0o4755,
      uid: 5,
      gid: 6,
      mtime: -7,
      xattrs: { 'user.a': Buffer.from([0, 255]) },
    },
    { path: 'hard', type: 'hardlink', link: 'big', mode: 0o600, uid: 7, xattrs: { 'user.b': Buffer.from('c') } },
    { path: 'empty' },
    { path: 'dev', type: 'char', major: 1, minor: 3 },
    { path: 'lnk', link: '../\udcff' },
    { path: 'etc/.wh.gone' },
    { path: 'etc/.wh..wh..opq' },
    { path: '.wh..wh.plnk/' },
    { path: '\udcff\u00e4', type: 'fifo' },
  )

  test('has diff ID, records, digests and places of the content', async () => {
    const chunks = Array.from({ length: Math.ceil(layer.length / 777) }, (_, i) =>
      layer.subarray(i * 777, (i + 1) * 777),
    )
    const found = await indexLayer(chunks)
    expect(found).toEqual(await index(layer))
    expect([found.diffId, found.size]).toEqual([sha256(layer), layer.length])
    const by = new Map(found.entries.map(record => [`${record.kind} ${record.path}`, record]))
    const { content, ...big } = by.get('entry big')!.entry!
    expect(big).toEqual({
      ...{ type: 'file', mode: 0o4755, uid: 5, gid: 6, mtime: -7, size: 100_000 },
      ...{ digest: sha256('x'.repeat(100_000)), xattrs: { 'user.a': 'AP8=' } },
    })
    if (content?.kind !== 'layer') throw new Error('wrong kind')
    expect(content.diffId).toBe(found.diffId)
    expect(layer.toString('latin1', content.offset - 1, content.offset + 100_001)).toBe(`\0${'x'.repeat(100_000)}\0`)
    expect(by.get('entry hard')).toEqual({
      ...{ path: 'hard', kind: 'entry', link: 'big' },
      inode: { mode: 0o600, uid: 7, gid: 0, mtime: 0, xattrs: { 'user.b': 'Yw==' } },
    })
    expect(by.get('entry empty')?.entry?.digest).toBe(sha256(''))
    expect(by.get('entry dev')?.entry).toMatchObject({ type: 'char', major: 1, minor: 3 })
    expect(by.get('entry lnk')?.entry?.link).toBe('../\udcff')
    expect([by.has('whiteout etc/gone'), by.has('opaque etc'), by.size]).toEqual([true, true, 10])
    expect(Object.keys(found.files!)).toEqual(['etc/passwd'])
    expect(Buffer.from(found.files!['etc/passwd']!).toString()).toStartWith('root:')
  })

  test('encoded and decoded it is the same; other bytes are no index', async () => {
    const found = await index(layer)
    const bytes = encodeIndex(found)
    expect(decodeIndex(bytes)).toEqual(found)
    expect(decodeIndex(encodeIndex(await index(tar())))?.entries).toEqual([])
    for (const bad of [
      bytes.subarray(0, bytes.length - 1),
      bytes.subarray(0, 40),
      Buffer.from('archimage layer index 2\n'),
      Buffer.alloc(0),
    ])
      expect(decodeIndex(bad)).toBeUndefined()
  })

  test('the diff ID is checked, and makes up for a missing end', async () => {
    const cut = layer.subarray(0, layer.length - 1024)
    expect((await failure(index(layer, { diffId: sha256('other') })))?.code).toBe('DIGEST_MISMATCH')
    expect((await failure(index(cut)))?.code).toBe('TAR_INVALID')
    expect((await index(cut, { diffId: sha256(cut) })).entries.length).toBe(10)
  })

  test('whiteouts of nothing are refused; in an archive they are files', async () => {
    for (const path of ['a/.wh.', '.wh..', 'a/.wh...'])
      expect((await failure(index(tar({ path }))))?.message).toContain('whiteout of nothing')
    expect((await index(tar({ path: 'a/.wh.b' }), { whiteouts: false })).entries[0]?.path).toBe('a/.wh.b')
  })
})

describe('merging', () => {
  test('the rules of the image spec', async () => {
    const base = tar(
      { path: 'tmp/', mode: 0o1777 },
      { path: 'a/' },
      { path: 'a/x', text: '1' },
      { path: 'a/y/' },
      { path: 'a/y/z', text: '2' },
      { path: 'b/' },
      { path: 'b/1', text: '3' },
      { path: 'b/2/' },
      { path: 'b/2/3', text: '4' },
      { path: 'c', text: '5' },
    )
    const upper = tar(
      { path: 'tmp/new', text: 'n' },
      { path: 'a/.wh.y' },
      { path: 'b/own', text: 'own' },
      { path: 'b/2/kept', text: 'kept' },
      { path: 'b/.wh..wh..opq' },
      { path: 'c/' },
      { path: 'c/d/e', text: 'implied' },
    )
    const tree = await stack(base, upper)
    expect(paths(tree)).toEqual(['a', 'a/x', 'b', 'b/2', 'b/2/kept', 'b/own', 'c', 'c/d', 'c/d/e', 'tmp', 'tmp/new'])
    expect(tree.lookup('tmp')?.mode).toBe(0o1777)
    expect(tree.lookup('c/d')).toMatchObject({ type: 'dir', mode: 0o755, uid: 0 })
  })

  test('a whiteout hides only what is below, whichever of the two comes first', async () => {
    const base = tar({ path: 'a', text: 'old' })
    for (const upper of [
      tar({ path: 'a', text: 'new' }, { path: '.wh.a' }),
      tar({ path: '.wh.a' }, { path: 'a', text: 'new' }),
    ])
      expect((await stack(base, upper)).lookup('a')?.digest).toBe(sha256('new'))
  })

  test('links on the way are followed inside the root, a link in the place is replaced', async () => {
    const base = tar(
      { path: 'usr/lib/' },
      { path: 'lib', link: '/usr/lib' },
      { path: 'out', link: '../../etc' },
      { path: 'etc/' },
    )
    const tree = await stack(
      base,
      tar({ path: 'lib/x', text: 'x' }, { path: 'out/y', text: 'y' }),
      tar({ path: 'lib/' }),
    )
    expect(paths(tree)).toEqual(['etc', 'etc/y', 'lib', 'out', 'usr', 'usr/lib', 'usr/lib/x'])
    expect(tree.lookup('lib')?.type).toBe('dir')
  })

  test('a link that becomes a directory in the layer is none for what follows in it', async () => {
    const base = tar({ path: 'd/' }, { path: 'd/x', text: '1' }, { path: 'l', link: 'd' })
    const tree = await stack(base, tar({ path: 'l/' }, { path: 'l/.wh.x' }, { path: 'l/n', text: '2' }))
    expect(paths(tree)).toEqual(['d', 'd/x', 'l', 'l/n'])
  })

  test('hard links share an inode, also with a lower layer; the root entry is ignored', async () => {
    const base = tar(
      { path: './', mode: 0o700, type: 'dir' },
      { path: 'a', text: '1' },
      { path: 'b', type: 'hardlink', link: 'a' },
      { path: 'c', text: '1' },
    )
    const tree = await stack(base, tar({ path: 'd', type: 'hardlink', link: 'c' }))
    const inode = (path: string) => tree.lookup(path)?.inode
    expect(inode('a')).toBeString()
    expect(inode('b')).toBe(inode('a')!)
    expect(inode('d')).toBeString()
    expect(inode('d')).toBe(inode('c')!)
    expect(inode('a')).not.toBe(inode('c')!)
    expect(tree.root.mode).toBe(0o755)
  })

  test('what the header of a hard link says holds for the file under all its names', async () => {
    const tree = await stack(
      tar(
        { path: 'a', text: '1', mode: 0o755, xattrs: { 'user.a': Buffer.from('a') } },
        { path: 'b', type: 'hardlink', link: 'a', mode: 0o600, uid: 5 },
        { path: 'gone', type: 'hardlink', link: 'a', mode: 0o600, uid: 5 },
        { path: 'gone', text: 'another file', mode: 0o640 },
        { path: 'c', type: 'hardlink', link: 'b', mode: 0o4711, gid: 6, xattrs: { 'user.c': Buffer.from('c') } },
      ),
    )
    for (const path of ['a', 'b', 'c'])
      expect(tree.lookup(path)).toMatchObject({
        ...{ mode: 0o4711, uid: 0, gid: 6, size: 1 },
        xattrs: { 'user.a': 'YQ==', 'user.c': 'Yw==' },
      })
    expect(tree.lookup('gone')).toMatchObject({ mode: 0o640, size: 12 })
  })

  test('what cannot be is refused', async () => {
    for (const parts of [
      [{ path: 'l', type: 'hardlink', link: 'none' }],
      [{ path: 'd/' }, { path: 'l', type: 'hardlink', link: 'd' }],
      [{ path: 'f', text: 'x' }, { path: 'f/below' }],
      [{ path: 'a', link: 'b' }, { path: 'b', link: 'a' }, { path: 'a/x' }],
    ] as Part[][])
      expect((await failure(stack(tar(...parts))))?.code).toMatch(/TAR_INVALID|NOT_FOUND/)
  })

  test('captured files carry their bytes', async () => {
    const tree = await stack(tar({ path: 'etc/group', text: 'root:x:0:' }))
    expect(tree.lookup('etc/group')?.content).toEqual({ kind: 'bytes', bytes: Buffer.from('root:x:0:') })
  })
})

const FILE: Entry = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 318211200, size: 0 }
const DIR: Entry = { ...FILE, type: 'dir', mode: 0o755 }

const inline = (text: string, more: Partial<Entry> = {}): Entry => {
  const bytes = Buffer.from(text)
  return { ...FILE, size: bytes.length, digest: sha256(bytes), content: { kind: 'bytes', bytes }, ...more }
}

async function write(
  entries: LayerItem[],
  options: Partial<WriteLayerOptions> = {},
): Promise<WrittenLayer & { bytes: Buffer }> {
  const chunks: Buffer[] = []
  const sink = {
    write: (chunk: Uint8Array) => void chunks.push(Buffer.from(chunk)),
    commit: () => ({ digest: sha256(Buffer.concat(chunks)), size: Buffer.concat(chunks).length }),
    abort: () => void chunks.splice(0),
  }
  const written = await writeLayer({ entries, compression: 'gzip', sink, ...options })
  return { ...written, bytes: Buffer.concat(chunks) }
}

describe('writing and reading back', () => {
  let dir = ''
  let big: Buffer
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'archimage-layer-'))
    const words = Array.from({ length: 60_000 }, (_, i) => createHash('md5').update(`${i}`).digest('hex'))
    big = Buffer.from(words.join('')).subarray(0, 1_900_000)
    writeFileSync(join(dir, 'big'), Buffer.concat([big, big, big]))
    writeFileSync(join(dir, 'small'), 'small')
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  const host = (name: string, size: number, digest?: Digest): Entry => ({
    ...FILE,
    ...{ size, content: { kind: 'host', path: join(dir, name) } },
    ...(digest && { digest }),
  })
  const items = (): LayerItem[] => [
    { path: 'a', entry: { ...DIR, xattrs: { 'user.x': 'AP8=' } } },
    { path: 'a', kind: 'opaque' },
    { path: 'a/big', entry: host('big', 3 * big.length, sha256(Buffer.concat([big, big, big]))) },
    { path: 'a/gone', kind: 'whiteout' },
    { path: 'a/h1', entry: inline('hard', { inode: '1' }) },
    { path: 'a/h2', entry: inline('hard', { inode: '1' }) },
    { path: 'dev', entry: { ...FILE, type: 'block', major: 8, minor: 1 } },
    { path: 'empty', entry: { ...FILE } },
    { path: 'etc', entry: DIR },
    { path: 'etc/passwd', entry: inline('root:x:0:0') },
    { path: 'link', entry: { ...FILE, type: 'symlink', mode: 0o777, link: 'a/big' } },
    { path: 'small', entry: host('small', 5) },
    { path: 'ä\udcff', entry: inline('odd name') },
  ]

  requirePeers('tar')('the index is what indexing the blob gives; GNU tar agrees', async () => {
    const { bytes, index: made, diffId, digest, size, members } = await write(items())
    const plain = gunzipSync(bytes)
    expect([diffId, digest, size]).toEqual([sha256(plain), sha256(bytes), bytes.length])
    expect(made).toEqual(await index(plain))
    expect(members.length).toBe(Math.ceil(plain.length / 2 ** 20))
    const listed = spawnSync('tar', ['-tzv', '--numeric-owner', '--quoting-style=escape'], {
      input: bytes,
      encoding: 'utf8',
    })
    expect(listed.stderr).toBe('')
    expect(listed.stdout.match(/^.+?\/0|\S+( link to \S+| -> \S+)?$/gm)?.filter(text => !text.includes('/0'))).toEqual([
      ...['a/', 'a/.wh..wh..opq', 'a/big', 'a/.wh.gone', 'a/h1', 'a/h2 link to a/h1', 'dev', 'empty', 'etc/'],
      ...['etc/passwd', 'link -> a/big', 'small', expect.any(String)],
    ])
  })

  test('the same bytes for any number of workers', async () => {
    const [one, four, none] = await Promise.all([1, 4, 0].map(workers => write(items(), { workers })))
    expect(four!.digest).toBe(one!.digest)
    expect(none!.digest).toBe(one!.digest)
  })

  test('golden digest of a layer', async () => {
    const { diffId, digest } = await write([
      { path: 'etc', entry: DIR },
      { path: 'etc/hosts', entry: inline('127.0.0.1 localhost\n') },
      { path: 'etc/old', kind: 'whiteout' },
    ])
    expect(diffId).toBe(GOLDEN_DIFF_ID)
    expect(digest).toBe(GOLDEN_BLOB)
  })

  test('a file that changed is CONTEXT_CHANGED and named, and nothing is kept', async () => {
    const cases: [string, Entry][] = [
      ['bigger', host('small', 4)],
      ['smaller', host('small', 6)],
      ['other bytes', host('small', 5, sha256('Small'))],
      ['gone', host('none', 5)],
      ['big: bigger', host('big', 3 * big.length - 1)],
      ['big: smaller', host('big', 3 * big.length + 1)],
      ['big: other bytes', host('big', 3 * big.length, sha256('x'))],
    ]
    symlinkSync('small', join(dir, 'replaced'))
    spawnSync('mkfifo', [join(dir, 'fifo')])
    cases.push(['link', host('replaced', 5)], ['fifo', host('fifo', 5)])
    for (const [name, entry] of cases) {
      const error = await failure(write([{ path: 'f', entry }]))
      expect([name, error?.code]).toEqual([name, 'CONTEXT_CHANGED'])
      expect(error?.message).toContain(dir)
    }
  })

  test('interrupting stops between files', async () => {
    const stop = new AbortController()
    const many = function* (): Generator<LayerItem> {
      for (let i = 0; ; i++) {
        if (i === 2000) stop.abort()
        yield { path: `f${i}`, entry: host('small', 5) }
      }
    }
    const error = await failure(write([], { entries: many(), signal: stop.signal }))
    expect(error?.code).toBe('CANCELLED')
  })

  test('windows: Files/ and Hives/, attributes, security descriptors', async () => {
    const { bytes, diffId } = await write(
      [
        { path: 'App', entry: DIR },
        { path: 'App/x.exe', entry: inline('MZ', { inode: '9' }) },
        { path: 'App/y.exe', entry: inline('MZ', { inode: '9' }) },
        { path: 'old', kind: 'whiteout' },
      ],
      { windows: true },
    )
    const seen: TarEntry[] = []
    const reader = new TarReader({ entry: entry => seen.push(entry) })
    const plain = gunzipSync(bytes)
    reader.push(plain)
    reader.finish()
    expect(seen.map(({ path, type, pax, link }) => [path, type, pax?.['MSWINDOWS.fileattr'], link])).toEqual([
      ['Hives', 'dir', '16', undefined],
      ['Files', 'dir', '16', undefined],
      ['Files/App', 'dir', '16', undefined],
      ['Files/App/x.exe', 'file', '32', undefined],
      ['Files/App/y.exe', 'hardlink', undefined, 'Files/App/x.exe'],
      ['Files/.wh.old', 'file', '32', undefined],
    ])
    expect(seen[3]!.pax).toMatchObject({ 'LIBARCHIVE.creationtime': '318211200.0' })
    // a self-relative security descriptor, revision 1, owner S-1-5-32-544 (administrators)
    const descriptor = Buffer.from(seen[3]!.pax!['MSWINDOWS.rawsd']!, 'base64')
    expect([descriptor[0], descriptor.readUInt16LE(2) & 0x8000]).toEqual([1, 0x8000])
    expect(descriptor.toString('hex', 20, 36)).toBe('01020000000000052000000020020000')
    // S_IFREG stands in the mode field
    expect(plain.includes('0100644\0')).toBe(true)
    const found = await index(plain, { windows: true, diffId })
    const tree = new Tree({ caseInsensitive: true })
    applyLayer(tree, found)
    expect(paths(tree)).toEqual(['App', 'App/x.exe', 'App/y.exe'])
    expect(tree.lookup('app/X.EXE')?.inode).toBe(tree.lookup('app/y.exe')!.inode!)
  })

  test('content: through members, through a cached tar, or as it is', async () => {
    const ours = await write(items())
    const plain = gunzipSync(ours.bytes)
    const layers: [string, Buffer, 'gzip' | 'zstd' | 'none', readonly number[] | undefined, boolean][] = [
      ['ours', ours.bytes, 'gzip', ours.members, false],
      ['foreign gzip', gzipSync(plain), 'gzip', undefined, true],
      ['foreign zstd', zstdCompressSync(plain), 'zstd', undefined, true],
      ['plain', plain, 'none', undefined, false],
    ]
    const zstd = await write(items(), { compression: 'zstd' })
    layers.push(['our zstd', zstd.bytes, 'zstd', zstd.members, false])
    for (const [name, bytes, compression, members, cached] of layers) {
      const place = join(dir, name)
      mkdirSync(place)
      writeFileSync(join(place, 'blob'), bytes)
      const content = new LayerContent({
        locate: () => ({ path: join(place, 'blob'), compression, ...(members && { members }) }),
        tarPath: () => join(place, 'tar'),
      })
      for (const { path, entry } of ours.index.entries) {
        if (entry?.type !== 'file') continue
        expect([path, sha256(await content.read(entry))]).toEqual([path, entry.digest!])
      }
      content.close()
      expect(readdirSync(place).sort()).toEqual(cached ? ['blob', 'tar'] : ['blob'])
    }
  })

  test('a layer made from another layer; damage is noticed', async () => {
    const ours = await write(items())
    const place = join(dir, 'copy')
    mkdirSync(place)
    const blob = join(place, 'blob')
    writeFileSync(blob, ours.bytes)
    const source = {
      locate: () => ({ path: blob, compression: 'gzip' as const, members: ours.members }),
      tarPath: () => join(place, 'tar'),
    }
    const tree = new Tree()
    applyLayer(tree, ours.index)
    const copied = Array.from(tree.walk()).slice(1)
    const content = new LayerContent(source)
    const again = await write(copied, { open: entry => content.open(entry) })
    content.close()
    const second = new Tree()
    applyLayer(second, again.index)
    expect(Array.from(second.walk(), ({ path, entry }) => [path, entry.digest])).toEqual(
      Array.from(tree.walk(), ({ path, entry }) => [path, entry.digest]),
    )
    const bad = Buffer.from(ours.bytes)
    bad[ours.members[2]! + 500]! ^= 0xff
    unlinkSync(blob)
    writeFileSync(blob, bad)
    const broken = new LayerContent(source)
    const error = await failure(write(copied, { open: entry => broken.open(entry) }))
    broken.close()
    expect(error?.code).toMatch(/TAR_INVALID|DIGEST_MISMATCH/)
  })

  test('a foreign layer that is not what its diff ID says leaves nothing behind', async () => {
    const place = join(dir, 'wrong')
    mkdirSync(place)
    writeFileSync(join(place, 'blob'), gzipSync(tar({ path: 'x', text: 'y' })))
    const content = new LayerContent({
      locate: () => ({ path: join(place, 'blob'), compression: 'gzip' }),
      tarPath: () => join(place, 'tar'),
    })
    const entry: Entry = { ...FILE, size: 1, content: { kind: 'layer', diffId: sha256('z'), offset: 512 } }
    expect((await failure(content.read(entry)))?.code).toBe('DIGEST_MISMATCH')
    expect(readdirSync(place)).toEqual(['blob'])
    content.close()
  })
})

/** Computed apart from this code: the tar from the POSIX tables by a few lines of Python; of the blob, level 6 of libdeflate. */
const GOLDEN_DIFF_ID: Digest = 'sha256:57c169e89817f2418e62f07e7237929fabef30d7a26daf833c09e13e87b69c49'
const GOLDEN_BLOB: Digest = 'sha256:75d3525e0ee79b95974db96cf856de343d83de9e9bda2d135268793a7010607a'
