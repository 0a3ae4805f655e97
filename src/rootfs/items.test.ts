import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { requirePeers } from '../../test/peers/require.ts'
import { applyLayer } from '../layer/apply.ts'
import { LayerContent } from '../layer/content.ts'
import { indexLayer } from '../layer/index.ts'
import { Tree } from '../layer/tree.ts'
import type { Digest } from '../oci/digest.ts'
import { openStore } from '../store/store.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { overlayItems, standsAlone } from './items.ts'
import { Snapshots } from './snapshots.ts'
import { mounted, seenIn, seenInTree } from './testing/roots.ts'
import { type Part, tar } from './testing/tar.ts'

const index = (...parts: Part[]) => indexLayer([tar(parts)])

async function treeOf(...layers: Part[][]): Promise<Tree> {
  const tree = new Tree()
  for (const parts of layers) applyLayer(tree, await index(...parts))
  return tree
}

async function items(below: Tree, ...parts: Part[]): Promise<string[]> {
  return overlayItems(await index(...parts), below).map(({ path, kind = 'entry', entry }) =>
    kind === 'entry' ? `${path}${entry!.type === 'dir' ? '/' : ''}` : `${kind} ${path}`,
  )
}

describe('what the directory of a layer holds', () => {
  test('implied parents have mode, owner and attributes from below', async () => {
    const below = await treeOf([
      { path: 'a/', uid: 7, mode: 0o700, xattrs: { 'user.x': Buffer.from('y') } },
      { path: 'a/b/', gid: 8 },
    ])
    const found = overlayItems(await index({ path: 'a/b/c/d' }), below)
    expect(found.map(({ path }) => path)).toEqual(['a', 'a/b', 'a/b/c', 'a/b/c/d'])
    expect(found[0]!.entry).toMatchObject({ uid: 7, mode: 0o700, xattrs: { 'user.x': 'eQ==' } })
    expect(found[1]!.entry).toMatchObject({ gid: 8, mode: 0o755 })
    expect(found[2]!.entry).toMatchObject({ uid: 0, mode: 0o755 })
  })

  test('links on the way are followed in what is below', async () => {
    const below = await treeOf([{ path: 'usr/' }, { path: 'usr/lib/' }, { path: 'lib', link: 'usr/lib' }])
    expect(await items(below, { path: 'lib/x' })).toEqual(['usr/', 'usr/lib/', 'usr/lib/x'])
    expect(await items(below, { path: 'lib/' }, { path: 'lib/x' })).toEqual(['lib/', 'lib/x'])
  })

  test('deletions, where there is something; of all that a directory holds as a mark on it', async () => {
    const below = await treeOf([{ path: 'a/' }, { path: 'a/1' }, { path: 'a/2' }, { path: 'b/' }, { path: 'b/1' }])
    expect(
      await items(below, { path: 'a/.wh.1' }, { path: 'a/.wh.9' }, { path: '.wh.c' }, { path: 'd/.wh.x' }),
    ).toEqual(['a/', 'whiteout a/1'])
    expect(await items(below, { path: 'b/.wh..wh..opq' }, { path: 'b/n' })).toEqual(['b/', 'opaque b', 'b/n'])
    expect(await items(below, { path: '.wh.b' }, { path: 'b/' }, { path: 'b/n' })).toEqual(['b/', 'opaque b', 'b/n'])
    expect(await items(below, { path: 'b/' }, { path: 'b/n' }, { path: '.wh.b' })).toEqual(['b/', 'opaque b', 'b/n'])
    expect(await items(below, { path: '.wh..wh..opq' })).toEqual(['whiteout a', 'whiteout b'])
    // a directory that gave way to a file in between
    expect(await items(below, { path: 'b' }, { path: 'b/' }, { path: 'b/n' })).toEqual(['b/', 'opaque b', 'b/n'])
    expect(await items(below, { path: 'b' })).toEqual(['b'])
  })

  test('a hard link to a file below brings that file along', async () => {
    const below = await treeOf([{ path: 'a/' }, { path: 'a/1', text: 'x', uid: 5 }])
    const found = overlayItems(await index({ path: 'l', type: 'hardlink', link: 'a/1', uid: 5 }), below)
    expect(found.map(({ path }) => path)).toEqual(['a', 'a/1', 'l'])
    expect(found[1]!.entry!.inode).toBe(found[2]!.entry!.inode!)
  })

  test('what stands alone', async () => {
    const alone = async (...parts: Part[]): Promise<boolean> => standsAlone(await index(...parts))
    expect(await alone({ path: './' }, { path: 'a/' }, { path: 'a/b' }, { path: 'c', link: '/x' })).toBe(true)
    expect(await alone({ path: 'a' }, { path: 'b', type: 'hardlink', link: 'a' })).toBe(true)
    expect(await alone({ path: 'a/b' })).toBe(false)
    expect(await alone({ path: 'a/b' }, { path: 'a/' })).toBe(false)
    expect(await alone({ path: 'a', link: 'b' }, { path: 'b/' }, { path: 'a/x' })).toBe(false)
    expect(await alone({ path: 'b', type: 'hardlink', link: 'a' })).toBe(false)
    expect(await alone({ path: 'a' }, { path: 'a/' })).toBe(false)
    expect(await alone({ path: '.wh.a' })).toBe(false)
  })
})

const names = fc.constantFrom('a', 'b', 'c-d')
const path = fc.array(names, { minLength: 1, maxLength: 3 }).map(parts => parts.join('/'))
const part: fc.Arbitrary<Part> = fc
  .record({
    kind: fc.constantFrom('file', 'file', 'dir', 'dir', 'dir', 'symlink', 'hardlink', 'fifo', 'whiteout', 'opaque'),
    path,
    other: path,
    number: fc.nat({ max: 9 }),
  })
  .map(({ kind, path, other, number }): Part => {
    const owner = { uid: number, mtime: number * 1000 }
    const slash = path.lastIndexOf('/') + 1
    switch (kind) {
      case 'whiteout':
        return { path: `${path.slice(0, slash)}.wh.${path.slice(slash)}` }
      case 'opaque':
        return { path: `${path}/.wh..wh..opq` }
      case 'symlink':
        return { path, ...owner, link: number < 5 ? `/${other}` : other }
      case 'hardlink':
        return { path, ...owner, type: 'hardlink', link: other, mode: 0o600 + number }
      case 'dir':
        return { path: `${path}/`, ...owner, mode: 0o750 }
      case 'fifo':
        return { path, ...owner, type: 'fifo' }
      default:
        return { path, ...owner, text: `${path} ${number}` }
    }
  })

describe('random layers', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'archimage-items-'))
  })
  afterEach(() => removeTree(folder))

  async function stack(layers: readonly (readonly Part[])[]): Promise<void> {
    const home = mkdtempSync(join(folder, 'run-'))
    using store = openStore({ home: join(home, 'store') })
    const snapshots = new Snapshots(store, { marks: 'trusted' })
    const content = new LayerContent({
      locate: diffId => ({ path: join(home, diffId), compression: 'none' }),
      tarPath: diffId => store.tarPath(diffId),
    })
    let tree = new Tree()
    const lowers = [store.scratch()]
    for (const [i, parts] of layers.entries()) {
      const bytes = tar(parts)
      const index = await indexLayer([bytes])
      writeFileSync(join(home, index.diffId), bytes)
      const after = tree.fork()
      try {
        applyLayer(after, index)
      } catch {
        continue
      }
      const layer = { index, chainId: `sha256:${i}` as Digest, stream: () => [bytes] }
      lowers.push(await snapshots.layer(layer, tree, { open: entry => content.open(entry) }))
      tree = after
    }
    content.close()
    await mounted(home, lowers, undefined, target => {
      const [seen, expected] = [seenIn(target), seenInTree(tree)]
      // names that only lower layers have may be one file in the tree and two on the disk, never the other way round
      for (const [path, { link }] of seen)
        expect([path, expected.get(path)!.link]).toEqual([path, expected.get(link)!.link])
      for (const list of [seen, expected]) for (const [path, one] of list) list.set(path, { ...one, link: '' })
      expect(new Map([...seen].sort())).toEqual(new Map([...expected].sort()))
    })
    removeTree(home)
  }

  requirePeers('root')('unpacked and stacked they are what the tree says', async () => {
    const layers = fc.array(fc.array(part, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 4 })
    await fc.assert(fc.asyncProperty(layers, stack), { numRuns: Number(process.env['RUNS'] ?? 40) })
  })
})
