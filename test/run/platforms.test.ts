import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { resultOf, Sandbox, simpleServices, states } from './command.ts'
import { putBase, putImage, Remote } from './images.ts'

const sandbox = new Sandbox('platforms')
let registry: FaultyRegistry

beforeAll(async () => {
  registry = await startFaultyRegistry()
  sandbox.mirror(registry.address)
  const base = (name: string): Remote => new Remote(registry, `library/${name}`)
  await putBase(base('multi'), '1', ['linux/amd64', 'linux/arm64', 'linux/arm/v6', 'linux/386'])
  await putBase(base('newer'), '1', ['linux/amd64/v3', 'linux/arm/v7'])
  await putBase(base('only386'), '1', ['linux/386'])
  await putBase(base('armv7'), '1', ['linux/arm/v7'])
  const single = await putImage(base('single'), {
    platform: { os: 'linux', architecture: 'amd64' },
    files: { a: 'a\n' },
  })
  await base('single').putManifest('1', (await base('single').manifest(single.digest)) as never)
  const lie = await putImage(base('liar'), {
    platform: { os: 'linux', architecture: 'arm64' },
    configPlatform: { os: 'linux', architecture: 'amd64' },
    files: { a: 'a\n' },
  })
  const type = 'application/vnd.oci.image.index.v1+json'
  await base('liar').putManifest('1', { schemaVersion: 2, mediaType: type, manifests: [lie] })
  await base('windows').putManifest('1', {
    schemaVersion: 2,
    mediaType: type,
    manifests: await Promise.all(
      ['10.0.17763.1', '10.0.20348.2'].map(async version => {
        const platform = { os: 'windows', architecture: 'amd64', 'os.version': version }
        return putImage(base('windows'), {
          platform,
          files: { Files: undefined, 'Files/v.txt': `${version}\n`, Hives: undefined },
        })
      }),
    ),
  })
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

let serial = 0
const on = (from: string, yaml = ''): string =>
  sandbox.project(`project-${++serial}`, {
    ...(yaml === '' ? {} : { 'archimage.yaml': yaml }),
    'src/api/Dockerfile': `FROM ${from}\nCOPY app.txt /\n`,
    'src/api/app.txt': `app ${serial}\n`,
  })
const build = (platforms: string, ...more: string[]): string[] => ['build', '--platform', platforms, ...more]

async function expectRefused(project: string, platform: string, ...parts: string[]): Promise<void> {
  const { code, stderr, stdout } = await sandbox.run(build(platform), { cwd: project })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain('src/api/Dockerfile:1')
  for (const part of parts) expect(stderr).toContain(part)
  expect(stderr).toContain('→')
}

describe('strict platforms', () => {
  test('a lower variant serves, and matrix and plan show it', async () => {
    const project = on('multi:1')
    const name = `${registry.address}/variants`
    const { stderr } = await sandbox.must(build('linux/arm/v7,linux/amd64', '--push', '--registry', name), {
      cwd: project,
    })
    expect(stderr).toContain('^ a base image exists for a lower variant only: linux/arm/v6')
    expect(resultOf(project).cells.map(cell => cell.fallback)).toEqual(['linux/arm/v6', undefined])
    const files = await new Remote(registry, 'variants/api').files('latest', 'linux/arm/v7')
    expect(files['etc/base']).toBe('library/multi:1 linux/arm/v6\n')
    const plan = await sandbox.must(['plan', '--platform', 'linux/arm/v7'], { cwd: project })
    expect(plan.stdout + plan.stderr).toContain('linux/arm/v6')
  })

  test('never a higher variant', async () => {
    await expectRefused(on('newer:1'), 'linux/arm/v6', 'newer:1', 'linux/arm/v6', 'linux/arm/v7')
    await expectRefused(on('newer:1'), 'linux/amd64', 'linux/amd64/v3')
  })

  test('never 386 for amd64, nor arm for arm64', async () => {
    await expectRefused(on('only386:1'), 'linux/amd64', 'it has linux/386')
    await expectRefused(on('armv7:1'), 'linux/arm64', 'it has linux/arm/v7')
  })

  test('a base without the platform fails that cell only', async () => {
    const project = on('multi:1')
    const { code, stderr } = await sandbox.run(build('linux/amd64,linux/s390x'), { cwd: project })
    expect(code).toBe(1)
    expect(stderr).toContain('multi:1 has no image for linux/s390x')
    expect(states(project)).toEqual({ 'api linux/amd64': 'built', 'api linux/s390x': 'failed' })
  })

  test('a single-manifest base counts by its config', async () => {
    const project = on('single:1')
    await sandbox.must(build('linux/amd64'), { cwd: project })
    await expectRefused(project, 'linux/arm64', 'single:1', 'linux/amd64')
  })

  test('an index that says one thing and a config that says another', async () => {
    await expectRefused(
      on('liar:1'),
      'linux/arm64',
      'the index says linux/arm64',
      'the config of that image says linux/amd64',
    )
  })

  test('a final stage that is pinned to another platform, and the way out', async () => {
    const project = on('--platform=linux/amd64 multi:1')
    const { code, stderr } = await sandbox.run(build('linux/arm64'), { cwd: project })
    expect(code).not.toBe(0)
    expect(stderr).toContain('src/api/Dockerfile:1')
    expect(stderr).toContain('platform-exception')
    const yaml =
      'services:\n  api:\n    platform-exception: "the program is interpreted, and its runtime exists for amd64 only"\n'
    writeFileSync(join(project, 'archimage.yaml'), yaml)
    const allowed = await sandbox.must(build('linux/arm64', '--push', '--registry', `${registry.address}/exception`), {
      cwd: project,
    })
    expect(allowed.stderr).toContain('the program is interpreted')
  })

  test('stages pinned to the build platform are allowed', async () => {
    const project = sandbox.project('pinned', {
      'src/api/Dockerfile':
        'FROM --platform=$BUILDPLATFORM multi:1 AS build\nCOPY app.txt /out\nFROM multi:1\nARG TARGETARCH\nCOPY --from=build /out /etc/base /from-build/\n',
      'src/api/app.txt': 'app\n',
    })
    await sandbox.must(build('linux/arm64', '--push', '--registry', `${registry.address}/pinned`), { cwd: project })
    const files = await new Remote(registry, 'pinned/api').files('latest', 'linux/arm64')
    const host = process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64'
    expect(files).toMatchObject({
      'etc/base': 'library/multi:1 linux/arm64\n',
      'from-build/base': `library/multi:1 ${host}\n`,
    })
  })

  test('windows: the first version that matches, or the one that is named', async () => {
    const project = on('windows:1')
    const push = (platform: string, tag: string): string[] =>
      build(platform, '--push', '--registry', `${registry.address}/windows`, '-t', tag)
    await sandbox.must(push('windows/amd64', 'first'), { cwd: project })
    const remote = new Remote(registry, 'windows/api')
    expect((await remote.manifest('first')).manifests![0]!.platform).toEqual({
      os: 'windows',
      architecture: 'amd64',
      'os.version': '10.0.17763.1',
    })
    await sandbox.must(push('windows(10.0.20348)/amd64', 'second'), { cwd: project })
    expect((await remote.manifest('second')).manifests![0]!.platform!['os.version']).toBe('10.0.20348.2')
    await sandbox.must(
      ['verify', '--registry', `${registry.address}/windows`, '-t', 'second', '--platform', 'windows/amd64'],
      { cwd: project },
    )
  })
})

describe('the platforms of a project', () => {
  test('aliases are one platform, in the order given', async () => {
    const project = sandbox.project('aliases', simpleServices('api'))
    await sandbox.must(build('aarch64,x86_64,linux/arm64/v8,arm'), { cwd: project })
    expect(Object.keys(states(project))).toEqual(['api linux/arm64', 'api linux/amd64', 'api linux/arm/v7'])
  })

  test('a service with a list of its own is built for those of it that are asked for', async () => {
    const project = sandbox.project('own', {
      ...simpleServices('api', 'web'),
      'archimage.yaml':
        'platforms: [linux/amd64]\nservices:\n  web: { platforms: [linux/amd64, linux/riscv64] }\n  api: {}\n',
    })
    await sandbox.must(['build'], { cwd: project })
    expect(Object.keys(states(project)).sort()).toEqual(['api linux/amd64', 'web linux/amd64', 'web linux/riscv64'])
    await sandbox.must(build('linux/riscv64,linux/arm64'), { cwd: project })
    expect(Object.keys(states(project)).sort()).toEqual(['api linux/arm64', 'api linux/riscv64', 'web linux/riscv64'])
    await sandbox.must(['verify', '--platform', 'linux/riscv64'], { cwd: project })
    await sandbox.must(build('linux/arm64', '--atomic'), { cwd: project })
    expect(resultOf(project).services.map(service => service.service)).toEqual(['api'])
    await sandbox.must(['verify', '--platform', 'linux/arm64'], { cwd: project })
  })

  test('a part of what the project file lists is built, but not published', async () => {
    const project = sandbox.project('part', {
      ...simpleServices('api'),
      'archimage.yaml': `registry: ${registry.address}/part\nplatforms: [linux/amd64, linux/arm64]\n`,
    })
    await sandbox.must(build('linux/arm64'), { cwd: project })
    const { code, stderr } = await sandbox.run(build('linux/arm64', '--push'), { cwd: project })
    expect(code).toBe(2)
    expect(stderr).toContain('without linux/amd64')
    expect(await new Remote(registry, 'part/api').tags()).toEqual([])
  })

  test('Dockerfiles per platform are taken without configuration', async () => {
    const project = sandbox.project('files', {
      'archimage.yaml': 'platforms: [linux/amd64, linux/arm64]\n',
      'src/api/Dockerfile.amd64': 'FROM scratch\nCOPY a /amd\n',
      'src/api/Dockerfile.arm64': 'FROM scratch\nCOPY a /arm\n',
      'src/api/a': 'a\n',
    })
    await sandbox.must(['build', '--push', '--registry', `${registry.address}/files`], { cwd: project })
    const remote = new Remote(registry, 'files/api')
    expect(await remote.files('latest', 'linux/amd64')).toEqual({ amd: 'a\n' })
    expect(await remote.files('latest', 'linux/arm64')).toEqual({ arm: 'a\n' })
    const { code, stderr } = await sandbox.run(build('linux/s390x'), { cwd: project })
    expect(code).not.toBe(0)
    expect(stderr).toContain('linux/s390x')
  })
})
