import fc from 'fast-check'
import type { Question } from './oracle.ts'

/** Random Dockerfiles that can mostly be built, with what the command line says and the images that there are. */

const C = fc.constantFrom
const NAMES = [
  ...['A', 'B', 'PATH', 'GLOBAL', 'GIVEN', 'unset', 'HTTP_PROXY'],
  ...['TARGETARCH', 'TARGETPLATFORM', 'TARGETVARIANT', 'TARGETSTAGE', 'BUILDPLATFORM'],
]
const name = C(...NAMES)
const value = fc.oneof(
  C('x', '1', '/w', '"a b"', "'$A'", '\\$A', '', 'é'),
  name.map(one => `$${one}`),
  fc
    .tuple(name, C(':-', '-', ':+', '+', '#', '%', '##', '%%'), C('d', '$B', '*/x', '', '/w'))
    .map(([one, modifier, word]) => `\${${one}${modifier}${word}}`),
  fc.tuple(name, C('x', '/y', '$B')).map(([one, rest]) => `pre-$${one}${rest}`),
)
const path = fc.oneof(
  C(
    ...[
      '/',
      '/a',
      '/a/',
      'b',
      'b/c',
      '.',
      './',
      '..',
      '../x',
      '/a/../b',
      '//a//b',
      '$A',
      '/x/.',
      'c/.',
      '/$B/y',
      "'/q q'",
      '"/$A"',
    ],
  ),
  value,
)
const source = C(
  ...[
    'f',
    'dir',
    'dir/',
    '.',
    './',
    '*.go',
    'd?r/[a-c]*',
    '/abs',
    '../up',
    '$A',
    'a/./b',
    'a/./',
    '/',
    'x/**/y',
    '\\*lit',
  ],
)
const user = C(...['', '0', '1000', '1000:1001', 'root', 'app', 'app:grp', '$A', ':5', '65534:', '-1', '4294967295'])
const command = C(
  ...[
    'echo hi',
    '["a","b"]',
    '["/bin/sh", "-c", "x"]',
    '',
    '["a", ""]',
    'x  y',
    'echo "$A"',
    "echo 'x'",
    '["<<E"]',
    'é<&>',
  ],
)
const PORTS = [
  ...[
    '80',
    '80/tcp 90/UDP',
    '8000-8003',
    '$A',
    '80:90',
    '127.0.0.1:80:81/udp',
    '[::1]:1:2',
    '1-3:4-6',
    '"80 90"',
    '0',
    '65535',
    '65536',
  ],
  ...['3-1', 'x', '80/x', '/tcp', '1-1', '+5', '80 80/tcp 443 5', '1-2:3', '1:2-3', '::1:5:6', '80/', ':80', '1-2-3'],
]
const SIGNALS = [
  'SIGTERM',
  '9',
  'TERM',
  'sigkill',
  '$A',
  'RTMIN+3',
  'SIGRTMAX-15',
  'SIGRTMAX-14',
  '0',
  'x',
  '99',
  '-9',
  'SIGWINCH',
]
const HEALTH = [
  ...[
    'NONE',
    'CMD x y',
    'CMD ["x","y"]',
    '--interval=1s --retries=2 CMD x',
    '--interval=0 CMD x',
    '--retries= CMD x',
    'CMD',
    '--interval=0.1ms CMD x',
  ],
  ...[
    '--timeout=1h1m1.5s --start-period=10ms --start-interval=90s CMD ["a"]',
    '--timeout=1h0m5s CMD a',
    '--interval=1500ms CMD b',
    '--start-period=1.000001s CMD c',
  ],
]
const COPY_FLAGS = [
  ...[
    '--chown=1:2',
    '--chown=$A',
    '--chmod=755',
    '--chmod=u+rw,g-x',
    '--chmod=08',
    '--chmod=10000',
    '--chmod=$B',
    '--link',
    '--exclude=*.md',
  ],
  ...[
    '--exclude=$A',
    '--parents',
    '--from=st',
    '--from=0',
    '--from=base',
    '--from=1',
    '--chmod=',
    '--chown=',
    '--unpack=false',
    '--chown=app',
  ],
]
const OTHERS = [
  ...[
    'COPY <<E /x\na $A ${B:-y} \\$A "q" \'$A\'\nE',
    "COPY <<'E' /x/\na $A\nE",
    'COPY <<-E f /d/\n\ttab\n\t\tx\n\tE',
    'ADD <<A <<B /d/\n1\nA\n2\nB',
  ],
  ...[
    'RUN <<E\necho $A\nE',
    'RUN <<E cat\nx\nE',
    'RUN <<-"E"\n\t#!/bin/x\n\ty\n\tE',
    'RUN --network=none x',
    'RUN --mount=type=cache,target=$A/c,id=i x',
  ],
  ...[
    'RUN --mount=type=bind,from=st,source=a,target=/m x',
    'RUN --mount=type=secret,id=s,env=X x',
    'RUN --mount=type=tmpfs,target=t,size=1m --mount=type=ssh x',
  ],
  ...[
    'RUN --mount=target=/m,rw,source=$A x',
    'RUN --mount=type=cache,target=/c,sharing=locked,uid=1 x',
    'SHELL ["/bin/bash","-c"]',
    'SHELL ["a"]',
    'SHELL []',
  ],
  ...[
    'SHELL ["powershell", "$A"]',
    'ONBUILD RUN x $A',
    'ONBUILD COPY a /b',
    'ONBUILD ENV A=1',
    'ONBUILD ONBUILD RUN x',
    'ONBUILD CMD ["x"]',
  ],
  ...['ONBUILD COPY --from=0 a /b', 'ONBUILD WORKDIR $A', 'ONBUILD RUN <<E\na\nE'],
]
const MOUNT_OPTIONS = [
  ...[
    'target=/m',
    'dst=m/n',
    'destination=$A/x',
    'target=/a//b/',
    'target=.',
    'target=/',
    'source=s',
    'src=/s/../t',
    'source=$A',
    'ro',
    'rw',
  ],
  ...[
    'readonly=false',
    'rw=0',
    'readwrite=x',
    'from=st',
    'from=dep',
    'from=base',
    'from=0',
    'from=$A',
    'id=i',
    'id=$A',
    'id=',
    'sharing=locked',
  ],
  ...[
    'sharing=private',
    'sharing=x',
    'mode=0700',
    'mode=8',
    'uid=7',
    'gid=$B',
    'required',
    'required=false',
    'size=1k',
    'size=1.5m',
    'size=x',
    'env=X',
  ],
  ...['env=', 'unknown=1', 'target', '"target=/q,q"', 'TARGET=/upper', 'size=-1'],
]
const mount = fc
  .tuple(
    C('', 'type=bind', 'type=cache', 'type=tmpfs', 'type=secret', 'type=ssh', 'type=$A', 'type=Cache', 'type=x'),
    fc.array(C(...MOUNT_OPTIONS), { minLength: 1, maxLength: 4 }),
  )
  .map(([type, options]) => `--mount=${[...(type ? [type] : []), ...options].join(',')}`)

const instruction: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(name, value).map(([k, v]) => `ENV ${k}=${v}`) },
  fc.tuple(name, value, name, value).map(([k, v, l, w]) => `ENV ${k}=${v} ${l}=${w}`),
  fc.tuple(name, value).map(([k, v]) => `ENV ${k} ${v} z`),
  fc.tuple(value, value).map(([v, w]) => `LABEL "l$A"=${v} m=${w}`),
  {
    weight: 3,
    arbitrary: fc.tuple(name, fc.option(value)).map(([k, v]) => (v === null ? `ARG ${k}` : `ARG ${k}=${v}`)),
  },
  fc.tuple(name, value, name).map(([k, v, l]) => `ARG ${k}=${v} ${l} C=$${k}`),
  { weight: 2, arbitrary: path.map(one => `WORKDIR ${one}`) },
  user.map(one => `USER ${one}`),
  C(...PORTS).map(one => `EXPOSE ${one}`),
  fc.array(path, { minLength: 1, maxLength: 2 }).map(paths => `VOLUME ${paths.join(' ')}`),
  C(...SIGNALS).map(one => `STOPSIGNAL ${one}`),
  fc.tuple(C('CMD', 'ENTRYPOINT', 'RUN'), command).map(([verb, words]) => `${verb} ${words}`),
  C(...HEALTH).map(one => `HEALTHCHECK ${one}`),
  value.map(one => `MAINTAINER ${one} <a@b>`),
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        C('COPY', 'ADD'),
        fc.array(C(...COPY_FLAGS), { maxLength: 2 }),
        fc.array(source, { minLength: 1, maxLength: 3 }),
        path,
      )
      .map(([verb, flags, sources, dest]) => [verb, ...flags, ...sources, dest].join(' ')),
  },
  { weight: 2, arbitrary: C(...OTHERS) },
  fc.array(mount, { minLength: 1, maxLength: 3 }).map(mounts => `RUN ${mounts.join(' ')} x`),
)
const FROMS = [
  ...[
    'scratch',
    'base',
    'base',
    'st',
    'onb',
    '$GLOBAL',
    '${GLOBAL:-base}',
    'base:1',
    'empty',
    'missing',
    'ST',
    'UPPER',
    '"base"',
    'win',
    'x$unset',
  ],
  ...[
    '--platform=linux/arm64 base',
    '--platform=$BUILDPLATFORM base',
    '--platform=$unset base',
    '--platform=x/y/z/w base',
  ],
]
const stage = fc
  .tuple(
    C(...FROMS),
    C('', ' AS st', ' AS last', ' as ST2', ' AS st', ' AS base', ' AS dep', ' AS x-y_z.1'),
    fc.array(instruction, { maxLength: 7 }),
  )
  .map(([from, as, lines]) => [`FROM ${from}${as}`, ...lines].join('\n'))
const globals = C(
  ...[
    '',
    'ARG GLOBAL=base\n',
    'ARG GLOBAL=st GIVEN=q\n',
    'ARG GLOBAL=$A\n',
    'ARG A=ga\nARG B=$A-b GLOBAL="base"\n',
    'ARG TARGETARCH=zz\nARG PATH\n',
  ],
  ...['ARG GIVEN\n', "ARG A='$x' GLOBAL\n", 'ARG TARGETPLATFORM\nARG GLOBAL=${TARGETARCH}\n', 'ARG A=${B:?b}\n'],
)

type Given = Readonly<Record<string, string>>

export interface ProjectCase {
  readonly dockerfile: string
  readonly platform: string
  readonly target: string
  readonly args: Given
  readonly labels: Given
}

export const project: fc.Arbitrary<ProjectCase> = fc.record({
  dockerfile: fc
    .tuple(globals, fc.array(stage, { minLength: 1, maxLength: 3 }))
    .map(([args, stages]) => `${args}${stages.join('\n')}\n`),
  platform: C('linux/amd64', 'linux/arm64', 'linux/arm/v7', 'windows/amd64', 'linux/amd64/v3', 'linux/riscv64'),
  args: C<Given>(...[{}, { GIVEN: 'given' }, { A: 'argA', GLOBAL: 'base' }, { TARGETARCH: 'riscv64' }, { B: '' }], {
    HTTP_PROXY: 'http://p',
    GIVEN: 'a b',
  }),
  target: C('', '', 'st', 'ST', 'nope'),
  labels: C<Given>({}, {}, { 'a.b': 'c' }),
})

const rootfs = { type: 'layers', diff_ids: [`sha256:${'1'.repeat(64)}`] }
const history = [{ created_by: 'x' }]
const base = {
  architecture: 'amd64',
  os: 'linux',
  config: {
    Env: ['PATH=/bin', 'A=fromBase', 'EMPTY='],
    Cmd: ['sh'],
    Entrypoint: ['/e'],
    WorkingDir: '/w//x/../y/',
    User: 'u',
    Labels: { b: 'c' },
    Volumes: { '/v': {} },
    ExposedPorts: { '1/tcp': {} },
    Healthcheck: { Test: ['CMD', 'x'], Interval: 5 },
    StopSignal: 'SIGINT',
  },
  rootfs,
  history,
}

/** The configs of the images that those Dockerfiles may name, by their short names. */
export const IMAGES: Readonly<Record<string, unknown>> = {
  base,
  'base:1': base,
  onb: {
    ...{ architecture: 'amd64', os: 'linux', rootfs, history },
    config: {
      Env: ['B=base'],
      OnBuild: ['RUN x $B', 'COPY a /b', 'ENV T=$A', 'ARG Q=1', 'WORKDIR d', 'COPY --from=dep c /'],
      Shell: ['/bin/zsh'],
    },
  },
  empty: {
    architecture: 'arm64',
    os: 'linux',
    variant: 'v8',
    rootfs: { type: 'layers', diff_ids: [] },
    author: 'me',
  },
  win: {
    architecture: 'amd64',
    os: 'windows',
    config: { Env: ['P=1'], WorkingDir: 'C:\\w' },
    rootfs,
    history,
  },
}

/** How BuildKit is asked for one of them. */
export function questionOf(one: ProjectCase): Question {
  const images = Object.entries(IMAGES).map(([image, config]) => [
    `docker.io/library/${image}${image.includes(':') ? '' : ':latest'}`,
    config,
  ])
  return { ask: 'convert', ...one, images: Object.fromEntries(images) }
}
