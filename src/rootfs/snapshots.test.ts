import { afterEach, beforeEach, describe, expect } from 'bun:test'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { requirePeers } from '../../test/peers/require.ts'
import { applyItems, applyLayer } from '../layer/apply.ts'
import { LayerContent } from '../layer/content.ts'
import type { Content } from '../layer/entry.ts'
import { indexLayer, type LayerIndex } from '../layer/index.ts'
import { Tree } from '../layer/tree.ts'
import type { LayerItem } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import { openStore, type Store } from '../store/store.ts'
import { closeFd, listXattrsAt, openDir } from '../sys/at.ts'
import { writeXattr } from '../sys/ffi.ts'
import { mount, unmount } from '../sys/mount.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { upperChanges } from './changes.ts'
import { Snapshots } from './snapshots.ts'
import { mounted, type Seen, seenIn, seenInTree } from './testing/roots.ts'
import { type Part, tar } from './testing/tar.ts'

const real = requirePeers('root', 'tar', 'python3')

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
  const snapshots = new Snapshots(store, { marks: 'trusted' })
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

const failure = (promise: Promise<unknown>): Promise<{ code?: string; message: string; hint?: string }> =>
  promise.then(
    () => ({ message: 'it worked' }),
    error => error,
  )

/** Unpacks layers of these parts, one over the other. */
const hostile = async (...layers: Part[][]) =>
  await unpack(
    await Promise.all(
      layers.map(async parts => {
        const bytes = tar(parts)
        return { tar: bytes, index: await indexLayer([bytes]) }
      }),
    ),
  )

describe('layers', () => {
  real('all kinds of entries, over several layers, look as the tree says and as tar unpacks them', async () => {
    const first = await layer(
      'first',
      `mkdir -p etc usr/bin var/lib/x "odd $(printf '\\377')"; echo root > etc/passwd; ln -s usr/bin bin
       echo suid > usr/bin/su; chown 0:5 usr/bin/su; chmod 6755 usr/bin/su; ln usr/bin/su usr/bin/su2
       echo cap > usr/bin/ping; python3 -c 'import os; os.setxattr("usr/bin/ping", "user.a", b"b"); os.setxattr("usr/bin/ping", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))'
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
    const changes = await upperChanges(scratch.upper, tree, { marks: 'trusted', group: 'step' })
    const { items } = changes
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
    const after = snapshots.adopt('one', scratch.upper, changes)
    scratch.dispose()
    await mounted(folder, [...lowers, after], undefined, target => {
      const seen = seenIn(target)
      // copied up alone: the files are two now, which the tree of entries need not say
      for (const name of ['h1', 'h2']) seen.set(name, { ...seen.get(name)!, link: 'h1' })
      expect(seen).toEqual(seenInTree(tree))
    })
  })
})

describe('hostile layers', () => {
  real('links lead nowhere but inside', async () => {
    mkdirSync(join(folder, 'outside'))
    const outside = join(folder, 'outside')
    const { tree, lowers } = await hostile(
      [
        { path: 'out', link: outside },
        { path: 'up', link: '../../../../../../..' },
      ],
      [
        { path: 'out/file', text: 'x' },
        { path: 'up/etc2', text: 'x' },
        { path: 'out/l', type: 'hardlink', link: 'up/etc2' },
      ],
    )
    expect(readdirSync(outside)).toEqual([])
    expect(seenIn(lowers[1]!)).toEqual(
      new Map([...seenInTree(tree)].filter(([path]) => path !== 'out' && path !== 'up')),
    )
    expect([...seenInTree(tree).keys()]).toContain(`${outside.slice(1)}/file`)
  })

  real('a link that replaces a directory is not followed', async () => {
    const { lowers } = await hostile([
      { path: 'd/' },
      { path: 'd/before', text: 'x' },
      { path: 'd', link: '/etc' },
      { path: 'd/archimage-was-here', text: 'x' },
    ])
    expect(existsSync('/etc/archimage-was-here')).toBe(false)
    expect(readdirSync(lowers[0]!).sort()).toEqual(['d', 'etc'])
  })

  real('devices 0:0, and names that no file system has', async () => {
    expect(await failure(hostile([{ path: 'a', type: 'char', major: 0, minor: 0 }]))).toMatchObject({
      code: 'TAR_INVALID',
      message: expect.stringContaining('"a" cannot be unpacked: a character device 0:0'),
    })
    expect(await failure(hostile([{ path: `a/${'n'.repeat(256)}` }]))).toMatchObject({
      code: 'TAR_INVALID',
      message: expect.stringContaining('ENAMETOOLONG'),
    })
    const deep = Array.from({ length: 1500 }, () => 'd').join('/')
    const { lowers } = await hostile([{ path: deep, text: 'deep' }])
    expect(seenIn(lowers[0]!).get(deep)).toMatchObject({ size: 4 })
    expect(store.prune({ all: true }).removed).toMatchObject([{ category: 'snapshots', count: 1 }])
    expect(readdirSync(join(store.root, 'tmp'))).toEqual([])
  })

  real('marks of overlays are not attributes of files', async () => {
    const mark = Buffer.from('y')
    const { lowers } = await hostile(
      [{ path: 'd/' }, { path: 'd/below', text: 'x' }],
      [
        { path: 'd/', xattrs: { 'trusted.overlay.opaque': mark, 'user.overlay.opaque': mark, 'user.kept': mark } },
        { path: 'd/f', xattrs: { 'trusted.overlay.metacopy': mark, 'trusted.overlay.redirect': Buffer.from('/etc') } },
      ],
    )
    await mounted(folder, lowers, undefined, root => {
      expect(readdirSync(join(root, 'd')).sort()).toEqual(['below', 'f'])
      expect(seenIn(root).get('d')!.xattrs).toBe('user.kept=eQ==')
    })
  })

  real('bytes that are not those of the diff ID leave nothing behind', async () => {
    const bytes = tar([{ path: 'a', text: 'right' }])
    const index = await indexLayer([bytes])
    const snapshots = new Snapshots(store, { marks: 'trusted' })
    const wrong = Buffer.from(bytes)
    wrong.write('wrong', 512)
    for (const stream of [wrong, bytes.subarray(0, 515)]) {
      const layer = { index, chainId: chain(0), stream: () => [stream] }
      const open = () => new Uint8Array()
      expect(await failure(snapshots.layer(layer, new Tree(), { open }))).toMatchObject({ code: 'DIGEST_MISMATCH' })
    }
    expect(readdirSync(join(store.root, 'tmp'))).toEqual([])
    expect(store.usage().categories.find(({ category }) => category === 'snapshots')).toMatchObject({ count: 0 })
  })
})

describe('many files', () => {
  const many: Part[] = [
    ...Array.from({ length: 30 }, (_, i): Part => ({ path: `d${i}/`, mode: 0o500 + i, uid: i })),
    ...Array.from(
      { length: 3000 },
      (_, i): Part => ({
        path: `d${i % 30}/${i} ü\udcff`,
        text: `${i} `.repeat(i % 700),
        ...{ mode: i % 7 === 0 ? 0o4755 : 0o604, uid: i % 5, gid: i % 3, mtime: 1_000_000 - i },
        ...(i % 100 === 0 && { xattrs: { 'user.i': Buffer.from(String(i)) } }),
      }),
    ),
    { path: 'big', text: 'x'.repeat(3_000_000) },
    { path: 'd0/link', type: 'hardlink', link: 'd1/1 ü\udcff', mode: 0o604, uid: 1, gid: 1, mtime: 999_999 },
  ]

  real('are as they are one by one', async () => {
    const { tree, lowers } = await hostile(many)
    expect(seenIn(lowers[0]!)).toEqual(seenInTree(tree))
    expect(seenIn(lowers[0]!).size).toBe(3032)
  })

  real('an error in one of them, or an abort, leaves nothing behind', async () => {
    expect(await failure(hostile([...many, { path: `d3/${'n'.repeat(300)}`, text: 'x' }]))).toMatchObject({
      code: 'TAR_INVALID',
      message: expect.stringContaining('ENAMETOOLONG'),
    })
    const abort = new AbortController()
    const bytes = tar(many)
    async function* stream() {
      yield bytes.subarray(0, 2_000_000)
      abort.abort()
      yield bytes.subarray(2_000_000)
    }
    const layer = { index: await indexLayer([bytes]), chainId: chain(0), stream }
    const tools = { open: () => new Uint8Array(), signal: abort.signal }
    const unpacked = new Snapshots(store, { marks: 'trusted' }).layer(layer, new Tree(), tools)
    expect(await failure(unpacked)).toMatchObject({ code: 'CANCELLED' })
    expect(readdirSync(join(store.root, 'tmp'))).toEqual([])
  })
})

describe('a disk that is full', () => {
  for (const [what, parts] of [
    ['a large file', [{ path: 'big', text: 'x'.repeat(9_000_000) }]],
    ['many files', Array.from({ length: 3000 }, (_, i): Part => ({ path: String(i), text: 'x'.repeat(5000) }))],
  ] as const)
    real(`is said, and nothing stays: ${what}`, async () => {
      const home = join(folder, 'small')
      mkdirSync(home)
      mount('tmpfs', home, 'tmpfs', 0, 'size=8m,mode=700')
      try {
        using small = openStore({ home })
        const bytes = tar(parts)
        const layer = { index: await indexLayer([bytes]), chainId: chain(0), stream: () => [bytes] }
        const unpacked = new Snapshots(small, { marks: 'trusted' }).layer(layer, new Tree(), { open: () => bytes })
        expect(await failure(unpacked)).toMatchObject({ code: 'NO_SPACE' })
        expect(readdirSync(join(home, 'tmp'))).toEqual([])
      } finally {
        unmount(home)
      }
    })
})

/** acl(5) as the kernel stores it: version 2, then tag, rights and ID of the owner, user 5, the group, the mask, others. */
const ACCESS_LIST = Buffer.concat([
  Buffer.from([2, 0, 0, 0]),
  ...[
    [1, 7, -1],
    [2, 7, 5],
    [4, 5, -1],
    [16, 7, -1],
    [32, 5, -1],
  ].map(([tag, rights, id]) => {
    const entry = Buffer.alloc(8)
    entry.writeUInt16LE(tag!, 0)
    entry.writeUInt16LE(rights!, 2)
    entry.writeInt32LE(id!, 4)
    return entry
  }),
])

describe('kept', () => {
  const parts: Part[] = [{ path: 'a/' }, { path: 'a/b', text: 'x'.repeat(5000) }, { path: 'c', text: '' }]

  real('once per content, whatever is below, for as many as ask at once', async () => {
    const bytes = tar(parts)
    const index = await indexLayer([bytes])
    const snapshots = new Snapshots(store, { marks: 'trusted' })
    let reads = 0
    const get = (chainId: Digest) =>
      snapshots.layer({ index, chainId, stream: () => [[bytes], reads++][0] as Uint8Array[] }, new Tree(), {
        open: () => new Uint8Array(),
      })
    const places = await Promise.all([get(chain(1)), get(chain(2)), get(chain(1))])
    expect([new Set(places).size, reads]).toEqual([1, 1])
    expect(await get(chain(3))).toBe(places[0]!)
    expect(reads).toBe(1)
    expect(store.usage().categories.find(({ category }) => category === 'snapshots')).toMatchObject({
      count: 1,
      bytes: 8192 + 4096,
    })
  })

  real('of two processes that make the same one, one is first and both have it', async () => {
    const other = openStore({ home: store.root })
    const [mine, theirs] = [store.scratch(), other.scratch()]
    for (const dir of [mine, theirs]) mkdirSync(join(dir, 'fs'))
    writeFileSync(join(mine, 'fs/mine'), '')
    const place = store.keep('key', join(mine, 'fs'), { bytes: 1 })
    expect(other.keep('key', join(theirs, 'fs'), { bytes: 1 })).toBe(place)
    other.close()
    expect(readdirSync(place)).toEqual(['mine'])
    expect(store.snapshot('key')).toBe(place)
    expect(store.snapshot('other key')).toBeUndefined()
  })

  real('what a killed process left goes when the store is opened next', async () => {
    const code = `const { openStore } = await import(${JSON.stringify(join(import.meta.dirname, '../store/store.ts'))})
      const { mkdirSync, writeFileSync, chmodSync } = await import('node:fs')
      const dir = openStore({ home: ${JSON.stringify(join(folder, 'store'))} }).scratch()
      mkdirSync(dir + '/upper/deep/er', { recursive: true }); writeFileSync(dir + '/upper/deep/file', ''); chmodSync(dir + '/upper/deep', 0)
      process.kill(process.pid, 'SIGKILL')`
    store.close()
    expect(spawnSync(process.execPath, ['-e', code]).signal).toBe('SIGKILL')
    const tmp = join(folder, 'store/tmp')
    expect(readdirSync(tmp).length).toBe(1)
    store = openStore({ home: join(folder, 'store') })
    expect(readdirSync(tmp)).toEqual([])
  })

  real('nothing is inherited from the folders above', async () => {
    chownSync(store.root, -1, 77)
    chmodSync(store.root, 0o2700)
    writeXattr(join(store.root, 'tmp'), 'system.posix_acl_default', ACCESS_LIST)
    for (const dir of [store.root, join(store.root, 'tmp')]) {
      chownSync(dir, -1, 77)
      chmodSync(dir, 0o2700)
    }
    const { tree, lowers } = await hostile(parts)
    expect(seenIn(lowers[0]!)).toEqual(seenInTree(tree))
    expect(statSync(lowers[0]!)).toMatchObject({ gid: 0, mode: 0o40755 })
    const fd = openDir(lowers[0]!)
    for (const name of ['.', 'a', 'c']) expect(listXattrsAt(fd, name).filter(key => key.includes('acl'))).toEqual([])
    closeFd(fd)
  })

  real('after a boot it is counted, and what a power failure cut is made again', async () => {
    const changeBoot = (): void => {
      const [name] = readdirSync(join(store.root, 'snapshots'))
      const about = join(store.root, 'snapshots', name!, 'about.json')
      writeFileSync(about, readFileSync(about, 'utf8').replace(/"boot":"[^"]+"/, '"boot":"another"'))
    }
    const [place] = (await hostile([...parts, { path: 'h', type: 'hardlink', link: 'a/b' }])).lowers
    const inode = statSync(place!).ino
    changeBoot()
    await hostile([...parts, { path: 'h', type: 'hardlink', link: 'a/b' }])
    expect(statSync(place!).ino).toBe(inode)
    truncateSync(join(place!, 'a/b'))
    await hostile([...parts, { path: 'h', type: 'hardlink', link: 'a/b' }])
    expect(statSync(join(place!, 'a/b')).size).toBe(0)
    changeBoot()
    await hostile([...parts, { path: 'h', type: 'hardlink', link: 'a/b' }])
    expect(statSync(join(place!, 'a/b')).size).toBe(5000)
    expect(readdirSync(join(store.root, 'tmp'))).toEqual([])
  })

  real('prune takes what was not used for a week', async () => {
    await hostile(parts)
    expect(store.prune().removed).toEqual([])
    const [name] = readdirSync(join(store.root, 'snapshots'))
    const about = join(store.root, 'snapshots', name!, 'about.json')
    const old = Date.now() / 1000 - 8 * 86_400
    utimesSync(about, old, old)
    expect(store.prune({ dryRun: true }).removed).toMatchObject([{ category: 'snapshots', count: 1, bytes: 12_288 }])
    expect(store.prune().removed).toMatchObject([{ category: 'snapshots', count: 1 }])
    expect(readdirSync(join(store.root, 'snapshots'))).toEqual([])
  })
})

describe('instructions', () => {
  real('entries with content of this machine, of memory, of layers', async () => {
    writeFileSync(join(folder, 'host'), 'from here')
    const entry = { type: 'file', mode: 0o640, uid: 3, gid: 4, mtime: 5 } as const
    const snapshots = new Snapshots(store, { marks: 'trusted' })
    const host = { kind: 'host', path: join(folder, 'host') } as const
    const items: LayerItem[] = [
      { path: 'd', entry: { ...entry, type: 'dir', mode: 0o2750, size: 0 } },
      { path: 'd/bytes', entry: { ...entry, size: 2, content: { kind: 'bytes', bytes: Buffer.from('hi') } } },
      { path: 'd/host', entry: { ...entry, size: 9, content: host } },
      { path: 'd/layer', entry: { ...entry, size: 5, content: { kind: 'layer', diffId: chain(9), offset: 7 } } },
    ]
    const open = () => Buffer.from('other')
    const place = await snapshots.items('key', () => items, { open })
    expect([...seenIn(place)].map(([path, { mode, owner, mtime }]) => [path, mode, owner, mtime])).toEqual([
      ['d', 0o2750, '3:4', undefined],
      ['d/bytes', 0o640, '3:4', 5],
      ['d/host', 0o640, '3:4', 5],
      ['d/layer', 0o640, '3:4', 5],
    ])
    expect(readFileSync(join(place, 'd/layer'), 'utf8')).toBe('other')
    const never = (): never => {
      throw new Error('it is there')
    }
    expect(await snapshots.items('key', never, { open })).toBe(place)
    const changed = (content: Content, size: number) =>
      failure(snapshots.items(String(size), () => [{ path: 'x', entry: { ...entry, size, content } }], { open }))
    expect(await changed(host, 8)).toMatchObject({ code: 'CONTEXT_CHANGED' })
    expect(await changed(host, 10)).toMatchObject({ code: 'CONTEXT_CHANGED' })
    expect(await changed({ kind: 'layer', diffId: chain(9), offset: 7 }, 4)).toMatchObject({ code: 'DIGEST_MISMATCH' })
  })
})

// vfs_cap_data of revision 2: cap_net_bind_service, permitted and effective
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')

describe('in a user namespace', () => {
  const parts: Part[] = [
    { path: 'dir/', uid: 0, mode: 0o1777 },
    { path: 'dir/null', type: 'char', major: 1, minor: 3 },
    { path: 'gone/' },
    { path: 'gone/x' },
    { path: 'setuid', mode: 0o4755, text: 'x', xattrs: { 'trusted.a': Buffer.from('b'), 'user.a': Buffer.from('b') } },
    { path: 'capable', mode: 0o755, text: 'x', xattrs: { 'security.capability': CAPABILITY } },
  ]

  /** Runs rootless.ts with IDs mapped as told, root of the namespace being ourselves. */
  async function rootless(parts: Part[], maps: string) {
    writeFileSync(join(folder, 'layer.tar'), tar(parts))
    store.close()
    const script = join(import.meta.dirname, 'testing/rootless.ts')
    const start = ['-Um', '--', 'sh', '-c', 'read x; exec "$@"', 'sh', process.execPath, script]
    const child = spawn('unshare', [...start, folder, join(folder, 'layer.tar')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.on('data', chunk => {
      said += chunk
    })
    const ended = once(child, 'close')
    while (readlinkSync(`/proc/${child.pid}/ns/user`) === readlinkSync('/proc/self/ns/user'))
      await new Promise(resolve => setTimeout(resolve, 5))
    for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, maps)
    child.stdin.end('\n')
    expect(await ended).toEqual([0, null])
    return JSON.parse(said) as { problem?: string; error?: string; seen?: [string, Seen][]; items?: string[] }
  }

  const ranges = '0 0 1\n1 100001 65535\n'

  real('devices are left out and stay in the tree; all else is as for root', async () => {
    const { seen, items } = await rootless([...parts, { path: 'owned', uid: 33, gid: 65_534 }], ranges)
    const found = new Map(seen)
    expect([...found.keys()]).toEqual(['capable', 'dir', 'gone', 'gone/x', 'owned', 'setuid'])
    expect(found.get('owned')!.owner).toBe('33:65534')
    expect(found.get('capable')!.xattrs).toBe(`security.capability=${CAPABILITY.toString('base64')}`)
    expect(found.get('setuid')).toMatchObject({ mode: 0o4755, xattrs: 'user.a=Yg==' })
    expect(items).toEqual(['entry dir 0:0', 'entry dir/new 1:2', 'entry gone 0:0', 'opaque gone :'])
    expect(statSync(join(folder, 'store/snapshots')).mode & 0o777).toBe(0o700)
  })

  real('with one user only, another owner is an error that says what to do', async () => {
    expect(await rootless([...parts, { path: 'owned', uid: 33 }], '0 0 1\n')).toEqual({
      error: expect.stringMatching(/^PERMISSION \/owned belongs to .*\/etc\/subuid/),
    })
  })
})
