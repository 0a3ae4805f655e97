import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { comparePaths } from '../tar/path-bytes.ts'
import { applyLayer } from './apply.ts'
import type { Entry } from './entry.ts'
import { Tree } from './tree.ts'

const dir = (mode = 0o755): Entry => ({ type: 'dir', mode, uid: 0, gid: 0, mtime: 0, size: 0 })
const file = (size = 1): Entry => ({ type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size })
const link = (to: string): Entry => ({ type: 'symlink', mode: 0o777, uid: 0, gid: 0, mtime: 0, size: 0, link: to })

function tree(entries: Record<string, Entry>, options = {}): Tree {
  const out = new Tree(options)
  for (const [path, entry] of Object.entries(entries)) out.put(path, entry)
  return out
}

const paths = (of: Tree, from = '') => Array.from(of.walk(from), item => item.path)

describe('putting and removing', () => {
  test('parents come by themselves, the root is 0755', () => {
    const t = tree({ 'a/b/c': file() })
    expect(t.lookup('a/b')).toEqual(dir())
    expect(t.root).toEqual(dir())
    expect(paths(t)).toEqual(['', 'a', 'a/b', 'a/b/c'])
  })

  test('a directory over a directory keeps the children, anything else does not', () => {
    const t = tree({ 'a/b': file() })
    expect(t.put('a', dir(0o700))).toEqual(dir())
    expect(t.lookup('a')?.mode).toBe(0o700)
    expect(t.list('a')).toEqual(['b'])
    t.put('a', file())
    expect(t.list('a')).toEqual([])
    t.put('a', dir())
    expect(t.list('a')).toEqual([])
    t.put('', dir(0o711))
    expect(t.root.mode).toBe(0o711)
    expect(t.list('')).toEqual(['a'])
  })

  test('nothing is put below a file or through a link', () => {
    const t = tree({ f: file(), l: link('d'), d: dir() })
    for (const path of ['f/x', 'l/x', 'f/x/y']) expect(() => t.put(path, file())).toThrow(/is not a directory/)
    expect(() => t.put('', file())).toThrow()
    expect(paths(t)).toEqual(['', 'd', 'f', 'l'])
  })

  test('removing', () => {
    const t = tree({ 'a/b/c': file(), 'a/d': file() })
    expect(t.remove('a/b')).toBe(true)
    expect(t.remove('a/b')).toBe(false)
    expect(t.remove('')).toBe(false)
    t.put('a/b/e', file())
    expect(paths(t)).toEqual(['', 'a', 'a/b', 'a/b/e', 'a/d'])
  })
})

test('the order of a walk is the order of whole paths in bytes', () => {
  const t = tree({
    'a/b': file(),
    'a-b': file(),
    'a.d/x': file(),
    a0: file(),
    ä: file(),
    '\udcff': file(),
    '\u{1f600}': file(),
  })
  const order = ['', 'a', 'a-b', 'a.d', 'a.d/x', 'a/b', 'a0', 'ä', '\u{1f600}', '\udcff']
  expect(paths(t)).toEqual(order)
  expect(paths(t)).toEqual([...order].sort(comparePaths))
  expect(paths(t, 'a.d')).toEqual(['a.d', 'a.d/x'])
  expect(paths(t, 'none')).toEqual([])
  expect(t.list('')).toEqual(['a', 'a-b', 'a.d', 'a0', 'ä', '\u{1f600}', '\udcff'])
})

describe('forks', () => {
  test('each goes its own way', () => {
    const a = tree({ 'x/y': file(1), 'x/z': file(1) })
    const b = a.fork()
    a.put('x/y', file(2))
    b.remove('x/z')
    b.put('x/n/m', file(3))
    const c = b.fork()
    c.put('x', dir(0o700))
    expect(paths(a)).toEqual(['', 'x', 'x/y', 'x/z'])
    expect(paths(b)).toEqual(['', 'x', 'x/n', 'x/n/m', 'x/y'])
    expect([a.lookup('x/y')?.size, b.lookup('x/y')?.size]).toEqual([2, 1])
    expect([b.lookup('x')?.mode, c.lookup('x')?.mode]).toEqual([0o755, 0o700])
  })

  test('property: as if every fork were a full copy', () => {
    const path = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 }).map(parts => parts.join('/'))
    const step = fc.record({
      path,
      what: fc.constantFrom('file', 'dir', 'remove', 'fork'),
      on: fc.nat(3),
      mode: fc.nat(9),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const trees = [new Tree()]
        const models = [new Map<string, Entry>([['', dir()]])]
        for (const { path, what, on, mode } of steps) {
          const i = on % trees.length
          const [t, m] = [trees[i]!, models[i]!]
          if (what === 'fork') {
            trees.push(t.fork())
            models.push(new Map(m))
          } else if (what === 'remove') {
            t.remove(path)
            for (const key of m.keys()) if (key === path || key.startsWith(`${path}/`)) m.delete(key)
          } else {
            const parents = path.split('/').map((_, at, parts) => parts.slice(0, at).join('/'))
            const blocked = parents.some(p => m.has(p) && m.get(p)!.type !== 'dir')
            const entry = what === 'file' ? file(mode) : dir(mode)
            if (blocked) {
              expect(() => t.put(path, entry)).toThrow()
              // parents up to the file may have been made: none, since the file itself exists
              continue
            }
            t.put(path, entry)
            for (const p of parents) if (!m.has(p)) m.set(p, dir())
            if (what === 'file') for (const key of m.keys()) if (key.startsWith(`${path}/`)) m.delete(key)
            m.set(path, entry)
          }
        }
        for (const [i, t] of trees.entries()) {
          const sorted = [...models[i]!].sort((a, b) => comparePaths(a[0], b[0]))
          expect(Array.from(t.walk(), ({ path, entry }) => [path, entry])).toEqual(sorted)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('resolving', () => {
  const t = tree({
    'usr/lib/x': file(7),
    lib: link('usr/lib'),
    abs: link('/usr'),
    up: link('../../../usr/lib/x'),
    'a/b/rel': link('../../lib/x'),
    loop1: link('loop2'),
    loop2: link('/loop1'),
    dangling: link('nowhere/at/all'),
    self: link('.'),
  })

  test('as the kernel in a chroot', () => {
    const cases: [string, string, boolean][] = [
      ['lib/x', 'usr/lib/x', true],
      ['/lib//./x', 'usr/lib/x', true],
      ['lib', 'usr/lib', true],
      ['abs/lib/x', 'usr/lib/x', true],
      ['up', 'usr/lib/x', true],
      ['a/b/rel', 'usr/lib/x', true],
      ['../../lib/../lib/x', 'usr/lib/x', true],
      ['self/self/lib', 'usr/lib', true],
      ['', '', true],
      ['..', '', true],
      ['lib/none/deep', 'usr/lib/none/deep', false],
      ['dangling', 'nowhere/at/all', false],
      ['dangling/more', 'nowhere/at/all/more', false],
      ['usr/lib/x/below', 'usr/lib/x/below', false],
    ]
    for (const [from, to, exists] of cases) {
      const found = t.resolve(from)
      expect([from, found.path, found.entry !== undefined]).toEqual([from, to, exists])
    }
  })

  test('the last link stays when asked, except behind a slash', () => {
    expect(t.resolve('lib', { followLast: false })).toEqual({ path: 'lib', entry: link('usr/lib') })
    expect(t.resolve('abs/lib', { followLast: false }).path).toBe('usr/lib')
    expect(t.resolve('lib/', { followLast: false }).path).toBe('usr/lib')
  })

  test('circles end', () => {
    expect(() => t.resolve('loop1')).toThrow(/too many levels of symbolic links/)
    const chain = new Tree()
    for (let i = 0; i < 255; i++) chain.put(`l${i}`, link(`l${i + 1}`))
    chain.put('l255', file())
    expect(chain.resolve('l0').path).toBe('l255')
    chain.put('l255', link('l256'))
    expect(() => chain.resolve('l0')).toThrow()
  })
})

test('windows: names compare without case and keep the case they had', () => {
  const t = tree({ 'Program Files/App': dir(), 'C-link': link('C:\\program files\\app') }, { caseInsensitive: true })
  t.put('PROGRAM FILES/app/x.EXE', file())
  expect(paths(t)).toEqual(['', 'C-link', 'Program Files', 'Program Files/App', 'Program Files/App/x.EXE'])
  expect(t.lookup('program files/APP/X.exe')).toEqual(file())
  expect(t.resolve('c-LINK/X.exe').path).toBe('Program Files/App/x.EXE')
  expect(t.remove('PROGRAM FILES')).toBe(true)
  expect(t.fork().caseInsensitive).toBe(true)
})

test('a file that is called like a property of every object has its own content', () => {
  const digest = `sha256:${'0'.repeat(64)}` as const
  const content = { kind: 'layer', diffId: digest, offset: 512 } as const
  const files = { 'etc/passwd': Buffer.from('root:x:0:0::/:/bin/sh\n') }
  const names = ['constructor', 'toString', '__proto__']
  const entries = names.map(path => ({ path, kind: 'entry', entry: { ...file(), content } }) as const)
  const t = new Tree()
  applyLayer(t, { diffId: digest, size: 0, entries, files })
  for (const name of names) expect(t.lookup(name)?.content).toEqual(content)
})

test('links do not make paths deeper than any file system has', () => {
  const deep = 'a/'.repeat(1000)
  const entries = Array.from({ length: 20 }, (_, i) => {
    const below = i === 0 ? '' : `x${i - 1}/`
    return [
      { path: `${below}${deep}b`, kind: 'entry', entry: dir() } as const,
      { path: `x${i}`, kind: 'entry', entry: link(`${below}${deep}b`) } as const,
    ]
  }).flat()
  const apply = (): void => applyLayer(new Tree(), { diffId: `sha256:${'0'.repeat(64)}`, size: 0, entries })
  expect(apply).toThrow(expect.objectContaining({ code: 'STEP_FAILED' }))
})
