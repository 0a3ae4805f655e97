import { describe, expect, test } from 'bun:test'
import { parseDockerfile } from '../dockerfile/parse.ts'
import { isArchimageError } from '../errors/error.ts'
import { sha256 } from '../oci/digest.ts'
import { encodeImageManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts'
import { type LowerInput, lower } from './lower.ts'
import type { BaseImage, Lowered, RunOp } from './lowered.ts'
import { imageUses } from './references.ts'

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

function baseImage(name: string, platform: Platform, config: BaseImage['config']['config']): BaseImage {
  const digest = sha256(name)
  const blob = { mediaType: OCI.layer, digest, size: 1 }
  return {
    name,
    manifest: encodeImageManifest({ docker: false, config: { ...blob, mediaType: OCI.config }, layers: [blob] }),
    config: {
      os: platform.os,
      architecture: platform.architecture,
      config: config ?? {},
      rootfs: { type: 'layers', diff_ids: [digest] },
    },
    platform,
    exact: true,
  }
}

type Options = Partial<LowerInput> & { readonly base?: BaseImage['config']['config'] }

function plan(text: string, { base, ...options }: Options = {}): Promise<Lowered> {
  return lower({
    dockerfile: parseDockerfile(text, 'Dockerfile'),
    platform: parsePlatform('linux/amd64'),
    args: {},
    labels: {},
    image: async (name, wanted) => baseImage(name, wanted, base),
    ...options,
  })
}

const runs = async (text: string, options?: Options): Promise<RunOp[]> =>
  (await plan(text, options)).target.ops.filter(op => op.kind === 'run')
const run = async (text: string, options?: Options): Promise<RunOp> => (await runs(text, options)).at(-1)!
const mounts = async (flags: string, before = ''): Promise<RunOp['mounts']> =>
  (await run(`FROM x AS early\nFROM x\n${before}RUN ${flags} true\n`)).mounts
const history = async (text: string, options?: Options): Promise<string | undefined> =>
  (await plan(text, options)).target.config.history!.at(-1)!.created_by

async function refusal(text: string, options?: Options): Promise<string> {
  try {
    await plan(text, options)
  } catch (error) {
    if (isArchimageError(error)) return `${error.code} ${error.place?.line}: ${error.message}`
    throw error
  }
  return 'not refused'
}

describe('what a step starts', () => {
  test('shell form takes SHELL, JSON form takes nothing', async () => {
    expect((await run('FROM x\nRUN a  "b"')).args).toEqual(['/bin/sh', '-c', 'a  "b"'])
    expect((await run('FROM x\nSHELL ["/bin/bash", "-eu", "-c"]\nRUN a')).args).toEqual(['/bin/bash', '-eu', '-c', 'a'])
    expect((await run('FROM x\nRUN ["a", "$B"]')).args).toEqual(['a', '$B'])
    expect((await run('FROM x', {})) === undefined).toBe(true)
  })

  test('one heredoc is the script; with #! it is a file; beside a command the shell reads it', async () => {
    expect((await run('FROM x\nRUN <<EOF\na\nb $C\nEOF\n')).args).toEqual(['/bin/sh', '-c', 'a\nb $C\n'])
    const file = await run('FROM x\nRUN <<EOF\n#!/bin/python\nprint()\nEOF\n')
    expect(file.args).toEqual(['/bin/sh', '-c', '/dev/pipes/EOF'])
    expect(file.mounts).toEqual([{ kind: 'script', target: '/dev/pipes/EOF', content: '#!/bin/python\nprint()\n' }])
    const both = await run('FROM x\nRUN cat <<A - <<-B\n1\nA\n\t2\nB\n')
    expect(both.args[2]).toBe('cat <<A - <<-B\n1\nA\n\t2\nB')
    expect(await history('FROM x\nRUN <<EOF\n#!/bin/python\nEOF\n')).toBe('RUN /bin/sh -c /dev/pipes/EOF # buildkit')
  })

  test('folder, user, host name', async () => {
    const text = 'FROM x\nWORKDIR /a\nWORKDIR b\nUSER app:staff\nRUN c'
    expect(await run(text)).toMatchObject({ cwd: '/a/b', user: 'app:staff', hostname: 'buildkitsandbox' })
    expect(await run('FROM x\nRUN c', { base: { User: '7', WorkingDir: '/w' } })).toMatchObject({
      user: '7',
      cwd: '/w',
    })
    expect((await run('FROM x\nRUN c', { args: { BUILDKIT_SANDBOX_HOSTNAME: 'h' } })).hostname).toBe('h')
  })
})

describe('environment', () => {
  test('what is set again goes to the end; arguments that are visible are there', async () => {
    const text = 'FROM x\nARG V=1\nENV A=1 B=2\nARG NONE\nENV A=3\nRUN c'
    expect((await run(text)).env).toEqual([PATH, 'V=1', 'B=2', 'A=3'])
    expect(await history(text)).toBe('RUN |2 V=1 NONE= /bin/sh -c c # buildkit')
    expect((await run('FROM x\nARG V\nRUN c', { args: { V: 'given', W: 'unseen' } })).env).toEqual([PATH, 'V=given'])
  })

  test('proxies need no ARG and are no part of a step', async () => {
    const args = { HTTP_PROXY: 'http://proxy', no_proxy: 'x' }
    expect((await run('FROM x\nRUN c', { args })).env).toEqual([PATH])
    expect(await history('FROM x\nRUN c', { args })).toBe('RUN /bin/sh -c c # buildkit')
    expect(await history('FROM x\nARG HTTP_PROXY\nRUN c', { args })).toContain('|1 HTTP_PROXY=http://proxy')
  })

  test('steps see SOURCE_DATE_EPOCH, without ARG too; the history has it with one only', async () => {
    const args = { SOURCE_DATE_EPOCH: '7' }
    expect((await run('FROM x\nRUN c', { args })).env).toEqual([PATH, 'SOURCE_DATE_EPOCH=7'])
    expect(await history('FROM x\nRUN c', { args })).toBe('RUN /bin/sh -c c # buildkit')
    expect((await run('FROM x\nARG SOURCE_DATE_EPOCH\nENV A=1\nRUN c', { args })).env).toEqual([
      PATH,
      'SOURCE_DATE_EPOCH=7',
      'A=1',
    ])
  })
})

describe('mounts', () => {
  test('bind: stages by name, images, the context; variables in all but from', async () => {
    expect(await mounts('--mount=target=/a')).toEqual([
      { kind: 'bind', target: '/a', from: { kind: 'context' }, path: '/', readOnly: true },
    ])
    expect(await mounts('--mount=from=EARLY,source=s/$V/../t,target=$V,rw', 'ARG V=w\nWORKDIR /d\n')).toEqual([
      { kind: 'bind', target: '/d/w', from: { kind: 'stage', stage: 0 }, path: '/s/t', readOnly: false },
    ])
    const [image] = await mounts('--mount=from=0,target=/a')
    expect(image).toMatchObject({ kind: 'bind', from: { kind: 'image', image: { name: '0' } } })
    const named = await run('FROM x\nRUN --mount=from=files,target=/a c', {
      named: async name => (name === 'files' ? { kind: 'directory', path: '/somewhere' } : undefined),
    })
    expect(named.mounts[0]).toMatchObject({ from: { kind: 'directory', path: '/somewhere' } })
  })

  test('a stage that only a mount names is built', async () => {
    const { stages } = await plan('FROM a AS tools\nFROM b\nRUN --mount=from=tools,target=/t c')
    expect([...stages.keys()].sort()).toEqual([0, 1])
  })

  test('cache: the name is the target where none is given, with its namespace', async () => {
    const scratch = { from: { kind: 'scratch' }, path: '/' } as const
    expect(await mounts('--mount=type=cache,target=/c/')).toEqual([
      { kind: 'cache', target: '/c', id: '/c', sharing: 'shared', ...scratch, readOnly: false },
    ])
    expect(await mounts('--mount=type=cache,id=apt-$A,target=/c,sharing=locked,uid=5,ro', 'ARG A=arm64\n')).toEqual([
      {
        ...{ kind: 'cache', target: '/c', id: 'apt-arm64', sharing: 'locked', ...scratch },
        ...{ owner: { mode: 0o755, uid: 5, gid: 0 }, readOnly: true },
      },
    ])
    const text = 'FROM x\nRUN --mount=type=cache,target=/c c'
    expect((await run(text, { args: { BUILDKIT_CACHE_MOUNT_NS: 'ns' } })).mounts[0]).toMatchObject({ id: 'ns//c' })
    expect(await mounts('--mount=type=cache,target=/c,from=early,source=/s')).toMatchObject([
      { from: { kind: 'stage', stage: 0 }, path: '/s' },
    ])
  })

  test('secret: a file, a variable or both', async () => {
    const owner = { mode: 0o400, uid: 0, gid: 0 }
    expect(await mounts('--mount=type=secret,id=a/key')).toEqual([
      { kind: 'secret', id: 'a/key', target: '/run/secrets/key', required: false, ...owner },
    ])
    expect(await mounts('--mount=type=secret,target=/root/.netrc,required,mode=0440,gid=7')).toEqual([
      { kind: 'secret', id: '.netrc', target: '/root/.netrc', required: true, mode: 0o440, uid: 0, gid: 7 },
    ])
    expect(await mounts('--mount=type=secret,target=/a//b/')).toMatchObject([{ id: 'b', target: '/a/b' }])
    expect(await mounts('--mount=type=secret,id=key,env=KEY')).toEqual([
      { kind: 'secret', id: 'key', env: 'KEY', required: false, ...owner },
    ])
    expect(await mounts('--mount=type=secret,id=key,env=KEY,target=/k')).toMatchObject([{ target: '/k', env: 'KEY' }])
    await expect(mounts('--mount=type=secret,id=key,env=')).rejects.toThrow('env has no name')
  })

  test('ssh: a socket, and a variable that leads to the first', async () => {
    const step = await run('FROM x\nRUN --mount=type=ssh --mount=type=ssh,id=b,uid=3 c')
    expect(step.env).toEqual([PATH, 'SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0'])
    expect(step.mounts).toEqual([
      ...[{ kind: 'ssh', id: 'default', target: '/run/buildkit/ssh_agent.0', required: false } as const].map(one => ({
        ...one,
        ...{ mode: 0o600, uid: 0, gid: 0 },
      })),
      { kind: 'ssh', id: 'b', target: '/run/buildkit/ssh_agent.1', required: false, mode: 0o600, uid: 3, gid: 0 },
    ])
    expect((await run('FROM x\nENV SSH_AUTH_SOCK=/own\nRUN --mount=type=ssh c')).env).toContain('SSH_AUTH_SOCK=/own')
  })

  test('what is mounted inside something comes after it', async () => {
    const flags = ['cache,target=/a/b', 'secret,id=s,target=/a/s', 'tmpfs,target=/a,size=1k'].map(
      mount => `--mount=type=${mount}`,
    )
    expect((await mounts(flags.join(' '))).map(mount => mount.target)).toEqual(['/a', '/a/b', '/a/s'])
  })

  test('what is wrong is refused at its line', async () => {
    const at = (flags: string) =>
      refusal(`FROM x AS late\nFROM x\nRUN --mount=${flags} c\nFROM x AS after\n`, { target: '1' })
    expect(await at('type=cache')).toBe('DOCKERFILE_INVALID 3: --mount: type=cache needs a target')
    expect(await at('target=/')).toBe('DOCKERFILE_INVALID 3: --mount: the root itself cannot be a target')
    expect(await at('from=after,target=/a')).toContain('3: RUN takes from stage "after", which is defined later')
    expect(await at('type=ssh,source=x')).toContain('source is not for type=ssh')
    expect(await at('type=$X,target=/a')).toContain('unknown mount type')
  })
})

describe('privileges', () => {
  test('the network of the command line is that of steps that do not say it', async () => {
    const steps = { network: 'none', allow: [] } as const
    expect((await run('FROM x\nRUN c', { steps })).network).toBe('none')
    expect((await run('FROM x\nRUN --network=default c', { steps })).network).toBe('none')
    expect((await run('FROM x\nRUN --network=none c')).network).toBe('none')
    expect((await run('FROM x\nRUN --network=host c', { steps: { network: 'host', allow: [] } })).network).toBe('host')
  })

  test('host network and all privileges must be allowed', async () => {
    expect(await refusal('FROM x\nRUN --network=host c')).toContain('NOT_ALLOWED 2: RUN --network=host')
    expect(await refusal('FROM x\nRUN --security=insecure c')).toContain('NOT_ALLOWED 2: RUN --security=insecure')
    const steps = { network: 'default', allow: ['network.host', 'security.insecure'] } as const
    const step = await run('FROM x\nRUN --network=host --security=insecure c', { steps })
    expect(step).toMatchObject({ network: 'host', insecure: true })
    expect(await refusal('FROM x AS unused\nRUN --network=host c\nFROM x\n')).toBe('not refused')
  })

  test('devices are refused by name, or left out where the step can do without', async () => {
    expect(await refusal('FROM x\nRUN --device=v.com/gpu=all,required c')).toContain(
      'UNSUPPORTED 2: RUN --device=v.com/gpu=all',
    )
    expect((await plan('FROM x\nRUN --device=v.com/gpu=all c')).warnings).toEqual([
      'Dockerfile:2: --device=v.com/gpu=all is left out: CDI devices are not supported',
    ])
  })
})

test('triggers of the base may be RUN, with mounts of stages of this file', async () => {
  const base = { OnBuild: ['RUN --mount=from=early,target=/e a'] }
  const [step] = await runs('FROM y AS early\nFROM x\n', {
    image: async (name, wanted) => baseImage(name, wanted, name === 'x' ? base : {}),
  })
  expect(step).toMatchObject({ args: ['/bin/sh', '-c', 'a'], line: 2, mounts: [{ from: { kind: 'stage', stage: 0 } }] })
})

test('images that mounts name count as used', () => {
  const text = 'FROM a AS early\nFROM b\nRUN --mount=from=early,target=/e --mount=type=cache,from=c,target=/c x\n'
  const uses = imageUses(parseDockerfile(text, 'Dockerfile'), {
    platform: parsePlatform('linux/arm64'),
    args: {},
    named: {},
  })
  expect(uses.map(({ reference, how, platform }) => `${reference} ${how} ${formatPlatform(platform)}`)).toEqual([
    'a from linux/arm64',
    'b from linux/arm64',
    'c mount linux/arm64',
  ])
})
