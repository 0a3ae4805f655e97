import { describe, expect, test } from 'bun:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { isArchimageError } from '../errors/error.ts'
import type { ContainerConfig, ImageConfig } from '../oci/config.ts'
import { sha256 } from '../oci/digest.ts'
import { encodeImageManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts'
import { CREATED, type LowerInput, lower, type NamedContext } from './lower.ts'
import type { BaseImage, Lowered } from './lowered.ts'

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

function baseImage(name: string, platform: Platform, config: ContainerConfig = {}, more: Partial<ImageConfig> = {}) {
  const digest = sha256(name)
  const layer = { mediaType: OCI.layer, digest, size: 1 }
  const image: BaseImage = {
    name,
    manifest: encodeImageManifest({
      docker: false,
      config: { mediaType: OCI.config, digest, size: 1 },
      layers: name === 'hollow' ? [] : [layer],
    }),
    config: {
      os: platform.os,
      architecture: platform.architecture,
      config,
      rootfs: { type: 'layers', diff_ids: name === 'hollow' ? [] : [digest] },
      ...more,
    },
    platform,
    exact: true,
  }
  return image
}

interface Options extends Partial<Omit<LowerInput, 'dockerfile' | 'platform'>> {
  readonly platform?: string
  readonly base?: ContainerConfig
  readonly more?: Partial<ImageConfig>
  readonly contexts?: Readonly<Record<string, NamedContext>>
}

/** Images that were asked for: `name platform`. */
const asked: string[] = []

function plan(text: string, options: Options = {}): Promise<Lowered> {
  const { platform = 'linux/amd64', base, more, contexts = {}, ...rest } = options
  asked.length = 0
  return lower({
    dockerfile: parseDockerfile(text, 'Dockerfile'),
    platform: parsePlatform(platform),
    args: {},
    labels: {},
    image: async (name, wanted) => {
      asked.push(`${name} ${formatPlatform(wanted)}`)
      return baseImage(name, wanted, base, more)
    },
    named: async name => contexts[name],
    ...rest,
  })
}

const config = async (text: string, options?: Options): Promise<ContainerConfig> =>
  (await plan(text, options)).target.config.config!
const history = async (text: string, options?: Options): Promise<(string | undefined)[]> =>
  (await plan(text, options)).target.config.history!.map(entry => entry.created_by)

/** The line at which a Dockerfile is refused, and the words. */
async function refusal(text: string, options?: Options): Promise<string> {
  try {
    await plan(text, options)
  } catch (error) {
    if (isArchimageError(error)) return `${error.place?.line}: ${error.message}`
    throw error
  }
  return 'not refused'
}

describe('config', () => {
  test('upon scratch there is PATH and a folder, on windows a folder of theirs', async () => {
    expect(await config('FROM scratch')).toEqual({ WorkingDir: '/', Env: [PATH] })
    expect(await config('FROM scratch', { platform: 'windows/amd64' })).toEqual({ WorkingDir: '\\' })
  })

  test('the base stays, without what says nothing; PATH is added where it is missing', async () => {
    const base = { Env: ['A=1'], User: '', Cmd: [], Labels: {}, Volumes: { '/v': {} }, Hostname: '', OnBuild: [] }
    const { target } = await plan('FROM x', { base, more: { author: '', docker_version: '1' } })
    expect(target.config.config).toEqual({ Env: ['A=1', PATH], Volumes: { '/v': {} }, Hostname: '' })
    expect(target.config).toMatchObject({ docker_version: '1', created: CREATED })
    expect('author' in target.config).toBe(false)
  })

  test('ENV keeps the order and sees the values from before', async () => {
    const text = 'FROM scratch\nENV A=1 B=2\nENV A=3 C=$A${N:-n}\n'
    expect((await config(text)).Env).toEqual([PATH, 'A=3', 'B=2', 'C=1n'])
  })

  test('ENTRYPOINT drops the CMD of the base, never one of its own stage; empty lists are none', async () => {
    const base = { Cmd: ['base'], Entrypoint: ['e'] }
    expect((await config('FROM x\nENTRYPOINT ["f"]', { base })).Cmd).toBeUndefined()
    expect((await config('FROM x\nCMD ["c"]\nENTRYPOINT ["f"]', { base })).Cmd).toEqual(['c'])
    expect((await config('FROM x AS y\nCMD ["c"]\nFROM y\nENTRYPOINT ["f"]', { base })).Cmd).toBeUndefined()
    expect(await config('FROM x\nCMD []\nENTRYPOINT []', { base })).toEqual({ Env: [PATH], ArgsEscaped: true })
  })

  test('shell forms take SHELL', async () => {
    const text = 'FROM scratch\nCMD a  b\nSHELL ["sh", "-e"]\nENTRYPOINT c'
    expect(await config(text)).toMatchObject({ Cmd: ['/bin/sh', '-c', 'a  b'], Entrypoint: ['sh', '-e', 'c'] })
    expect((await config('FROM scratch\nCMD a', { platform: 'windows/amd64' })).Cmd).toEqual(['cmd', '/S', '/C', 'a'])
  })

  test('the platform asked for wins, labels of the command line too', async () => {
    const { target } = await plan('FROM scratch\nLABEL a=1 b=2', { platform: 'linux/arm/v6', labels: { b: '3' } })
    expect(target.config).toMatchObject({ os: 'linux', architecture: 'arm', variant: 'v6' })
    expect(target.config.config!.Labels).toEqual({ a: '1', b: '3' })
  })
})

describe('arguments', () => {
  const labels = async (text: string, options?: Options): Promise<unknown> => (await config(text, options)).Labels

  test('--build-arg, then the default of the stage, then the global value', async () => {
    const text = 'ARG A=global B=global\nFROM scratch\nARG A\nARG B=stage C\nLABEL l=$A,$B,$C,$D'
    expect(await labels(text)).toEqual({ l: 'global,stage,,' })
    expect(await labels(text, { args: { A: '1', B: '2', C: '3', D: '4' } })).toEqual({ l: '1,2,3,' })
  })

  test('a stage upon a stage inherits them, but variables of the image win', async () => {
    const text = 'FROM scratch AS a\nENV X=env\nARG X=arg Y=arg\nFROM a\nLABEL l=$X,$Y'
    expect(await labels(text)).toEqual({ l: 'env,arg' })
  })

  test('automatic ones must be declared, and tell platform and target', async () => {
    const text =
      'FROM scratch AS t\nARG TARGETPLATFORM TARGETVARIANT BUILDOS TARGETSTAGE\nLABEL l="$TARGETPLATFORM $TARGETVARIANT $BUILDOS $TARGETSTAGE $TARGETARCH"'
    expect(await labels(text, { platform: 'linux/arm/v7' })).toEqual({ l: 'linux/arm/v7 v7 linux t ' })
  })

  test('names of object properties are names', async () => {
    expect(await labels('FROM scratch\nARG toString constructor=x\nLABEL l=$toString,$constructor')).toEqual({
      l: ',x',
    })
  })
})

describe('history', () => {
  test('is that of BuildKit', async () => {
    const lines = [
      'FROM scratch',
      'ARG A=1 B',
      'ENV E="a b" F=$A',
      'COPY --chown=1:2 --chmod=u+x --link a b <<E /x/',
      'hi',
      'E',
      'WORKDIR /w//x',
      'WORKDIR /',
      'EXPOSE 2 1',
      'VOLUME ["/v w"]',
      'CMD ["\\u00e9\\u0001"]',
      'HEALTHCHECK --interval=90s CMD x',
      'ONBUILD RUN y',
      'ADD a .',
    ]
    expect(await history(lines.join('\n'))).toEqual([
      'ARG A=1 B',
      'ENV E=a b F=1',
      'COPY --chown=1:2 --chmod=u+x a b <<E /x/ # buildkit',
      'WORKDIR /w//x',
      'WORKDIR /',
      'EXPOSE [1/tcp 2/tcp]',
      'VOLUME [/v w]',
      'CMD ["é\\x01"]',
      'HEALTHCHECK {Test:[CMD-SHELL x] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}',
      'ADD a . # buildkit',
    ])
  })

  test('lines that make a layer are not empty, WORKDIR at the root is', async () => {
    const { target } = await plan('FROM scratch\nWORKDIR /\nWORKDIR //\nCOPY a /\nUSER 1')
    expect(target.config.history!.map(entry => entry.empty_layer ?? false)).toEqual([true, false, false, true])
    expect(target.ops.map(op => op.kind)).toEqual(['workdir', 'copy'])
  })
})

describe('stages', () => {
  test('only what the target needs is looked at', async () => {
    const text = 'FROM nothing AS broken\nCOPY --from=nowhere a /\nFROM a AS b\nFROM c AS d\nCOPY --from=b x /\n'
    await plan(text)
    expect(asked.sort()).toEqual(['a linux/amd64', 'c linux/amd64'])
    await plan(text, { target: 'B' })
    expect(asked).toEqual(['a linux/amd64'])
  })

  test('FROM wants the name as it is kept, COPY --from takes any case', async () => {
    const { target } = await plan('FROM scratch AS One\nFROM one\nCOPY --from=ONE a /')
    expect(target.base).toEqual({ kind: 'stage', stage: 0 })
    expect(await refusal('FROM scratch AS One\nFROM One')).toStartWith('2: FROM One: ')
  })

  test('COPY --from images are of the platform of the target, whatever the stage has', async () => {
    await plan('FROM --platform=linux/s390x a AS b\nCOPY --from=c x /\nFROM scratch\nCOPY --from=b x /')
    expect(asked.sort()).toEqual(['a linux/s390x', 'c linux/amd64'])
  })

  test('places from which nothing can be copied', async () => {
    expect(await refusal('FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b', { target: 'a' })).toStartWith('2: ')
    expect(await refusal('FROM scratch\nCOPY --from=0 x /')).toStartWith('2: ')
    expect(await refusal('FROM scratch\nCOPY --from=7 x /')).toStartWith('2: ')
    expect(await refusal('FROM scratch AS s\nFROM scratch AS t\nCOPY --from=s x /\nFROM scratch AS s', { target: 't' })) //
      .toStartWith('3: ')
  })

  test('ONBUILD runs in the stage above, once, and the errors stand at its FROM', async () => {
    const text = 'FROM scratch AS a\nONBUILD ENV X=1\nONBUILD LABEL l=$X\nFROM a AS b\nENV Y=2\nFROM b\n'
    expect(await config(text)).toMatchObject({ Env: [PATH, 'X=1', 'Y=2'], Labels: { l: '1' } })
    expect((await config(text, { target: 'a' })).OnBuild).toEqual(['ENV X=1', 'LABEL l=$X'])
    expect(await refusal('FROM x', { base: { OnBuild: ['STOPSIGNAL no'] } })).toStartWith('1: ')
  })

  test('a final stage of another platform needs a reason', async () => {
    const text = 'FROM --platform=linux/arm64 a\nCOPY x /'
    expect(await refusal(text)).toContain('wrong architecture')
    expect((await plan(text, { platformException: 'static files' })).target.config.architecture).toBe('amd64')
  })
})

describe('named contexts', () => {
  const image = (name: string): NamedContext => ({
    kind: 'image',
    image: baseImage(name, parsePlatform('linux/amd64')),
  })

  test('stand in for a whole stage, whose instructions do not run', async () => {
    const text = 'FROM missing AS s\nCOPY x /\nFROM s\nCOPY --from=s y /'
    const { stages } = await plan(text, { contexts: { s: image('other') } })
    expect(asked).toEqual([])
    expect(stages.get(0)).toMatchObject({ ops: [], base: { image: { name: 'other' } } })
    const folder = await plan('FROM missing AS s\nFROM scratch\nCOPY --from=0 y /', {
      contexts: { s: { kind: 'directory', path: '/d' } },
    })
    expect(folder.target.ops[0]).toMatchObject({ from: { kind: 'directory', path: '/d' } })
  })

  test('stand in for images under their short names', async () => {
    await plan('FROM docker.io/library/a:latest', { contexts: { a: image('other') } })
    expect(asked).toEqual([])
  })

  test('that are files are the first layer of what stands on them, with a config that says nothing', async () => {
    const contexts = { d: { kind: 'directory', path: '/d' } } as const
    const { target } = await plan('FROM d\nCOPY a /', { contexts })
    expect(target.base).toEqual({ kind: 'scratch' })
    expect(target.files).toBe('/d')
    expect(target.ops.map(op => op.kind === 'copy' && [op.from, op.sources, op.dest])).toEqual([
      [{ kind: 'directory', path: '/d' }, ['/'], '/'],
      [{ kind: 'context' }, ['a'], '/'],
    ])
    expect(target.config.history).toHaveLength(1)
    const replaced = await plan('FROM x AS d\nENV LOST=1\nFROM d\nENV A=1', { contexts })
    expect(replaced.stages.get(0)).toMatchObject({ files: '/d', config: { config: {} } })
    expect(replaced.target.config.config?.Env).toEqual([expect.stringMatching(/^PATH=/), 'A=1'])
    expect(asked).toEqual([])
  })

  test('that are scratch are an image without anything', async () => {
    const contexts = { n: { kind: 'scratch' } } as const
    const { target } = await plan('FROM n\nCOPY --from=n . /', { contexts })
    expect([target.base, target.ops.length, target.files]).toEqual([{ kind: 'scratch' }, 1, undefined])
  })
})

describe('owners by name', () => {
  test('need a place to look them up', async () => {
    for (const text of [
      'FROM scratch\nCOPY --chown=app a /',
      'FROM x\nCOPY --link --chown=1:staff a /',
      'FROM hollow\nCOPY --chown=app a /',
      'FROM scratch AS s\nFROM s\nUSER app\nWORKDIR /x',
    ])
      expect(await refusal(text)).toContain('/etc/passwd')
    for (const text of [
      'FROM scratch\nCOPY --chown=root:5 a /',
      'FROM scratch\nWORKDIR /x\nCOPY --chown=app a /',
      'FROM x\nCOPY --chown=app a /',
      'FROM x\nCOPY --link --chown=app --chmod=1 a /',
    ])
      expect(await refusal(text)).toBe('not refused')
  })
})

test('destinations are seen from WORKDIR; COPY --from=scratch is an empty folder', async () => {
  const { target } = await plan('FROM scratch\nWORKDIR /w\nCOPY a b/\nCOPY a ""\nCOPY --from=scratch / /x/.')
  expect(target.ops.slice(1)).toMatchObject([
    { dest: '/w/b/' },
    { dest: '/w/' },
    { dest: '/x/.', from: { kind: 'scratch' } },
  ])
})
