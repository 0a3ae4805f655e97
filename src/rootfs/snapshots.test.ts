import { afterEach, beforeEach, describe, expect } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { applyItems, applyLayer } from '../layer/apply.ts'
import { LayerContent } from '../layer/content.ts'
import { indexLayer, type LayerIndex } from '../layer/index.ts'
import { Tree } from '../layer/tree.ts'
import type { Digest } from '../oci/digest.ts'
import { openStore, type Store } from '../store/store.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { upperChanges } from './changes.ts'
import { Snapshots } from './snapshots.ts'
import { mounted, seenIn, seenInTree } from './testing/roots.ts'

const real = requirePeers('root', 'tar')

let folder: string
let store: Store
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-rootfs-'))
  store = openStore({ home: join(folder, 'store') })
})
afterEach(() => {
  store.close()
  removeTree(folder)
})

function sh(script: string, cwd: string): void {
  const { status, stderr } = spawnSync('sh', ['-euc', script], { cwd })
  if (status !== 0) throw new Error(stderr.toString())
}

/** A tar by GNU tar of what a script makes in an empty directory, with its index. */
async function layer(name: string, script: string, options = ''): Promise<{ index: LayerIndex; tar: Buffer }> {
  sh(`mkdir ${name}; cd ${name}; umask 022; ${script}`, folder)
  sh(
    `tar --format=pax --xattrs --xattrs-include='*' --numeric-owner ${options} -cf ../${name}.tar .`,
    join(folder, name),
  )
  const tar = readFileSync(join(folder, `${name}.tar`))
  return { tar, index: await indexLayer([tar]) }
}

const chain = (n: number): Digest => `sha256:${String(n).padStart(64, '0')}`

/** Unpacks layers one over the other, as a build does. */
async function unpack(layers: readonly { index: LayerIndex; tar: Buffer }[]) {
  const content = new LayerContent({
    locate: diffId => {
      const i = layers.findIndex(({ index }) => index.diffId === diffId)
      writeFileSync(join(folder, `${i}.blob`), layers[i]!.tar)
      return { path: join(folder, `${i}.blob`), compression: 'none' }
    },
    tarPath: diffId => join(folder, diffId),
  })
  const snapshots = new Snapshots(store, { userxattr: false })
  const tree = new Tree()
  const lowers: string[] = []
  for (const [i, { index, tar }] of layers.entries()) {
    lowers.push(
      await snapshots.layer(
        { index, chainId: chain(i), stream: () => [tar.subarray(0, 700), tar.subarray(700)] },
        tree,
        {
          open: entry => content.open(entry),
        },
      ),
    )
    applyLayer(tree, index)
  }
  content.close()
  return { tree, lowers, snapshots }
}

describe('layers', () => {
  real('all kinds of entries, over several layers, look as the tree says and as tar unpacks them', async () => {
    const first = await layer(
      'first',
      `mkdir -p etc usr/bin var/lib/x "odd $(printf '\\377')"; echo root > etc/passwd; ln -s usr/bin bin
       echo suid > usr/bin/su; chown 0:5 usr/bin/su; chmod 6755 usr/bin/su; ln usr/bin/su usr/bin/su2
       echo cap > usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping 2>/dev/null || true; setfattr -n user.a -v b usr/bin/ping 2>/dev/null || true
       mkdir tmp; chmod 1777 tmp; chown 12:34 var/lib/x; chmod 750 var/lib/x; mknod null c 1 3; mknod disk b 259 300; mkfifo pipe
       echo x > "odd $(printf '\\377')/f"; chmod 000 "odd $(printf '\\377')/f"; touch -d @-5 old; touch -hd @1000 bin; seq 100000 > big; : > empty`,
    )
    const { tree, lowers } = await unpack([first])
    expect(readdirSync(lowers[0]!).sort()).toEqual(readdirSync(join(folder, 'first')).sort())
    expect(seenIn(lowers[0]!)).toEqual(seenInTree(tree))
    expect(seenIn(lowers[0]!)).toEqual(seenIn(join(folder, 'first')))
    expect(statSync(join(lowers[0]!, 'var/lib/x')).mtimeMs % 1000).toBe(0)
  })

  real('a RUN is exactly what it changed', async () => {
    const base = await layer(
      'base',
      `mkdir -p a/b keep gone d/e; for i in 1 2 3 4 5; do echo $i > a/$i; done; echo x > d/e/f; echo y > d/g; echo k > keep/k; echo h > h1; ln h1 h2`,
    )
    const { tree, lowers, snapshots } = await unpack([base])
    const scratch = snapshots.scratch()
    await mounted(folder, lowers, scratch, target => {
      sh(
        `chown -R 0:0 .; chmod 644 a/1; touch -r keep/k keep/k; echo new > a/new; rm a/2; rm -rf d; mkdir -p d/e; echo z > d/z
         echo changed > a/3; ln a/4 a/4b; rmdir gone; mv a/5 keep/5; ln -s x keep/l; mkdir tmp; rmdir tmp`,
        target,
      )
    })
    const { items } = await upperChanges(scratch.upper, tree, { userxattr: false, group: 'step' })
    expect(items.map(({ path, kind }) => `${kind} ${path}`)).toEqual([
      'entry a',
      'whiteout a/2',
      'entry a/3',
      'entry a/4',
      'entry a/4b',
      'whiteout a/5',
      'entry a/new',
      'entry d',
      'opaque d',
      'entry d/e',
      'entry d/z',
      'whiteout gone',
      'entry keep',
      'entry keep/5',
      'entry keep/l',
    ])
    applyItems(tree, items)
    const after = snapshots.adopt('one', scratch.upper, 1)
    scratch.dispose()
    await mounted(folder, [...lowers, after], undefined, target => {
      const seen = seenIn(target)
      // copied up alone: the files are two now, which the tree of entries need not say
      for (const name of ['h1', 'h2']) seen.set(name, { ...seen.get(name)!, link: 'h1' })
      expect(seen).toEqual(seenInTree(tree))
    })
  })
})
