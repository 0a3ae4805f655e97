import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import { Tree } from '../layer/tree.ts'
import type { CopyOp } from './lowered.ts'
import type { SourceTree } from './source-tree.ts'
import { findSources } from './sources.ts'

const stat = { mode: 0o644, uid: 0, gid: 0, mtime: 0, size: 0 } as const
const NO_DIGEST = `sha256:${'0'.repeat(64)}` as const

/** A tree of paths: `d/` is a folder, `l -> target` a link. */
function source(paths: readonly string[], transferred = true): SourceTree {
  const tree = new Tree()
  for (const text of paths) {
    const [path = '', link] = text.split(' -> ')
    const entry: Entry =
      link !== undefined
        ? { ...stat, type: 'symlink', link }
        : { ...stat, type: path.endsWith('/') ? 'dir' : 'file', mode: path.endsWith('/') ? 0o755 : 0o644 }
    tree.put(path.replace(/\/$/, ''), entry)
  }
  return {
    name: 'the test',
    transferred,
    lookup: path => (path === '' ? tree.root : tree.lookup(path)),
    list: path => tree.list(path),
    digest: () => NO_DIGEST,
  }
}

const place = { line: 1, range: { start: { line: 1, column: 1 }, end: { line: 1, column: 1 } }, label: 'COPY' }

/** What is found: `name: paths below`, folders that only lead somewhere in brackets. */
function find(tree: SourceTree, sources: readonly string[], more: Partial<CopyOp> = {}): string[] {
  const op: CopyOp = {
    ...{ kind: 'copy', add: false, from: { kind: 'context' }, files: [], dest: '/', link: false, unpack: false },
    ...{ parents: false, excludes: [], sources, ...place, ...more },
  }
  return findSources(op, tree).map(({ name, below }) =>
    [`${name}:`, ...below.map(({ path, parentOnly }) => (parentOnly ? `(${path})` : path))].join(' '),
  )
}

const tree = source([
  ...['a.txt', 'b.md', 'd/', 'd/one', 'd/e/', 'd/e/two.md', 'x1/f', 'x2/f', '[odd]', 'to-d -> d', 'to-x -> /x1/f'],
  ...['up -> ../../a.txt', 'gone -> nothing', 'loop -> loop'],
])

describe('sources', () => {
  test('names, folders, and the whole', () => {
    expect(find(tree, ['a.txt', './d/../d', '/d/e/'])).toEqual(['a.txt:', 'd: e e/two.md one', 'e: two.md'])
    expect(find(source(['a', 'd/', 'd/b']), ['.'])).toEqual([': a d d/b'])
    expect(find(tree, ['../../a.txt'])).toEqual(['a.txt:'])
  })

  test('links are followed for the source itself and its parents, not below it', () => {
    expect(find(tree, ['to-d/one', 'to-x', 'up'])).toEqual(['one:', 'to-x:', 'up:'])
    expect(find(tree, ['to-d'])).toEqual(['to-d: e e/two.md one'])
    for (const name of ['gone', 'loop', 'nothing', 'a.txt/x']) expect(() => find(tree, [name])).toThrow(name)
  })

  test('wildcards go component by component and may match nothing', () => {
    expect(find(tree, ['*.txt', 'x?/f', 'x[2-3]/*', 'nothing*'])).toEqual(['a.txt:', 'f:', 'f:', 'f:'])
    expect(find(tree, ['[[]odd]'])).toEqual(['[odd]:'])
    // Without another wildcard BuildKit takes the backslash for a part of the name.
    expect(() => find(tree, ['\\[odd]'])).toThrow('does not exist')
    expect(find(tree, ['\\[odd*'])).toEqual(['[odd]:'])
    expect(() => find(tree, ['to-*', 'go*'])).toThrow('gone')
  })

  test('a malformed pattern is refused', () => {
    for (const transferred of [true, false])
      expect(() => find(source(['[a'], transferred), ['[a'])).toThrow('not a well formed pattern')
  })

  test('--exclude leaves out below the source, with exceptions', () => {
    expect(find(tree, ['d'], { excludes: ['**/*.md'] })).toEqual(['d: e one'])
    expect(find(tree, ['d'], { excludes: ['e'] })).toEqual(['d: one'])
    expect(find(tree, ['d'], { excludes: ['**', '!e/two.md'] })).toEqual(['d: (e) e/two.md'])
    expect(find(tree, ['a.txt'], { excludes: ['a.txt'] })).toEqual(['a.txt:'])
  })

  test('--parents keeps folders, below a pivot only those behind it', () => {
    const parents = { parents: true }
    expect(find(tree, ['d/e/two.md'], parents)).toEqual([': (d) (d/e) d/e/two.md'])
    expect(find(tree, ['d/./e/two.md'], parents)).toEqual(['d: (e) e/two.md'])
    expect(find(tree, ['d/./*.none'], parents)).toEqual(['d:'])
    expect(() => find(tree, ['d/./none'], parents)).toThrow('d/./none')
    expect(find(source(['x/f', 'y/g', 'f']), ['*/./f'], parents)).toEqual(['x: f', 'y:'])
    expect(find(source(['x/f', 'f'], false), ['*/./f'], parents)).toEqual(['f:', 'x: f'])
  })

  test('a near name is suggested', () => {
    expect(() => find(tree, ['d/oen'])).toThrow(expect.objectContaining({ hint: expect.stringContaining('one') }))
  })
})

test('the file of another platform is no typo; a typo is', () => {
  const hint = (wanted: string): string | undefined => {
    try {
      find(source(['hello-amd64', 'config.yaml']), [wanted])
    } catch (error) {
      if (isArchimageError(error)) return error.hint
      throw error
    }
    return undefined
  }
  expect(hint('hello-arm64')).toBe('there is "hello-amd64", which is for another platform: was this one not made?')
  expect(hint('confg.yaml')).toBe('did you mean "config.yaml"?')
  expect(() => find(source([]), ['x'])).toThrow(
    expect.objectContaining({ hint: expect.stringContaining('-f - FOLDER') }),
  )
})
