import { config, env, history, labels, PATH, testRows, type Vector } from './meaning.ts'

const scratch = (name: string, body: string, is: Vector['is'], more: Partial<Vector> = {}): Vector => ({
  name,
  text: `FROM scratch\n${body}\n`,
  is,
  ...more,
})
/** What the automatic arguments are on a platform. */
const automatic = (platform: string, os: string, arch: string, variant: string, shown = platform): Vector => ({
  name: `on ${platform}`,
  platform,
  text: 'FROM scratch\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\nLABEL p=$TARGETPLATFORM o=$TARGETOS a=$TARGETARCH v=$TARGETVARIANT\n',
  is: labels({ p: shown, o: os, a: arch, v: variant }),
})

testRows('arguments', {
  precedence: [
    scratch('a default', 'ARG A=stage\nLABEL a=$A', labels({ a: 'stage' })),
    scratch('--build-arg wins', 'ARG A=stage\nLABEL a=$A', labels({ a: 'given' }), { args: { A: 'given' } }),
    scratch('an empty one wins too', 'ARG A=stage\nLABEL a=$A', labels({ a: '' }), { args: { A: '' } }),
    scratch('not without ARG', 'LABEL a=$A', labels({ a: '' }), { args: { A: 'given' } }),
    scratch('not before ARG', 'LABEL a=$A\nARG A\nLABEL b=$A', labels({ a: '', b: 'given' }), { args: { A: 'given' } }),
    {
      name: 'that of the file reaches a stage through a bare ARG',
      text: 'ARG A=file\nFROM scratch\nLABEL a=$A\nARG A\nLABEL b=$A\n',
      is: labels({ a: '', b: 'file' }),
    },
    {
      name: 'a default of the stage stands over that of the file',
      text: 'ARG A=file\nFROM scratch\nARG A=stage\nLABEL a=$A\n',
      is: labels({ a: 'stage' }),
    },
    {
      name: '--build-arg stands over both',
      text: 'ARG A=file\nFROM scratch\nARG A=stage\nLABEL a=$A\n',
      args: { A: 'given' },
      is: labels({ a: 'given' }),
    },
    scratch(
      'a default may use what stands before it, in the line too',
      'ARG A=1\nARG B=$A C=$B-2\nLABEL c=$C',
      labels({ c: '1-2' }),
    ),
    {
      name: 'a default of the file may use what stands before it',
      text: 'ARG A=1\nARG B=${A}2 C=$NOPE\nFROM scratch\nARG B C\nLABEL b=$B c=$C\n',
      is: labels({ b: '12', c: '' }),
    },
    {
      name: 'a default of the file that must have a value',
      text: 'ARG A\nARG B=${A:?is needed}\nFROM scratch\n',
      is: 2,
    },
    scratch('the later of two', 'ARG A=1\nARG A=2\nLABEL a=$A', labels({ a: '2' })),
  ],
  'of the stage below': [
    {
      name: 'arguments and values are there',
      text: 'FROM scratch AS one\nARG A=1\nFROM one\nLABEL a=$A\n',
      is: labels({ a: '1' }),
    },
    {
      name: 'not of other stages',
      text: 'FROM scratch AS one\nARG A=1\nFROM scratch\nLABEL a=$A\n',
      is: labels({ a: '' }),
    },
    {
      name: 'its variables stand over its arguments',
      text: 'FROM scratch AS one\nENV A=env\nARG A=arg\nLABEL a=$A\nFROM one\nLABEL b=$A\n',
      is: labels({ a: 'arg', b: 'env' }),
    },
  ],
  'neither default nor value': [
    scratch('is unset, not empty', 'ARG A\nLABEL a=${A-unset} b=${A+set}', labels({ a: 'unset', b: '' })),
    scratch('an empty default is set', 'ARG A=\nLABEL a=${A-unset} b=${A+set}', labels({ a: '', b: 'set' })),
    scratch('history has the name alone', 'ARG A B=1', history('ARG A B=1')),
  ],
  'ARG and ENV': [
    scratch('ENV after ARG wins', 'ARG A=arg\nENV A=env\nLABEL a=$A', { ...labels({ a: 'env' }) }),
    scratch('ARG is no part of the image', 'ARG A=1\nENV B=$A', env('B=1')),
    scratch(
      'ARG over ENV is for the words that follow',
      'ENV A=env\nARG A=arg\nLABEL a=$A',
      config({ Labels: { a: 'arg' }, Env: [PATH, 'A=env'] }),
    ),
    scratch(
      'a variable of the line itself is the old one',
      'ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc',
      env('abc=bye', 'def=hello', 'ghi=bye'),
    ),
  ],
  'automatic ones, shadowed': [
    scratch(
      'a default stands over the automatic value',
      'ARG TARGETARCH=amd64\nLABEL a=$TARGETARCH',
      labels({ a: 'amd64' }),
      { platform: 'linux/arm64' },
    ),
    {
      name: 'one of the file too',
      text: 'ARG TARGETARCH=amd64\nFROM scratch\nARG TARGETARCH\nLABEL a=$TARGETARCH\n',
      platform: 'linux/arm64',
      is: labels({ a: 'amd64' }),
    },
    {
      name: 'without a default it keeps its value',
      text: 'ARG TARGETARCH\nFROM scratch\nARG TARGETARCH\nLABEL a=$TARGETARCH\n',
      platform: 'linux/arm64',
      is: labels({ a: 'arm64' }),
    },
  ],
  'automatic ones': [
    automatic('linux/amd64', 'linux', 'amd64', ''),
    automatic('linux/arm64', 'linux', 'arm64', ''),
    automatic('linux/arm/v7', 'linux', 'arm', 'v7'),
    automatic('linux/arm/v6', 'linux', 'arm', 'v6'),
    automatic('linux/amd64/v3', 'linux', 'amd64', 'v3'),
    automatic('linux/arm', 'linux', 'arm', 'v7', 'linux/arm/v7'),
    automatic('linux/arm64/v8', 'linux', 'arm64', '', 'linux/arm64'),
    automatic('linux/amd64/v1', 'linux', 'amd64', '', 'linux/amd64'),
    automatic('linux/x86_64', 'linux', 'amd64', '', 'linux/amd64'),
    automatic('linux/aarch64', 'linux', 'arm64', '', 'linux/arm64'),
    automatic('linux/armhf', 'linux', 'arm', 'v7', 'linux/arm/v7'),
    automatic('linux/armel', 'linux', 'arm', 'v6', 'linux/arm/v6'),
    automatic('linux/i386', 'linux', '386', '', 'linux/386'),
    automatic('linux/s390x', 'linux', 's390x', ''),
    automatic('windows/amd64', 'windows', 'amd64', ''),
    automatic('darwin/arm64', 'darwin', 'arm64', ''),
    scratch(
      'the version of windows',
      'ARG TARGETPLATFORM TARGETOSVERSION\nLABEL p=$TARGETPLATFORM v=$TARGETOSVERSION',
      labels({ p: 'windows(10.0.17763)/amd64', v: '10.0.17763' }),
      {
        platform: 'windows(10.0.17763)/amd64',
      },
    ),
    {
      name: 'in FROM without ARG',
      text: 'FROM --platform=$TARGETPLATFORM scratch\nCMD ["a"]\n',
      platform: 'linux/s390x',
      is: { architecture: 's390x' },
    },
    scratch('in a stage not without ARG', 'LABEL a=$TARGETARCH', labels({ a: '' })),
    scratch(
      '--build-arg stands over them',
      'ARG TARGETARCH TARGETOS\nLABEL a=$TARGETARCH o=$TARGETOS',
      labels({ a: 'mine', o: 'linux' }),
      {
        args: { TARGETARCH: 'mine' },
      },
    ),
    scratch(
      'BUILDPLATFORM is of this machine',
      'ARG BUILDPLATFORM BUILDOS\nLABEL p=${BUILDPLATFORM%/*} o=$BUILDOS',
      labels({ p: 'linux', o: 'linux' }),
      {
        platform: 'linux/s390x',
      },
    ),
  ],
  TARGETSTAGE: [
    {
      name: 'the name of the last stage',
      text: 'FROM scratch AS One\nARG TARGETSTAGE\nLABEL t=$TARGETSTAGE\n',
      is: labels({ t: 'one' }),
    },
    scratch('default where it has none', 'ARG TARGETSTAGE\nLABEL t=$TARGETSTAGE', labels({ t: 'default' })),
    {
      name: 'the target as it was asked for',
      text: 'FROM scratch AS One\nARG TARGETSTAGE\nLABEL t=$TARGETSTAGE\nFROM scratch\n',
      target: 'ONE',
      is: labels({ t: 'ONE' }),
    },
    {
      name: 'the same in every stage',
      text: 'FROM scratch AS one\nARG TARGETSTAGE\nLABEL t=$TARGETSTAGE\nFROM one AS two\n',
      is: labels({ t: 'two' }),
    },
  ],
  'for proxies': [
    scratch('are no part of the history of a step', 'RUN x', history('RUN /bin/sh -c x # buildkit'), {
      args: { HTTP_PROXY: 'http://p', no_proxy: 'a' },
    }),
    scratch('are no variables of words', 'LABEL a=$HTTP_PROXY', labels({ a: '' }), {
      args: { HTTP_PROXY: 'http://p' },
    }),
    scratch('but with ARG they are', 'ARG HTTP_PROXY\nLABEL a=$HTTP_PROXY', labels({ a: 'http://p' }), {
      args: { HTTP_PROXY: 'http://p' },
    }),
  ],
  'for the builder': [
    scratch(
      'are no variables of a step',
      'ARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN x',
      history('ARG BUILDKIT_SBOM_SCAN_STAGE=true', 'RUN |1 BUILDKIT_SBOM_SCAN_STAGE=true /bin/sh -c x # buildkit'),
      {
        ops: [['run', ['/bin/sh', '-c', 'x'], [PATH], '/', '', []]],
      },
    ),
    scratch('an ordinary one is', 'ARG A=1\nRUN x', history('ARG A=1', 'RUN |1 A=1 /bin/sh -c x # buildkit'), {
      ops: [['run', ['/bin/sh', '-c', 'x'], [PATH, 'A=1'], '/', '', []]],
    }),
  ],
  'in FROM': [
    {
      name: 'of the file only',
      text: 'ARG A=base\nFROM $A\nUSER 1\n',
      is: config({ User: '1', StopSignal: 'SIGINT' }),
    },
    { name: 'quoted', text: 'ARG A="base"\nFROM "$A"\nUSER 1\n', is: config({ User: '1', StopSignal: 'SIGINT' }) },
    {
      name: '--build-arg',
      text: 'ARG A=nothing\nFROM $A\n',
      args: { A: 'base' },
      is: config({ StopSignal: 'SIGINT' }),
    },
    { name: 'a default in it', text: 'ARG A\nFROM ${A:-base}\n', is: config({ StopSignal: 'SIGINT' }) },
    { name: 'that of a stage does not count', text: 'FROM scratch\nARG A=base\nFROM $A\n', is: 3 },
    { name: 'nothing is left of it', text: 'ARG A\nFROM $A\n', is: 2 },
    { name: 'half of it is missing', text: 'ARG A\nFROM base:$A\n', is: 2 },
    { name: 'a platform of nothing', text: 'FROM --platform=$A scratch\n', is: 1 },
    { name: 'a platform that is none', text: 'FROM --platform=a/b/c/d scratch\n', is: 1 },
    { name: 'also in stages that nobody needs', text: 'FROM $A AS unused\nFROM scratch\n', is: 1 },
  ],
})
