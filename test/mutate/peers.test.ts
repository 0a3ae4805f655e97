import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dir, file, hard, link, middle } from '../fidelity/bases.ts'
import { type BaseImage, push } from '../fidelity/push.ts'
import { writeTar } from '../fidelity/tar.ts'
import { busyboxImages } from '../peers/busybox.ts'
import { peerOrThrow } from '../peers/locate.ts'
import { startPodman } from '../peers/podman.ts'
import { must } from '../peers/process.ts'
import { type Registry, startRegistry } from '../peers/registry.ts'
import { canRun, requirePeers } from '../peers/require.ts'
import { Sandbox } from '../run/command.ts'
import { Remote } from '../run/images.ts'

let sandbox: Sandbox
let registry: Registry
let host: string
let remote: Remote

const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')
const lower = [
  dir('opt'),
  dir('opt/dir', 0o2711, { uid: 5, gid: 6 }),
  file('opt/dir/old'),
  file('opt/dir/keep', 'keep\n', 0o4755, { uid: 5, gid: 6 }),
  hard('opt/dir/again', 'opt/dir/keep', 0o4755, { uid: 5, gid: 6 }),
  dir('srv'),
  file('srv/lower'),
  link('link', 'opt/dir'),
  link('dangling', '/nowhere'),
  file('ping', 'ping\n', 0o755, { pax: { 'SCHILY.xattr.security.capability': CAPABILITY } }),
]
const config = {
  Env: ['PATH=/bin', 'A=1'],
  Cmd: ['run'],
  Labels: { a: '1' },
  ExposedPorts: { '80/tcp': {} },
  WorkingDir: '/srv',
}
const image = (architecture: string, own: string): BaseImage => ({
  platform: { os: 'linux', architecture },
  layers: [{ entries: lower }, { entries: middle }, { entries: [file('own', own)] }],
  config,
})

beforeAll(async () => {
  sandbox = new Sandbox('mutate')
  if (!canRun('docker-registry')) return
  registry = await startRegistry()
  host = registry.host
  remote = new Remote({ url: `http://${host}` }, 'app')
  await push(host, 'app:single', [image('amd64', 'amd64')], true)
  await push(host, 'app:index', [image('amd64', 'amd64'), image('arm64', 'arm64')])
  const base = (name: string): BaseImage => ({
    platform: { os: 'linux', architecture: 'amd64' },
    layers: [{ entries: lower }, { entries: [file('base', name)] }],
    history: [{ created_by: `${name} 1` }, { created_by: 'ENV', empty_layer: true }, { created_by: `${name} 2` }],
  })
  await push(host, 'app:old-base', [base('old')], true)
  await push(host, 'app:new-base', [base('new')], true)
  const { layers, history } = base('old')
  await push(
    host,
    'app:on-base',
    [
      {
        platform: { os: 'linux', architecture: 'amd64' },
        layers: [...layers, { entries: [file('mine')] }],
        history: [...history!, { created_by: 'ENV B=1', empty_layer: true }, { created_by: 'mine' }],
        config,
      },
    ],
    true,
  )
})
afterAll(async () => {
  await registry?.stop()
  await sandbox.dispose()
})

const mutate = (tag: string, ...args: string[]) => sandbox.must(['mutate', `${host}/app:${tag}`, ...args])
const crane = (...args: string[]) => must([peerOrThrow('crane'), ...args])
const regctl = (...args: string[]) =>
  must([peerOrThrow('regctl'), '--host', `reg=${host},tls=disabled`, ...args], {
    env: { HOME: join(sandbox.folder, 'home') },
  })

/** What runs, without what is empty. */
async function configOf(tag: string): Promise<unknown> {
  const { config: run = {}, architecture, os, variant, history, rootfs } = await remote.config(tag)
  const full = Object.entries(run).filter(([, value]) => value !== null && JSON.stringify(value) !== '{}')
  return {
    ...{ architecture, os, variant, rootfs, config: Object.fromEntries(full) },
    history: (history as { created_by: string }[]).map(step => step.created_by),
  }
}

describe('as crane does it', () => {
  const crane_ = requirePeers('docker-registry', 'crane')
  const cases: readonly (readonly string[])[] = [
    ['-l', 'b=2', '-l', 'a=x'],
    ['-e', 'A=2', '-e', 'NEW=x=y', '-e', 'EMPTY='],
    ['--entrypoint', '/bin/sh,-c'],
    ['--entrypoint=/a', '--cmd=b', '--cmd=c'],
    ['--cmd', 'echo,"a,b"'],
    ['-u', '5:6', '-w', '/new'],
    ['--exposed-ports', '443/tcp,53/udp'],
    ['--set-platform', 'linux/arm64'],
  ]
  for (const args of cases)
    crane_(args.join(' '), async () => {
      await crane('mutate', `${host}/app:single`, ...args, '-t', `${host}/app:crane`)
      await mutate('single', ...args, '-t', `${host}/app:ours`)
      expect(await configOf('ours')).toEqual(await configOf('crane'))
    })

  crane_('annotations, and a tar on top', async () => {
    const tar = join(sandbox.folder, 'top.tar')
    writeFileSync(tar, writeTar([file('top')]))
    const args = ['-a', 'x=y', '--append', tar]
    await crane('mutate', `${host}/app:single`, ...args, '-t', `${host}/app:crane`)
    await mutate('single', ...args, '-t', `${host}/app:ours`)
    const [theirs, ours] = [await remote.manifest('crane'), await remote.manifest('ours')]
    expect(ours.annotations).toEqual(theirs.annotations!)
    const ids = async (tag: string) => (await remote.config(tag))['rootfs']
    expect(await ids('ours')).toEqual(await ids('crane'))
    expect(ours.layers!.slice(0, -1)).toEqual((await remote.manifest('single')).layers!)
  })

  crane_('another base', async () => {
    const bases = [`--old_base=${host}/app:old-base`, `--new_base=${host}/app:new-base`]
    await crane('rebase', `${host}/app:on-base`, ...bases, '-t', `${host}/app:crane`)
    await mutate('on-base', ...bases, '-t', `${host}/app:ours`)
    expect(await configOf('ours')).toEqual(await configOf('crane'))
    const digests = async (tag: string) => (await remote.manifest(tag)).layers!.map(layer => layer.digest)
    expect(await digests('ours')).toEqual(await digests('crane'))
    expect((await remote.manifest('ours')).annotations).toEqual((await remote.manifest('crane')).annotations!)
    // and back, by what the annotations say
    await mutate('ours', '--new-base', `${host}/app:old-base`, '-t', `${host}/app:back`)
    expect(await digests('back')).toEqual(await digests('on-base'))
  })

  crane_('what comes out is whole', async () => {
    await mutate('index', '-l', 'b=2', '--flatten', '--time', '1000', '-t', `${host}/other/app:new`)
    await crane('validate', '--remote', `${host}/other/app:new`)
    await mutate('index', '-l', 'c=3', '-o', join(sandbox.folder, 'out.tar'), '-t', 'example.com/app:1')
    const { stdout } = await sandbox.must(['inspect', '--json', join(sandbox.folder, 'out.tar')])
    expect(JSON.parse(stdout).images).toHaveLength(2)
  })
})

describe('as regctl does it', () => {
  const regctl_ = requirePeers('docker-registry', 'regctl')
  const cases: readonly (readonly [readonly string[], readonly string[]])[] = [
    [
      ['--label', 'b=2', '--label', 'a='],
      ['--label', 'b=2', '--label', 'a'],
    ],
    [
      ['--env', '[linux/arm64]A=2'],
      ['--env', '[linux/arm64]A=2'],
    ],
    [
      ['--config-entrypoint', '["/a","b"]'],
      ['--config-entrypoint', '["/a","b"]'],
    ],
    [
      ['--config-cmd', 'ls -l'],
      ['--config-cmd', 'ls -l'],
    ],
    [
      ['--expose-add', '53/udp', '--expose-rm', '80/tcp'],
      ['--expose-add', '53/udp', '--expose-rm', '80/tcp'],
    ],
    [
      ['--volume-add', '/data'],
      ['--volume-add', '/data'],
    ],
  ]
  for (const [theirs, ours] of cases)
    regctl_(theirs.join(' '), async () => {
      await regctl('image', 'mod', `${host}/app:index`, ...theirs, '--create', 'regctl')
      await mutate('index', ...ours, '--create', 'ours')
      for (const platform of ['linux/amd64', 'linux/arm64']) {
        const [a, b] = [await remote.entry('regctl', platform), await remote.entry('ours', platform)]
        expect(await configOf(b.digest)).toEqual(await configOf(a.digest))
      }
    })

  regctl_('annotations of index and images', async () => {
    const args = ['--annotation', '[*]x=y', '--annotation', '[linux/arm64]z=1']
    await regctl('image', 'mod', `${host}/app:index`, ...args, '--create', 'regctl')
    await mutate('index', ...args, '--create', 'ours')
    const all = async (tag: string) => {
      const { annotations, manifests } = await remote.manifest(tag)
      const below = manifests!.map(async ({ digest }) => (await remote.manifest(digest)).annotations)
      return [annotations, ...(await Promise.all(below))]
    }
    expect(await all('ours')).toEqual(await all('regctl'))
  })
})

describe('one layer of all', () => {
  requirePeers(
    'docker-registry',
    'skopeo',
    'umoci',
    'python3',
    'root',
  )('umoci unpacks the same root', async () => {
    await mutate('index', '--flatten', '-t', `${host}/app:flat`)
    const roots = []
    for (const tag of ['index', 'flat']) roots.push(await unpacked(tag))
    expect(roots[0]!.length).toBeGreaterThan(9)
    expect(roots[1]).toEqual(roots[0]!)
    const { layers } = await remote.manifest((await remote.entry('flat', 'linux/arm64')).digest)
    expect(layers).toHaveLength(1)
  })

  /** Type, mode, owner, size, links, attributes and bytes of everything that umoci makes of an image. */
  async function unpacked(tag: string): Promise<string[]> {
    const [layout, bundle] = [join(sandbox.folder, `oci-${tag}`), join(sandbox.folder, `bundle-${tag}`)]
    mkdirSync(layout)
    const source = `docker://${host}/app:${tag}`
    await must([
      'skopeo',
      'copy',
      '-q',
      '--override-arch',
      'arm64',
      '--src-tls-verify=false',
      source,
      `oci:${layout}:x`,
    ])
    await must(['umoci', 'unpack', '--image', `${layout}:x`, bundle])
    const script = `
import hashlib,os,stat,sys
root=sys.argv[1]; names={}
for folder,dirs,files in os.walk(root):
  for name in sorted(dirs+files):
    p=os.path.join(folder,name); s=os.lstat(p); rel=p[len(root):]
    data=hashlib.sha256(open(p,'rb').read()).hexdigest() if stat.S_ISREG(s.st_mode) else os.readlink(p) if stat.S_ISLNK(s.st_mode) else ''
    attrs=[(a,os.getxattr(p,a,follow_symlinks=False).hex()) for a in sorted(os.listxattr(p,follow_symlinks=False))]
    group=names.setdefault(s.st_ino,rel) if s.st_nlink>1 and not stat.S_ISDIR(s.st_mode) else ''
    times=int(s.st_mtime) if not stat.S_ISDIR(s.st_mode) else ''
    print(rel,oct(s.st_mode),s.st_uid,s.st_gid,data,attrs,s.st_nlink if group else '',group and 'linked',times)
`
    const out = await must(['python3', '-c', script, join(bundle, 'rootfs')])
    return out.split('\n').filter(Boolean).sort()
  }
})

describe('by others', () => {
  requirePeers(
    'docker-registry',
    'podman',
    'busybox',
    'root',
  )('podman runs an edited image', async () => {
    await push(host, 'busybox:1', busyboxImages())
    const entry = ['--entrypoint', '["/bin/echo","hello"]', '--cmd', 'there', '-e', 'WHO=me']
    await sandbox.must(['mutate', `${host}/busybox:1`, ...entry, '--flatten', '-t', `${host}/busybox:2`])
    await using podman = await startPodman()
    await podman.podman(['pull', '-q', `${host}/busybox:2`])
    const run = ['run', '--rm', '--network', 'none']
    expect(await podman.podman([...run, `${host}/busybox:2`])).toBe('hello there\n')
    expect(await podman.podman([...run, '--entrypoint', '/bin/sh', `${host}/busybox:2`, '-c', 'echo $WHO'])).toBe(
      'me\n',
    )
  })
})

requirePeers(
  'docker-registry',
  'podman',
  'busybox',
  'root',
)('a daemon takes the edited image of one platform', async () => {
  await push(host, 'loaded:1', busyboxImages())
  await using podman = await startPodman()
  const env = { CONTAINER_HOST: await podman.serve() }
  const args = ['--platform', 'amd64', '-l', 'edited=yes', '-t', 'podman:localhost/edited:1']
  await sandbox.must(['mutate', `${host}/loaded:1`, ...args], { env })
  const inspected = await podman.podman(['inspect', '--format', '{{.Labels.edited}}', 'localhost/edited:1'])
  expect(inspected).toBe('yes\n')
  const template = '{{.Place}} {{.Labels.edited}} {{.Architecture}}'
  const { stdout } = await sandbox.must(['inspect', '--format', template, 'podman:localhost/edited:1'], { env })
  expect(stdout).toBe('podman yes amd64\n')
})

describe('where the result goes', () => {
  requirePeers('docker-registry')(
    'by digest, unless a tag is given or is to move; the same edits are the same image',
    async () => {
      const repository = new Remote({ url: `http://${host}` }, 'where')
      await push(host, 'where:1', [image('amd64', 'x'), image('arm64', 'x')])
      const before = await repository.digest('1')
      const once = await sandbox.must(['mutate', `${host}/where:1`, '-l', 'n=1'])
      const twice = await sandbox.must(['mutate', `${host}/where:1`, '-l', 'n=1', '--json'])
      const { digest, images } = JSON.parse(twice.stdout)
      expect(once.stdout).toBe(`${host}/where@${digest}\n`)
      expect(await repository.digest('1')).toBe(before!)
      expect(await repository.digest(digest)).toBe(digest)
      expect(images.map((one: { platform: string }) => one.platform)).toEqual(['linux/amd64', 'linux/arm64'])
      await sandbox.must(['mutate', `${host}/where:1`, '-l', 'n=1', '--replace'])
      expect(await repository.digest('1')).toBe(digest)
      const same = await sandbox.must(['mutate', `${host}/where:1`, '-l', 'n=1', '-t', `${host}/where:same`])
      expect(same.stderr).toContain('linux/amd64  unchanged')
      expect(await repository.digest('same')).toBe(digest)
      const dry = await sandbox.must(['mutate', `${host}/where:1`, '-l', 'n=2', '-t', `${host}/where:dry`, '--dry-run'])
      expect(await repository.digest(dry.stdout.trim())).toBeUndefined()
      expect(await repository.digest('dry')).toBeUndefined()
      const immutable = await sandbox.run(['mutate', `${host}/where:none`, '-l', 'n=1'])
      expect([immutable.code, immutable.stderr]).toEqual([1, expect.stringContaining('does not exist')])
    },
  )

  requirePeers('docker-registry')('in the store bases that nobody fetched stay where they are', async () => {
    await push(host, 'base:1', [image('amd64', 'base')])
    const context = sandbox.project('on-base', { Dockerfile: `FROM ${host}/base:1\nENV A=2\n` })
    await sandbox.must(['build', '-q', '-t', 'on-base:1', '--platform', 'linux/amd64', context])
    await sandbox.must(['mutate', 'on-base:1', '-e', 'A=3', '-t', 'on-base:2'])
    const { stdout } = await sandbox.must(['ls', '--json'])
    const complete = JSON.parse(stdout).map((one: { complete: boolean }) => one.complete)
    expect(complete).toEqual([false, false])
    await sandbox.must(['push', 'on-base:2', `${host}/on-base:2`])
    const found = await sandbox.must(['inspect', '--remote', '--format', '{{.Env}}', `${host}/on-base:2`])
    expect(found.stdout).toBe('[PATH=/bin A=3]\n')
    const unnamed = await sandbox.run(['mutate', 'on-base:1', '-l', 'a=b'])
    expect([unnamed.code, unnamed.stderr]).toEqual([2, expect.stringContaining('the result needs a name')])
  })
})

requirePeers('docker-registry')('a registry that wants credentials gets them, and nobody hears them', async () => {
  const closed = await startRegistry({ auth: true })
  try {
    const creds = ['--creds', 'tester:secret']
    const context = sandbox.project('closed', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /x\n' })
    await sandbox.must(['build', '-q', '-t', 'closed:1', '--platform', 'linux/amd64', context])
    const to = `${closed.host}/closed`
    const without = await sandbox.run(['mutate', 'closed:1', '-l', 'a=b', '-t', `docker://${to}:2`])
    expect(without.code).toBe(3)
    const commands = [
      ['mutate', 'closed:1', '-l', 'a=b', '-t', `docker://${to}:2`],
      ['mutate', `${to}:2`, '-l', 'b=c', '-t', `${to}:3`],
      ['inspect', `${to}:3`],
      ['tag', '--remote', `${to}:3`, '4'],
      ['ls', to],
      ['rm', '--remote', `${to}:4`],
    ]
    for (const args of commands) {
      const { stdout, stderr } = await sandbox.must([...args, ...creds])
      expect(stdout + stderr).not.toContain('secret')
    }
    expect((await sandbox.run(['inspect', `${to}:3`])).code).toBe(3)
  } finally {
    await closed.stop()
  }
})

describe('tags', () => {
  requirePeers('docker-registry')('are given, listed and taken away alone', async () => {
    await push(host, 'tags:one', [image('amd64', 'x')])
    const repository = new Remote({ url: `http://${host}` }, 'tags')
    const digest = await repository.digest('one')
    const { stdout } = await sandbox.must(['tag', `docker://${host}/tags:one`, 'two', `${host}/tags:three`])
    expect(stdout).toBe(`${host}/tags:two@${digest}\n${host}/tags:three@${digest}\n`)
    const listed = await sandbox.must(['ls', '--json', '--digests', `${host}/tags:t*`])
    expect(
      JSON.parse(listed.stdout)
        .tags.map((one: { tag: string }) => one.tag)
        .sort(),
    ).toEqual(['three', 'two'])
    await sandbox.must(['rm', '--remote', `${host}/tags:two`])
    expect((await repository.tags()).sort()).toEqual(['one', 'three'])
    expect(await repository.digest('one')).toBe(digest!)
    const gone = await sandbox.run(['rm', '--remote', `${host}/tags:two`])
    expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining('does not exist')])
    const bare = await sandbox.run(['rm', '--remote', `${host}/tags`])
    expect([bare.code, bare.stderr]).toEqual([2, expect.stringContaining('neither tag nor digest')])
    const other = await sandbox.run(['tag', '--remote', `${host}/tags:one`, `${host}/elsewhere:one`])
    expect([other.code, other.stderr]).toEqual([2, expect.stringContaining('archimage copy')])
  })
})

test('-C is where files are', async () => {
  sandbox.project('elsewhere', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /x\n', 'more/y': 'y' })
  await sandbox.must(['-C', 'elsewhere', 'build', '-q', '-t', 'elsewhere:1', '--platform', 'linux/amd64', './'])
  await sandbox.must(['-C', 'elsewhere', 'mutate', 'elsewhere:1', '--append', 'more', '-o', 'oci:out:v1'])
  expect((await sandbox.must(['ls', '-C', 'elsewhere', 'oci:out'])).stdout).toBe('v1\n')
  await sandbox.must(['-C', 'elsewhere', 'tag', 'oci:out:v1', 'v2'])
  await sandbox.must(['-C', 'elsewhere', 'rm', 'oci:out:v1'])
  const layers = await sandbox.must(['-C', 'elsewhere', 'inspect', '--format', '{{len .Layers}}', 'oci:out:v2'])
  expect(layers.stdout).toBe('2\n')
})

test('flags that are refused say why', async () => {
  const { code, stderr } = await sandbox.run(['mutate', 'app:1', '--to-oci', '-t', 'app:2'])
  expect([code, stderr]).toEqual([2, expect.stringContaining('archimage copy --format oci')])
})
