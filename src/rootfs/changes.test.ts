import { afterEach, beforeEach, describe, expect } from 'bun:test'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { requirePeers } from '../../test/peers/require.ts'
import { applyItems, applyLayer } from '../layer/apply.ts'
import { LayerContent } from '../layer/content.ts'
import { Tree } from '../layer/tree.ts'
import { type LayerItem, writeLayer } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import { openStore } from '../store/store.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { upperChanges } from './changes.ts'
import { copyRoot } from './copy.ts'
import { layerBytes, Snapshots } from './snapshots.ts'
import { type Act, act, perform } from './testing/random-steps.ts'
import { mounted, seenIn, seenInTree } from './testing/roots.ts'

const real = requirePeers('root')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-changes-'))
})
afterEach(() => removeTree(folder))

type Seen = ReturnType<typeof seenIn>
const unlinked = (seen: Seen): object[] => [...seen].map(([path, { link: _, ...rest }]) => ({ path, ...rest }))
const sorted = (seen: Seen): Seen => new Map([...seen].sort(([a], [b]) => (a < b ? -1 : 1)))

type Roots = 'trusted marks' | 'user marks' | 'copies'

/**
 * Runs steps one over the other, on overlays or in copied roots, takes what each changed into a tree and into a layer, and
 * unpacks those layers elsewhere: the root that the steps saw, the tree, and the root from the layers must be the same.
 */
async function steps(list: readonly (readonly Act[])[], roots: Roots): Promise<void> {
  const home = mkdtempSync(join(folder, 'run-'))
  using store = openStore({ home: join(home, 'store') })
  const userxattr = roots === 'user marks'
  const snapshots = new Snapshots(store, { userxattr })
  const [tree, fromLayers] = [new Tree(), new Tree()]
  const empty = store.scratch()
  const [lowers, unpacked]: [string[], string[]] = [[empty], [empty]]
  const content = new LayerContent({
    locate: diffId => ({ path: store.blobPath(diffId), compression: 'none' }),
    tarPath: diffId => store.tarPath(diffId),
  })
  for (const [i, acts] of list.entries()) {
    const scratch = snapshots.scratch()
    const act = (root: string): Seen => {
      for (const one of acts) perform(root, one)
      return seenIn(root)
    }
    const options = { userxattr, group: String(i) }
    let seen: Seen
    let items: readonly LayerItem[]
    if (roots === 'copies') {
      const { untouched } = await copyRoot(unpacked, scratch.upper, { userxattr })
      expect(sorted(seenIn(scratch.upper))).toEqual(sorted(seenInTree(tree)))
      seen = act(scratch.upper)
      items = (await upperChanges(scratch.upper, tree, { ...options, whole: { untouched, devices: true } })).items
    } else {
      seen = await mounted(home, lowers, scratch, act, userxattr)
      items = (await upperChanges(scratch.upper, tree, options)).items
    }
    const sink = store.create()
    const { index } = await writeLayer({ entries: items, compression: 'none', sink, workers: 0 })
    applyItems(tree, items)
    expect(unlinked(sorted(seenInTree(tree)))).toEqual(unlinked(sorted(seen)))
    // what is one file for the step is one in the tree
    const links = seenInTree(tree)
    for (const [path, { link }] of seen) expect([path, links.get(path)!.link]).toEqual([path, links.get(link)!.link])

    const stream = () => layerBytes({ path: store.blobPath(index.diffId), compression: 'none' })
    const layer = { index, chainId: `sha256:${i}` as Digest, stream }
    unpacked.push(await snapshots.layer(layer, fromLayers, { open: entry => content.open(entry) }))
    applyLayer(fromLayers, index)
    expect(seenInTree(fromLayers)).toEqual(seenInTree(tree))
    lowers.push(snapshots.adopt(String(i), scratch.upper, 1))
    scratch.dispose()
  }
  const whole = (root: string) => expect(sorted(seenIn(root))).toEqual(sorted(seenInTree(tree)))
  await mounted(home, unpacked, undefined, whole, userxattr)
  content.close()
  removeTree(home)
}

describe('what steps change', () => {
  const list = fc.array(fc.array(act, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 })
  for (const roots of ['trusted marks', 'user marks', 'copies'] as const)
    real(`steps, tree and layers agree: ${roots}`, async () => {
      await fc.assert(
        fc.asyncProperty(list, list => steps(list, roots)),
        { numRuns: Number(process.env['RUNS'] ?? 40) },
      )
    })
})
