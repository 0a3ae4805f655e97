import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { requirePeers } from '../peers/require.ts'
import { resultOf, Sandbox, simpleServices, states } from './command.ts'
import { putBase, Remote } from './images.ts'

const sandbox = new Sandbox('options')
let registry: FaultyRegistry

beforeAll(async () => {
  registry = await startFaultyRegistry()
  sandbox.mirror(registry.address)
  await putBase(new Remote(registry, 'library/alpine'), '3')
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

const push = (name: string, ...more: string[]): string[] => [
  'build',
  '--push',
  '--registry',
  `${registry.address}/${name}`,
  ...more,
]
const remote = (name: string): Remote => new Remote(registry, name)
const BOTH = ['--platform', 'linux/amd64,linux/arm64']

/** Times of the entries of a layer, in seconds. */
async function times(from: Remote, tag: string, platform: string): Promise<number[]> {
  const { layers } = await from.manifest((await from.entry(tag, platform)).digest)
  const out: number[] = []
  for (const { digest } of layers!) {
    const tar = gunzipSync(await from.blob(digest))
    for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
      out.push(Number.parseInt(tar.subarray(at + 136, at + 147).toString(), 8))
      at += 512 + Math.ceil(Number.parseInt(tar.subarray(at + 124, at + 135).toString(), 8) / 512) * 512
    }
  }
  return out
}

describe('tags', () => {
  test('--arch-tags: a tag per platform that names its image, not the index', async () => {
    const project = sandbox.project('arch', simpleServices('api'))
    await sandbox.must(push('arch', '--arch-tags', '--platform', 'linux/amd64,linux/arm/v7', '-t', 'v1'), {
      cwd: project,
    })
    const api = remote('arch/api')
    expect((await api.tags()).sort()).toEqual(['v1', 'v1-amd64', 'v1-arm-v7'])
    expect(await api.digest('v1-arm-v7')).toBe((await api.entry('v1', 'linux/arm/v7')).digest)
    expect(await api.config('v1-arm-v7')).toMatchObject({ architecture: 'arm', variant: 'v7' })
    expect(resultOf(project).services[0]!.tags.map(tag => tag.state)).toEqual(['moved', 'moved', 'moved'])
    await sandbox.must(push('arch', '--arch-tags', '--platform', 'linux/amd64,linux/arm/v7', '-t', 'v1'), {
      cwd: project,
    })
    expect(resultOf(project).services[0]!.tags.map(tag => tag.state)).toEqual(['already', 'already', 'already'])
  })

  test('--arch-tags with a pattern, from the command line and from archimage.yaml', async () => {
    const project = sandbox.project('pattern', simpleServices('api'))
    await sandbox.must(push('pattern', ...BOTH, '--arch-tags={image}-{arch}:{tag}'), { cwd: project })
    expect(await remote('pattern/api').tags()).toEqual(['latest'])
    expect(await remote('pattern/api-amd64').digest('latest')).toBe(
      (await remote('pattern/api').entry('latest', 'linux/amd64')).digest,
    )
    // The other platform has no business there.
    expect(
      await remote('pattern/api-amd64').raw((await remote('pattern/api').entry('latest', 'linux/arm64')).digest),
    ).toBeUndefined()
    writeFileSync(join(project, 'archimage.yaml'), 'arch-tags: "{tag}.{arch}"\n')
    await sandbox.must(push('pattern', ...BOTH, '--arch-tags'), { cwd: project })
    expect((await remote('pattern/api').tags()).sort()).toEqual(['latest', 'latest.amd64', 'latest.arm64'])
    const wrong = await sandbox.run(push('pattern', '--arch-tags={tag}'), { cwd: project })
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('{arch}')])
    const unknown = await sandbox.run(push('pattern', '--arch-tags={tag}-{arhc}'), { cwd: project })
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('{arch}')])
  })

  test('-t in a project is the tag of every service, several are several', async () => {
    const project = sandbox.project('tags', simpleServices('api', 'web'))
    await sandbox.must(push('tags', '-t', 'v1', '-t', 'stable'), { cwd: project })
    for (const name of ['api', 'web']) expect((await remote(`tags/${name}`).tags()).sort()).toEqual(['stable', 'v1'])
    const whole = await sandbox.run(push('tags', '-t', 'example.com/api:1'), { cwd: project })
    expect(whole.code).toBe(2)
    expect(whole.stderr).toContain('archimage build -t')
  })

  test('-t with a path is a whole name; several are all pushed', async () => {
    const project = sandbox.project('path', simpleServices('api'))
    const names = [
      `${registry.address}/path/app:1.0`,
      `${registry.address}/path/app`,
      `${registry.address}/mirror/app:1.0`,
    ]
    const { stdout } = await sandbox.must(
      ['build', '--push', ...BOTH, ...names.flatMap(name => ['-t', name]), './src/api'],
      {
        cwd: project,
      },
    )
    expect(stdout).toMatch(/\/path\/app@sha256:\S+\n$/)
    const digest = stdout.trim().split('@')[1]!
    expect(await remote('path/app').digest('1.0')).toBe(digest)
    expect(await remote('path/app').digest('latest')).toBe(digest)
    expect(await remote('mirror/app').digest('1.0')).toBe(digest)
    const file = sandbox.project('file', { 'docker/My.Dockerfile': 'FROM scratch\nCOPY a /a\n', a: 'a\n' })
    const other = await sandbox.must(['build', '-q', '-f', 'docker/My.Dockerfile', '.'], { cwd: file })
    expect(other.stdout).toMatch(/@sha256:/)
    const stdin = await sandbox.must(['build', '-q', '-'], { cwd: file, input: 'FROM scratch\nENV A=b\n' })
    expect(stdin.stdout).toMatch(/@sha256:/)
    const both = await sandbox.must(['build', '-q', '-f', '-', '.'], { cwd: file, input: 'FROM scratch\nCOPY a /a\n' })
    expect(both.stdout.split('@')[1]).toBe(other.stdout.split('@')[1]!)
  })

  test('an output that pushes by digest moves no tag', async () => {
    const project = sandbox.project('by-digest', simpleServices('api'))
    const name = `${registry.address}/bydigest/app`
    const output = `type=image,name=${name},push-by-digest=true,push=true`
    const { stdout } = await sandbox.must(['build', '-o', output, './src/api'], { cwd: project })
    expect(await remote('bydigest/app').tags()).toEqual([])
    expect(await remote('bydigest/app').raw(stdout.trim().split('@')[1]!)).toBeDefined()
  })
})

describe('--docker-format', () => {
  test('a manifest list whose parts are all Docker’s, also over an OCI base', async () => {
    const project = sandbox.project('docker', {
      'src/api/Dockerfile': 'FROM alpine:3\nCOPY a /a\n',
      'src/api/a': 'a\n',
    })
    await sandbox.must(push('docker', '--docker-format', ...BOTH), { cwd: project })
    const api = remote('docker/api')
    const index = await api.manifest('latest')
    expect(index.mediaType).toBe('application/vnd.docker.distribution.manifest.list.v2+json')
    expect(index.manifests!.map(entry => entry.mediaType)).toEqual(
      Array(2).fill('application/vnd.docker.distribution.manifest.v2+json'),
    )
    const image = await api.manifest(index.manifests![1]!.digest)
    expect(image.mediaType).toBe('application/vnd.docker.distribution.manifest.v2+json')
    expect(image.config!.mediaType).toBe('application/vnd.docker.container.image.v1+json')
    expect(image.layers!.map(layer => layer.mediaType)).toEqual(
      Array(2).fill('application/vnd.docker.image.rootfs.diff.tar.gzip'),
    )
    // Inherited bytes stay as they are.
    const base = remote('library/alpine')
    const below = await base.manifest((await base.entry('3', 'linux/arm64')).digest)
    expect(image.layers![0]!.digest).toBe(below.layers![0]!.digest)
  })

  test('OCI is the default, also over a Docker base', async () => {
    await putBase(remote('library/dockerish'), '1', ['linux/amd64', 'linux/arm64'], { docker: true })
    const project = sandbox.project('oci', {
      'src/api/Dockerfile': 'FROM dockerish:1\nCOPY a /a\n',
      'src/api/a': 'a\n',
    })
    await sandbox.must(push('oci', ...BOTH), { cwd: project })
    const api = remote('oci/api')
    const index = await api.manifest('latest')
    const image = await api.manifest(index.manifests![0]!.digest)
    const types = [
      index.mediaType,
      image.mediaType,
      image.config!.mediaType,
      ...image.layers!.map(layer => layer.mediaType),
    ]
    expect(types.filter(type => !type.startsWith('application/vnd.oci.'))).toEqual([])
  })

  test('annotations and zstd are refused with it', async () => {
    const project = sandbox.project('refused', simpleServices('api'))
    const annotated = await sandbox.run(push('refused', '--docker-format', '--annotation', 'a=b'), { cwd: project })
    expect([annotated.code, annotated.stderr]).toEqual([2, expect.stringContaining('annotation')])
    const index = await sandbox.run(push('refused', '--docker-format', '--annotation', 'index:a=b'), { cwd: project })
    expect(index.code).toBe(2)
    const zstd = await sandbox.run(['build', '--docker-format', '-o', 'type=cacheonly,compression=zstd'], {
      cwd: project,
    })
    expect([zstd.code, zstd.stderr]).toEqual([2, expect.stringContaining('zstd')])
    writeFileSync(join(project, 'archimage.yaml'), 'services:\n  api:\n    annotations: { a: b }\n')
    const configured = await sandbox.run(push('refused', '--docker-format'), { cwd: project })
    expect([configured.code, configured.stderr]).toEqual([2, expect.stringContaining('annotation')])
    await putBase(remote('library/zstdbase'), '1', ['linux/amd64'], { zstd: true })
    const onZstd = sandbox.project('on-zstd', { 'src/a/Dockerfile': 'FROM zstdbase:1\nCOPY a /\n', 'src/a/a': 'a\n' })
    const above = await sandbox.run(push('refused', '--docker-format', '--platform', 'linux/amd64'), { cwd: onZstd })
    expect(above.code).not.toBe(0)
    expect(above.stderr).toContain('zstd')
    await sandbox.must(push('refused', '--platform', 'linux/amd64'), { cwd: onZstd })
  })
})

describe('arguments, labels, annotations', () => {
  const files = {
    'src/api/Dockerfile':
      'FROM scratch\nARG VERSION=none\nARG FROM_ENV\nLABEL version=$VERSION env=$FROM_ENV\nCOPY a /a\n',
    'src/api/a': 'a\n',
    'archimage.yaml':
      'services:\n  api:\n    args: { VERSION: "1" }\n    labels: { team: blue, both: file }\n    annotations: { note: file }\n',
  }

  test('the command line wins over the file, and each is part of the key', async () => {
    const project = sandbox.project('args', files)
    const flags = ['--build-arg', 'VERSION=2', '--build-arg', 'FROM_ENV', '--label', 'both=flag', '--label', 'empty=']
    const more = [
      '--annotation',
      'note=flag',
      '--annotation',
      'index:whole=yes',
      '--annotation',
      'index,manifest:shared=s',
    ]
    await sandbox.must(push('args', ...flags, ...more, ...BOTH), { cwd: project, env: { FROM_ENV: 'from outside' } })
    const api = remote('args/api')
    const index = await api.manifest('latest')
    expect(index.annotations).toEqual({ whole: 'yes', shared: 's' })
    for (const { digest } of index.manifests!) {
      expect((await api.manifest(digest)).annotations).toEqual({ note: 'flag', shared: 's' })
      const { config } = await api.config(digest)
      expect(config!.Labels).toEqual({ version: '2', env: 'from outside', team: 'blue', both: 'flag', empty: '' })
    }
    await sandbox.must(push('args', ...flags, ...more, ...BOTH), { cwd: project, env: { FROM_ENV: 'from outside' } })
    expect(new Set(Object.values(states(project)))).toEqual(new Set(['unchanged']))
    await sandbox.must(push('args', ...flags, ...more, ...BOTH), { cwd: project, env: { FROM_ENV: 'other' } })
    expect(new Set(Object.values(states(project)))).toEqual(new Set(['built']))
  })

  test('--target builds that stage', async () => {
    const project = sandbox.project('target', {
      'src/api/Dockerfile': 'FROM scratch AS first\nCOPY a /first\nFROM scratch AS second\nCOPY a /second\n',
      'src/api/a': 'a\n',
    })
    await sandbox.must(push('target', '--target', 'first', '--platform', 'linux/amd64'), { cwd: project })
    expect(await remote('target/api').files('latest', 'linux/amd64')).toEqual({ first: 'a\n' })
  })

  test('--build-context names directories and images', async () => {
    const project = sandbox.project('contexts', {
      'app/Dockerfile': 'FROM base\nCOPY --from=shared file /file\n',
      'shared/file': 'shared\n',
    })
    const name = `${registry.address}/contexts/app`
    const contexts = ['--build-context', 'shared=shared', '--build-context', 'base=docker-image://alpine:3']
    await sandbox.must(['build', '--push', '-t', name, '--platform', 'linux/arm64', ...contexts, './app'], {
      cwd: project,
    })
    const found = await remote('contexts/app').files('latest', 'linux/arm64')
    expect(found).toEqual({ 'etc/base': 'library/alpine:3 linux/arm64\n', file: 'shared\n' })
  })
})

describe('times', () => {
  const files = { 'src/api/Dockerfile': 'FROM scratch\nCOPY a b /\nENV A=b\n', 'src/api/a': 'a\n', 'src/api/b': 'b\n' }

  test('by default they stand for content; SOURCE_DATE_EPOCH is that moment everywhere', async () => {
    const project = sandbox.project('epoch', files)
    await sandbox.must(push('epoch', '--platform', 'linux/amd64'), { cwd: project })
    const own = await times(remote('epoch/api'), 'latest', 'linux/amd64')
    expect(new Set(own).size).toBe(1)
    expect(own[0]).toBeGreaterThanOrEqual(Date.UTC(1980, 1, 1) / 1000)
    expect(own[0]).toBeLessThan(Date.UTC(1980, 1, 1) / 1000 + 2 ** 28)
    const epoch = 1_700_000_000
    const env = { SOURCE_DATE_EPOCH: String(epoch) }
    await sandbox.must(push('epoch', '-t', 'moment', '--platform', 'linux/amd64'), { cwd: project, env })
    expect(new Set(await times(remote('epoch/api'), 'moment', 'linux/amd64'))).toEqual(new Set([epoch]))
    const config = await remote('epoch/api').config((await remote('epoch/api').entry('moment', 'linux/amd64')).digest)
    const moment = new Date(epoch * 1000).toISOString().replace('.000', '')
    expect(config['created']).toBe(moment)
    expect((config['history'] as { created: string }[]).map(entry => entry.created)).toEqual([moment, moment])
    const wrong = await sandbox.run(['build'], { cwd: project, env: { SOURCE_DATE_EPOCH: 'yesterday' } })
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('SOURCE_DATE_EPOCH')])
  })

  test('--timestamps keep: the files’ own, and they count', async () => {
    const project = sandbox.project('keep', files)
    utimesSync(join(project, 'src/api/a'), 1_600_000_000, 1_600_000_000)
    utimesSync(join(project, 'src/api/b'), 1_600_000_001, 1_600_000_001)
    const keep = push('keep', '--timestamps', 'keep', '--platform', 'linux/amd64')
    await sandbox.must(keep, { cwd: project })
    expect(await times(remote('keep/api'), 'latest', 'linux/amd64')).toEqual([1_600_000_000, 1_600_000_001])
    utimesSync(join(project, 'src/api/a'), 1_600_000_009, 1_600_000_009)
    await sandbox.must(keep, { cwd: project })
    expect(Object.values(states(project))).toEqual(['built'])
    expect(await times(remote('keep/api'), 'latest', 'linux/amd64')).toEqual([1_600_000_009, 1_600_000_001])
  })

  requirePeers('git')('--timestamps commit: the last commit’s; without a repository it is an error', async () => {
    const project = sandbox.project('commit', files)
    const commit = push('commit', '--timestamps', 'commit', '--platform', 'linux/amd64')
    const none = await sandbox.run(commit, { cwd: project })
    expect(none.code).toBe(1)
    expect(none.stderr).toContain('git')
    const git = (...args: string[]): void => {
      const date = '2022-02-02T02:02:02Z'
      const env = { ...sandbox.env(), GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date, GIT_CONFIG_NOSYSTEM: '1' }
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', ...args], {
        cwd: project,
        env,
        stdio: 'ignore',
      })
    }
    git('init', '-q')
    git('add', 'src')
    git('commit', '-q', '-m', 'first')
    await sandbox.must(commit, { cwd: project })
    const at = Date.UTC(2022, 1, 2, 2, 2, 2) / 1000
    expect(new Set(await times(remote('commit/api'), 'latest', 'linux/amd64'))).toEqual(new Set([at]))
  })
})
