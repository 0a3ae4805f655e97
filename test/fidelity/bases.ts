import { existsSync, readFileSync } from 'node:fs'
import { BUSYBOX_PLATFORMS, busyboxImages, busyboxRoot, debianRoot, hasBusybox } from '../peers/busybox.ts'
import { type BaseImage, type BaseLayer, push } from './push.ts'
import type { Entry } from './tar.ts'

type More = Omit<Partial<Entry>, 'path' | 'type' | 'data'>

export const dir = (path: string, mode = 0o755, more: More = {}): Entry => ({ path, type: 'dir', mode, ...more })
export const file = (path: string, content = `${path}\n`, mode = 0o644, more: More = {}): Entry => ({
  path,
  type: 'file',
  mode,
  data: Buffer.from(content),
  ...more,
})
export const link = (path: string, target: string, more: More = {}): Entry => ({
  path,
  type: 'symlink',
  mode: 0o777,
  link: target,
  ...more,
})
/** Of a hard link's header, mode and owner count like those of a file. */
export const hard = (path: string, target: string, mode = 0o644, more: More = {}): Entry => ({
  path,
  type: 'hardlink',
  mode,
  link: target,
  ...more,
})

const APP = { uid: 1000, gid: 1000 }
const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/sbin/nologin
app:x:1000:1000:app:/home/app:/bin/sh
web:x:33:34:www:/var/www:/sbin/nologin
5000:x:77:78:a name of digits:/:/sbin/nologin
`
const GROUP = 'root:x:0:\ndaemon:x:1:\napp:x:1000:\nstaff:x:50:app\nwww:x:34:\n'
/** cap_net_bind_service=ep, as the kernel stores it. */
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')

const lower: readonly Entry[] = [
  dir('bin2'),
  dir('data', 0o2775, APP),
  dir('etc'),
  file('etc/passwd', PASSWD),
  file('etc/group', GROUP),
  file('etc/hosts', 'base\n'),
  dir('home'),
  dir('home/app', 0o750, APP),
  file('home/app/profile', 'profile\n', 0o600, APP),
  dir('opt'),
  dir('opt/dir', 0o711, { uid: 5, gid: 6 }),
  file('opt/dir/old'),
  file('opt/dir/keep', 'keep\n', 0o640, { uid: 5, gid: 6 }),
  dir('opt/sub'),
  dir('opt/sub/deep', 0o700),
  file('opt/sub/deep/one'),
  file('opt/sub/deep/two', 'two\n', 0o400, APP),
  dir('root', 0o700),
  dir('run'),
  dir('srv'),
  file('srv/lower'),
  dir('tmp', 0o1777),
  dir('usr'),
  dir('usr/bin'),
  file('usr/bin/tool', 'tool\n', 0o755),
  hard('usr/bin/tool-too', 'usr/bin/tool', 0o755),
  file('usr/bin/su', 'su\n', 0o4755),
  file('usr/bin/ping', 'ping\n', 0o755, { pax: { 'SCHILY.xattr.security.capability': CAPABILITY } }),
  dir('usr/lib'),
  file('usr/lib/lib.so'),
  dir('var'),
  link('bin', 'usr/bin'),
  link('lib', '/usr/lib'),
  link('var/run', '../run'),
  link('dangling', '/nowhere/at/all'),
  link('opt/link-to-file', '../etc/hosts'),
  link('loop', 'loop'),
]

/** Hides, makes opaque, and replaces a directory by a link. */
export const middle: readonly Entry[] = [
  dir('opt'),
  dir('opt/dir', 0o711, { uid: 5, gid: 6 }),
  file('opt/dir/.wh.old', ''),
  dir('srv', 0o750),
  file('srv/.wh..wh..opq', ''),
  file('srv/upper'),
]

/** No directory entries at all: what is above the files comes from below. */
const upper: readonly Entry[] = [
  file('tmp/x'),
  file('root/y', 'y\n', 0o600),
  file('opt/dir/fresh', 'fresh\n', 0o644, APP),
  file('new/deep/file'),
]

const layers = (compression: BaseLayer['compression'] = 'gzip'): BaseLayer[] =>
  [lower, middle, upper].map(entries => ({ entries, compression: compression! }))

const LINUX: readonly BaseImage['platform'][] = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
  { os: 'linux', architecture: 'arm', variant: 'v7' },
]

const rich = {
  Env: ['PATH=/base/bin:/bin', 'FROM_BASE=yes', 'EMPTY='],
  Entrypoint: ['/entry'],
  Cmd: ['base', 'cmd'],
  Labels: { base: 'yes', shared: 'of the base' },
  WorkingDir: '/opt/dir',
  User: 'app',
  ExposedPorts: { '80/tcp': {} },
  Volumes: { '/data': {} },
  Healthcheck: { Test: ['CMD', '/health'], Interval: 5_000_000_000, Retries: 4 },
  StopSignal: 'SIGINT',
  Shell: ['/bin/bash', '-eu', '-c'],
}

const WINDOWS_DIR = { pax: { 'MSWINDOWS.fileattr': Buffer.from('16') } }
const windows: readonly Entry[] = [
  dir('Files', 0o755, WINDOWS_DIR),
  dir('Files/Windows', 0o755, WINDOWS_DIR),
  dir('Files/Windows/System32', 0o755, WINDOWS_DIR),
  file('Files/Windows/System32/cmd.exe', 'MZ', 0o644, { pax: { 'MSWINDOWS.fileattr': Buffer.from('32') } }),
  dir('Hives', 0o755, WINDOWS_DIR),
  file('Hives/System_Delta', 'hive'),
]

/** A shell, with users, many files, links of both kinds: what RUN steps change. */
const shell = (architecture: string): readonly BaseLayer[] => [
  { entries: busyboxRoot(architecture) },
  {
    entries: [
      // runc makes them, and BuildKit leaves them in the layer.
      ...['dev', 'proc', 'sys'].map(path => dir(path)),
      dir('etc'),
      file('etc/passwd', PASSWD),
      file('etc/group', GROUP),
      dir('home'),
      dir('home/app', 0o750, APP),
      dir('data'),
      file('data/file1'),
      file('data/file2', 'two\n', 0o640, APP),
      dir('data/sub', 0o750, APP),
      file('data/sub/deep'),
      dir('links'),
      file('links/one', 'linked\n'),
      hard('links/two', 'links/one'),
      dir('many'),
      ...Array.from({ length: 1000 }, (_, i) => file(`many/${i}`)),
      dir('srv'),
      file('srv/x'),
      link('link-to-srv', 'srv'),
      link('link-to-file', 'data/file2'),
    ],
  },
]

/** Pushes every base that cases name. */
export async function pushBases(host: string, onbuildReference: string): Promise<void> {
  const all = (more: Omit<BaseImage, 'platform' | 'layers'> = {}, compression: BaseLayer['compression'] = 'gzip') =>
    LINUX.map((platform): BaseImage => ({ platform, layers: layers(compression), ...more }))
  await push(host, 'base:1', all())
  await push(host, 'zstd:1', all({}, 'zstd'))
  if (hasBusybox()) {
    await push(host, 'busybox:1', busyboxImages())
    await push(
      host,
      'shell:1',
      BUSYBOX_PLATFORMS.map(platform => ({
        platform,
        layers: shell(platform.architecture),
        config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['sh'] },
      })),
    )
  }
  if (existsSync(debianRoot()))
    await push(host, 'debian:1', [
      { platform: LINUX[0]!, layers: [{ entries: [], tar: readFileSync(debianRoot()), compression: 'none' }] },
    ])
  await push(host, 'plain:1', all({}, 'none'))
  await push(host, 'rich:1', all({ config: rich, more: { author: 'base author', docker_version: '1.2.3' } }))
  await push(host, 'onbuild:1', [
    {
      platform: LINUX[0]!,
      layers: layers(),
      config: {
        OnBuild: [
          'COPY a /onbuild/',
          'ENV TRIGGERED=$FROM_ARG',
          `COPY --from=${onbuildReference} /usr/bin/tool /onbuild/`,
          'LABEL trigger="one two"',
        ],
      },
    },
  ])
  await push(host, 'arm-only:1', [{ platform: LINUX[1]!, layers: layers() }], true)
  await push(host, 'short-history:1', [
    { platform: LINUX[0]!, layers: layers(), history: [{ created_by: 'only one line' }] },
  ])
  await push(host, 'no-history:1', [{ platform: LINUX[0]!, layers: layers(), history: [] }])
  await push(host, 'empty:1', [{ platform: LINUX[0]!, layers: [], config: { Env: ['A=1'] }, history: [] }])
  await push(
    host,
    'arch:1',
    LINUX.map(platform => ({ platform, layers: [{ entries: [file('arch', `${platform.architecture}\n`)] }] })),
  )
  // As docker's classic builder and other tools write them: fields that say nothing, and some that only they know.
  await push(host, 'docker:1', [
    {
      platform: LINUX[0]!,
      layers: layers(),
      config: {
        Hostname: 'abc',
        Domainname: '',
        User: '',
        AttachStdin: false,
        Env: ['PATH=/bin'],
        Cmd: ['/bin/sh'],
        Image: `sha256:${'0'.repeat(64)}`,
        Volumes: null,
        WorkingDir: '',
        Entrypoint: null,
        OnBuild: [],
        Labels: {},
        ArgsEscaped: false,
      },
      more: { container: 'abc', author: '' },
      history: [
        { created: '2024-01-02T03:04:05Z', created_by: '/bin/sh -c one', empty_layer: false, author: '', comment: '' },
        { created: '2024-01-02T03:04:05Z', created_by: '/bin/sh -c #(nop) CMD', empty_layer: true },
        { created: '2024-01-02T03:04:05Z', created_by: '/bin/sh -c two' },
        { created: '2024-01-02T03:04:05Z', created_by: '/bin/sh -c three' },
      ],
    },
  ])
  await push(host, 'variant:1', [{ platform: { os: 'linux', architecture: 'arm64', variant: 'v8' }, layers: layers() }])
  await push(host, 'workdir:1', [{ platform: LINUX[0]!, layers: layers(), config: { WorkingDir: 'rel/./dir' } }])
  await push(host, 'links:1', [
    {
      platform: LINUX[0]!,
      layers: [
        {
          entries: [
            dir('d'),
            file('d/one', 'one\n', 0o644, { pax: { 'SCHILY.xattr.user.note': Buffer.from('a note') } }),
            hard('d/two', 'd/one', 0o600, APP),
            hard('three', 'd/two', 0o4755, { uid: 2, gid: 3 }),
            file('d/four'),
            hard('five', 'd/four', 0o444),
          ],
        },
      ],
    },
  ])
  await push(host, 'windows:1', [
    {
      platform: { os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348.1' },
      layers: [{ entries: windows }],
      config: { Env: ['PATH=c:\\Windows\\System32'], Cmd: ['c:\\windows\\system32\\cmd.exe'] },
    },
  ])
}
