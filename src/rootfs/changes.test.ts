import { afterEach, beforeEach, describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { requirePeers } from '../../test/peers/require.ts'
import { applyItems, applyLayer } from '../layer/apply.ts'
import { LayerContent } from '../layer/content.ts'
import { Tree } from '../layer/tree.ts'
import { writeLayer } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import { openStore } from '../store/store.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { type Changes, type ChangesOptions, upperChanges } from './changes.ts'
import { copyRoot } from './copy.ts'
import { layerBytes, Snapshots } from './snapshots.ts'
import { type Act, act, perform } from './testing/random-steps.ts'
import { mounted, seenIn, seenInTree } from './testing/roots.ts'

const real = requirePeers('root', 'python3')

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
  const marks = ({ 'trusted marks': 'trusted', 'user marks': 'user', copies: 'names' } as const)[roots]
  const userxattr = marks === 'user'
  const snapshots = new Snapshots(store, { marks })
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
    const options = { marks, group: String(i) }
    let seen: Seen
    let changes: Changes
    if (roots === 'copies') {
      const { untouched } = await copyRoot(unpacked, scratch.upper, { marks })
      expect(sorted(seenIn(scratch.upper))).toEqual(sorted(seenInTree(tree)))
      seen = act(scratch.upper)
      changes = await upperChanges(scratch.upper, tree, { ...options, whole: { untouched, devices: true } })
    } else {
      seen = await mounted(home, lowers, scratch, act, userxattr)
      changes = await upperChanges(scratch.upper, tree, options)
    }
    const { items } = changes
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
    lowers.push(snapshots.adopt(String(i), scratch.upper, changes))
    scratch.dispose()
  }
  const whole = (root: string) => expect(sorted(seenIn(root))).toEqual(sorted(seenInTree(tree)))
  if (roots === 'copies') {
    const copy = store.scratch()
    await copyRoot(unpacked, copy, { marks })
    whole(copy)
  } else await mounted(home, unpacked, undefined, whole, userxattr)
  content.close()
  removeTree(home)
}

/** What a shell script changes on a root that another script made. */
async function change(before: string, step: string, options: Partial<ChangesOptions> = {}) {
  using store = openStore({ home: join(folder, 'store') })
  const snapshots = new Snapshots(store, { marks: 'trusted' })
  const tree = new Tree()
  const lowers = [store.scratch()]
  for (const [i, script] of [before, step].entries()) {
    const scratch = snapshots.scratch()
    await mounted(folder, lowers, scratch, target => sh(script, target))
    const { items, bytes } = await upperChanges(scratch.upper, tree, { marks: 'trusted', group: `${i}`, ...options })
    if (i === 1) return { items, bytes, tree, words: items.map(({ path, kind }) => `${kind} ${path}`) }
    applyItems(tree, items)
    lowers.push(scratch.upper)
  }
  throw new Error('there is no step')
}

function sh(script: string, cwd: string): void {
  const { status, stderr } = spawnSync('sh', ['-euc', `umask 022\n${script}`], { cwd })
  if (status !== 0) throw new Error(stderr.toString())
}

describe('what a step changed', () => {
  const words = async (before: string, step: string) => (await change(before, step)).words

  real('an owner, mode, time or content that is as it was is no change', async () => {
    expect(
      await words('mkdir d; for i in $(seq 1000); do echo $i > d/$i; done', 'chown -R 0:0 .; chmod -R u+r .'),
    ).toEqual([])
    expect(await words('echo a > f; touch -d @5.5 f', 'echo a > f; touch -d @5.5 f')).toEqual([])
    expect(await words('mkdir d', 'touch -d @7 d; : > d/x; rm d/x; rmdir d; mkdir d')).toEqual([])
    expect(await words('mkdir d; echo a > d/f; touch -d @5 d/f', 'cp -a d e; rm -r d; mv e d')).toEqual([])
  })

  real('each property that is another one is a change', async () => {
    const before = 'echo a > f; touch -d @5 f; ln -s x l; mkdir d'
    for (const [step, changed] of [
      ['chown 1 f', 'f'],
      ['chown :1 d', 'd'],
      ['chmod 600 f', 'f'],
      ['chmod g+s d', 'd'],
      ['touch -d @6 f', 'f'],
      ['echo b > f; touch -d @5 f', 'f'],
      ['ln -sfn y l', 'l'],
      ['touch -hd @6 l', 'l'],
      ['rm f; mkfifo f', 'f'],
      ['rm l; mkdir l', 'l'],
    ])
      expect([step, await words(before, step!)]).toEqual([step, [`entry ${changed}`]])
  })

  real('a directory for a file and a file for a directory', async () => {
    expect(await words('mkdir d; echo a > d/f; echo b > g', 'rm -r d g; echo a > d; mkdir g; echo c > g/h')).toEqual([
      'entry d',
      'entry g',
      'entry g/h',
    ])
  })

  real('a recreated directory is opaque, unless something in it is as it was', async () => {
    const before = 'mkdir -p d/e; for i in 1 2 3; do echo $i > d/$i; touch -d @5 d/$i; done; echo x > d/e/x'
    expect(await words(before, 'rm -r d; mkdir -p d/e')).toEqual(['entry d', 'opaque d', 'entry d/e'])
    expect(await words(before, 'cp -a d/1 k; rm -r d; mkdir d; mv k d/1; echo n > d/n')).toEqual([
      'entry d',
      'whiteout d/2',
      'whiteout d/3',
      'whiteout d/e',
      'entry d/n',
    ])
  })

  real('hard links: to something new, to something that was there', async () => {
    const { items, words } = await change(
      'echo a > a; echo b > b; ln b b2',
      'ln a a2; echo c > c; ln c c2; chmod 600 b',
    )
    expect(words).toEqual(['entry a', 'entry a2', 'entry b', 'entry c', 'entry c2'])
    const inodes = new Map(items.map(({ path, entry }) => [path, entry!.inode]))
    expect([inodes.get('a'), inodes.get('c')]).toEqual([inodes.get('a2'), inodes.get('c2')])
    expect([inodes.get('b'), inodes.get('a') === inodes.get('c')]).toEqual([undefined, false])
  })

  real('sockets are left out, holes are zeros, later times become the latest', async () => {
    const step = `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("s")'; truncate -s 3000000 sparse; touch -d @99 f; touch -d @101 g`
    const { items, bytes } = await change(':', step, { latest: 100 })
    expect(items.map(({ path, entry }) => [path, entry!.size])).toEqual([
      ['f', 0],
      ['g', 0],
      ['sparse', 3_000_000],
    ])
    expect(items.map(({ entry }) => entry!.mtime)).toEqual([99, 100, 100])
    const zeros = createHash('sha256').update(Buffer.alloc(3_000_000)).digest('hex')
    expect(items[2]!.entry!.digest).toBe(`sha256:${zeros}`)
    expect(bytes).toBeLessThan(1_000_000)
  })

  real('a name that means a deletion, and a path that no layer takes, are errors', async () => {
    const failing = (step: string) => change(':', step).catch((error: unknown) => error)
    expect(await failing('mkdir d; : > d/.wh.x')).toMatchObject({
      code: 'STEP_FAILED',
      message: expect.stringContaining('/d/.wh.x, which no layer can hold'),
    })
    const deep = `python3 -c 'import os\nfor i in range(30): os.mkdir("n" * 200); os.chdir("n" * 200)'`
    expect(await failing(deep)).toMatchObject({ code: 'STEP_FAILED', message: expect.stringContaining('4096 bytes') })
  })

  real('files are read where the directory will be', async () => {
    const { items } = await change(':', 'echo a > f', { place: '/elsewhere' })
    expect(items[0]!.entry!.content).toEqual({ kind: 'host', path: '/elsewhere/f' })
  })
})

describe('what steps change', () => {
  const list = fc.array(fc.array(act, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 })
  for (const roots of ['trusted marks', 'user marks', 'copies'] as const)
    real(`steps, tree and layers agree: ${roots}`, async () => {
      await fc.assert(
        fc.asyncProperty(list, list => steps(list, roots)),
        { numRuns: Number(process.env['RUNS'] ?? 25) },
      )
    })
})
