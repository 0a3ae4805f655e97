import { describe, expect, test } from 'bun:test'
import type { Entry } from '../../layer/entry.ts'
import { Tree } from '../../layer/tree.ts'
import type { CopyOp } from '../../plan/lowered.ts'
import type { SourceMatch } from '../../plan/sources.ts'
import type { ArchiveEntry } from './archive.ts'
import { Change } from './change.ts'
import { applyCopy } from './copy.ts'
import type { Owner } from './owner.ts'

const ROOT = { uid: 0, gid: 0 }
const file = (mode = 0o644, more: Partial<Entry> = {}): Entry => ({
  type: 'file',
  mode,
  ...ROOT,
  mtime: 0,
  size: 0,
  ...more,
})
const dir = (mode = 0o755, more: Partial<Entry> = {}): Entry => ({ ...file(mode, more), type: 'dir' })
const link = (target: string): Entry => ({ ...file(0o777), type: 'symlink', link: target })

/** A base with folders of all kinds. */
function base(): Change {
  const tree = new Tree()
  const entries: Record<string, Entry> = {
    bin: link('usr/bin'),
    data: dir(0o2775, { uid: 7, gid: 8 }),
    dangling: link('/no/where'),
    etc: dir(),
    'etc/hosts': file(),
    tmp: dir(0o1777),
    usr: dir(),
    'usr/bin': dir(0o711, { uid: 5, gid: 6 }),
    'usr/bin/tool': file(0o755, { inode: 'of the base' }),
    'usr/bin/too': file(0o755, { inode: 'of the base' }),
  }
  for (const [path, entry] of Object.entries(entries)) tree.put(path, entry)
  return new Change(tree)
}

const place = { line: 1, range: { start: { line: 1, column: 1 }, end: { line: 1, column: 1 } }, label: 'COPY' }

interface Input extends Partial<CopyOp> {
  readonly matches?: readonly SourceMatch[]
  readonly owner?: Owner
  readonly archive?: readonly ArchiveEntry[]
}

/** What an instruction writes, without the parents: `mode uid:gid` by path. */
function written(
  change: Change,
  { matches = [one('f', file())], owner, archive, ...more }: Input,
): Record<string, string> {
  const op: CopyOp = {
    ...{ kind: 'copy', add: false, from: { kind: 'context' }, sources: [], files: [], dest: '/', link: false },
    ...{ parents: false, excludes: [], unpack: archive !== undefined, ...place, ...more },
  }
  applyCopy(change, op, matches, { owner, unpack: () => archive, serial: 's' })
  return Object.fromEntries(
    [...change.written].map(([path, { type, mode, uid, gid }]) => [
      path,
      `${type === 'file' ? '' : `${type} `}${mode.toString(8)} ${uid}:${gid}`,
    ]),
  )
}

const one = (name: string, entry: Entry, below: SourceMatch['below'] = []): SourceMatch => ({
  name,
  path: name,
  entry,
  below,
})
const folder = one('d', dir(0o700), [
  { path: 'e', entry: dir(0o750), parentOnly: false },
  { path: 'e/x', entry: file(0o600), parentOnly: false },
])

describe('destinations', () => {
  test('a name, a folder by its slash, a folder that is there', () => {
    expect(written(base(), { dest: '/a/b' })).toEqual({ a: 'dir 755 0:0', 'a/b': '644 0:0' })
    expect(written(base(), { dest: '/a/' })).toEqual({ a: 'dir 755 0:0', 'a/f': '644 0:0' })
    expect(written(base(), { dest: '/tmp' })).toEqual({ 'tmp/f': '644 0:0' })
  })

  test('links on the way and at the end are followed, missing targets are made', () => {
    expect(written(base(), { dest: '/bin' })).toEqual({ 'usr/bin/f': '644 0:0' })
    expect(written(base(), { dest: '/dangling' })).toEqual({ no: 'dir 755 0:0', 'no/where': '644 0:0' })
  })

  test('contents of a folder: the top keeps its own mode, what is below takes that of the source', () => {
    expect(written(base(), { dest: '/new', matches: [folder] })).toEqual({
      ...{ new: 'dir 755 0:0', 'new/e': 'dir 750 0:0', 'new/e/x': '600 0:0' },
    })
    const change = base()
    change.tree.put('tmp/e', dir(0o711, { uid: 9, gid: 9 }))
    expect(written(change, { dest: '/tmp', matches: [folder] })).toEqual({
      'tmp/e': 'dir 750 0:0',
      'tmp/e/x': '600 0:0',
    })
  })

  test('a folder that only leads to something gives its mode to one that is there, and nothing else', () => {
    const leading = one('', dir(), [
      { path: 'data', entry: dir(0o750), parentOnly: true },
      { path: 'data/x', entry: file(), parentOnly: false },
    ])
    expect(written(base(), { matches: [leading], owner: { uid: 1, gid: 1 } })).toEqual({
      ...{ data: 'dir 750 7:8', 'data/x': '644 1:1' },
    })
  })

  test('what cannot be', () => {
    for (const input of [
      { dest: '/etc/hosts/x' },
      { dest: '/etc/hosts/' },
      { dest: '/etc/hosts', matches: [folder] },
      { matches: [one('', dir(), [{ path: 'etc', entry: file(), parentOnly: false }])] },
      { matches: [one('', dir(), [{ path: 'bin', entry: dir(), parentOnly: false }])] },
    ])
      expect(() => written(base(), input)).toThrow(expect.objectContaining({ code: 'STEP_FAILED' }))
  })
})

describe('modes and owners', () => {
  test('--chmod also counts for folders that are made, without its special bits', () => {
    expect(written(base(), { dest: '/a/b', chmod: '4711' })).toEqual({ a: 'dir 711 0:0', 'a/b': '4711 0:0' })
    expect(written(base(), { dest: '/a/b', chmod: 'u=rwX,go=' })).toEqual({ a: 'dir 755 0:0', 'a/b': '600 0:0' })
  })

  test('--chown counts for everything, without it the owner of the source stays', () => {
    const matches = [one('f', file(0o644, { uid: 3, gid: 4 }))]
    expect(written(base(), { dest: '/a/b', matches })).toEqual({ a: 'dir 755 0:0', 'a/b': '644 3:4' })
    expect(written(base(), { dest: '/a/b', matches, owner: { uid: 1, gid: 2 } })).toEqual({
      ...{ a: 'dir 755 1:2', 'a/b': '644 1:2' },
    })
  })

  test('folders that are made below one with the set-group-ID bit have it too, and its group', () => {
    expect(written(base(), { dest: '/data/a/b/f' })).toEqual({
      ...{ 'data/a': 'dir 2755 0:8', 'data/a/b': 'dir 2755 0:8', 'data/a/b/f': '644 0:0' },
    })
    expect(written(base(), { dest: '/data/a/', owner: { uid: 1, gid: 2 } })).toEqual({
      ...{ 'data/a': 'dir 2755 1:2', 'data/a/f': '644 1:2' },
    })
  })
})

describe('archives', () => {
  const at = (path: string, entry: Entry): ArchiveEntry => ({ path, entry })
  const inode = { mode: 0o640, uid: 3, gid: 4, mtime: 0 }
  const unpack = (dest: string, archive: readonly ArchiveEntry[], owner?: Owner): [Change, Record<string, string>] => {
    const change = base()
    return [change, written(change, { dest, archive, ...(owner ? { owner } : {}) })]
  }

  test('modes and owners are those of the archive, or those of --chown; implied folders are of root', () => {
    const archive = [at('', dir(0o700)), at('a/b', file(0o4755, { uid: 1, gid: 2 }))]
    expect(unpack('/x/y', archive)[1]).toEqual({
      x: 'dir 755 0:0',
      'x/y': 'dir 755 0:0',
      'x/y/a': 'dir 755 0:0',
      'x/y/a/b': '4755 1:2',
    })
    expect(unpack('/tmp', archive, { uid: 8, gid: 9 })[1]).toEqual({ 'tmp/a': 'dir 755 0:0', 'tmp/a/b': '4755 8:9' })
  })

  test('things replace each other, but a folder merges with a folder', () => {
    const [change, found] = unpack('/', [
      at('etc', file()),
      at('bin', dir(0o700)),
      at('usr', dir(0o711)),
      at('dangling', link('x')),
    ])
    expect(found).toEqual({ etc: '644 0:0', bin: 'dir 700 0:0', usr: 'dir 711 0:0', dangling: 'symlink 777 0:0' })
    expect(change.lookup('etc/hosts')).toBeUndefined()
    expect(change.lookup('usr/bin/tool')).toBeDefined()
  })

  test('the folder it is unpacked to is the root for its links', () => {
    expect(
      unpack('/tmp', [
        at('etc', dir()),
        at('l', link('/etc')),
        at('l/hosts', file()),
        at('m', link('../../..')),
        at('m/x', file()),
      ])[1],
    ).toEqual({
      'tmp/l': 'symlink 777 0:0',
      'tmp/etc': 'dir 755 0:0',
      'tmp/etc/hosts': '644 0:0',
      'tmp/m': 'symlink 777 0:0',
      'tmp/x': '644 0:0',
    })
  })

  test('a hard link is a further name, and its header counts for the file', () => {
    const [change, found] = unpack('/tmp', [
      at('a', file()),
      { path: 'b', link: 'a', inode },
      { path: 'c', link: 'b', inode },
    ])
    expect(found).toEqual({ 'tmp/a': '640 3:4', 'tmp/b': '640 3:4', 'tmp/c': '640 3:4' })
    const inodes = ['a', 'b', 'c'].map(name => change.lookup(`tmp/${name}`)?.inode)
    expect(new Set(inodes).size).toBe(1)
    expect(inodes[0]).toBeString()
  })

  test('a hard link to a file of the image takes it out of its old company', () => {
    const [change, found] = unpack('/usr/bin', [{ path: 'new', link: 'tool', inode }])
    expect(found).toEqual({ 'usr/bin/tool': '640 3:4', 'usr/bin/new': '640 3:4' })
    expect(change.lookup('usr/bin/too')?.inode).toBe('of the base')
    expect(change.lookup('usr/bin/tool')?.inode).toBe(change.lookup('usr/bin/new')!.inode!)
    expect(change.lookup('usr/bin/tool')?.inode).not.toBe('of the base')
  })

  test('what cannot be', () => {
    for (const archive of [
      [{ path: 'b', link: 'nothing', inode }],
      [{ path: 'b', link: 'b', inode }],
      [at('d', dir()), { path: 'b', link: 'd', inode }],
      [at('f', file()), at('f/g', file())],
      [at('l', link('nothing')), at('l/x', file())],
    ])
      expect(() => unpack('/tmp', archive)).toThrow()
  })
})

test('a layer has the parents of what it writes, as the tree has them, in the order of bytes', () => {
  const change = base()
  written(change, { dest: '/usr/bin/new' })
  written(change, { dest: '/tmp/' })
  expect(change.entries().map(({ path, entry, written }) => `${path} ${entry.mode.toString(8)} ${written}`)).toEqual([
    ...['tmp 1777 false', 'tmp/f 644 true', 'usr 755 false', 'usr/bin 711 false', 'usr/bin/new 644 true'],
  ])
})
