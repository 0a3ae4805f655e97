import { afterAll, afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Registry, startRegistry } from '../../src/registry/server/start.ts'
import { digests, resultOf, Sandbox, simpleServices, states } from './command.ts'
import { Remote } from './images.ts'

const sandbox = new Sandbox('words')
let registry: Registry
let serial = 0

beforeEach(async () => {
  registry = await startRegistry({ port: 0 })
  serial++
})
afterEach(() => registry.close())
afterAll(() => sandbox.dispose())

const HOST = process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64'
/** As in the user's project: image names by a pattern, a tag, and no platforms in the file. */
const project = (yaml = 'image: "ai-infra-{service}"\ntag: v0.3.8\n'): string =>
  sandbox.project(`project-${serial}`, {
    ...simpleServices('backend', 'gitea'),
    'src/gitea/app.txt': `gitea ${serial}\n`,
    'archimage.yaml': yaml,
  })
const env = (): { ARCHIMAGE_HOME: string } => ({ ARCHIMAGE_HOME: join(sandbox.folder, `store-${serial}`) })
const store = async (): Promise<{ familiar: string; platforms: { architecture: string }[] }[]> =>
  JSON.parse((await sandbox.must(['ls', '--json'], { env: env() })).stdout)
const platformsOf = async (name: string): Promise<string[]> =>
  (await store()).find(image => image.familiar === name)!.platforms.map(platform => platform.architecture)

describe('all', () => {
  test('--platform=amd64,arm64: every service for both, one name for both', async () => {
    const cwd = project()
    const { stdout } = await sandbox.must(['all', '--platform=amd64,arm64'], { cwd, env: env() })
    expect(Object.keys(digests(stdout))).toEqual(['ai-infra-backend', 'ai-infra-gitea'])
    for (const name of ['backend', 'gitea'])
      expect(await platformsOf(`ai-infra-${name}:v0.3.8`)).toEqual(['amd64', 'arm64'])
    await sandbox.must(['all', '--platform=amd64,arm64'], { cwd, env: env() })
    expect(new Set(Object.values(states(cwd)))).toEqual(new Set(['unchanged']))
    await sandbox.must(['all', '--platform=amd64,arm64', '--force'], { cwd, env: env() })
    expect(new Set(Object.values(states(cwd)))).toEqual(new Set(['built']))
  })

  test('without --platform: this machine’s', async () => {
    const cwd = project('image: "ai-infra-{service}"\nplatforms: [linux/amd64, linux/arm64]\n')
    await sandbox.must(['all'], { cwd, env: env() })
    expect(Object.keys(states(cwd))).toEqual([`backend ${HOST}`, `gitea ${HOST}`])
  })

  test('a service that fails makes the exit code 1 and is named, the others are built', async () => {
    const cwd = project()
    writeFileSync(join(cwd, 'src/gitea/Dockerfile'), 'FROM scratch\nCOPY nothing /\n')
    const { code, stderr, stdout } = await sandbox.run(['all', '--platform=amd64,arm64'], { cwd, env: env() })
    expect(code).toBe(1)
    expect(stderr).toContain('src/gitea/Dockerfile:2')
    expect(Object.keys(digests(stdout))).toEqual(['ai-infra-backend'])
  })
})

describe('build-multiarch and push-all', () => {
  test('from the first document: build for both, push, one tag for both', async () => {
    const cwd = project()
    await sandbox.must(['build-multiarch', 'linux/amd64,linux/arm64'], { cwd, env: env() })
    const { stdout } = await sandbox.must(['push-all', `${registry.address}/ai-infra`, 'v0.3.8'], { cwd, env: env() })
    expect(new Set(Object.values(states(cwd)))).toEqual(new Set(['unchanged']))
    for (const name of ['backend', 'gitea']) {
      const remote = new Remote(registry, `ai-infra/ai-infra-${name}`)
      expect(await remote.tags()).toEqual(['v0.3.8'])
      const index = await remote.manifest('v0.3.8')
      expect(index.manifests!.map(entry => entry.platform)).toEqual([
        { architecture: 'amd64', os: 'linux' },
        { architecture: 'arm64', os: 'linux' },
      ])
    }
    expect(stdout).toContain(`${registry.address}/ai-infra/ai-infra-backend@sha256:`)
    expect(resultOf(cwd).services.every(service => service.verified[0]!.ok)).toBe(true)
  })

  test('short names of architectures, and mistakes', async () => {
    const cwd = project()
    await sandbox.must(['build-multiarch', 'amd64,arm64'], { cwd, env: env() })
    const wrong = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await sandbox.run(args, { cwd, env: env() })
      expect([args.join(' '), code]).toEqual([args.join(' '), 2])
      expect(stderr).toContain('→')
      return stderr
    }
    expect(await wrong('build-multiarch')).toContain('platforms are missing')
    expect(await wrong('build-multiarch', 'amd46')).toContain('linux/amd64')
    expect(await wrong('build-platform', 'amd64,arm64')).toContain('one platform at a time')
    expect(await wrong('push-all', `${registry.address}/x`)).toContain('a registry and a tag are needed')
    expect(await wrong('push-all', `${registry.address}/x`, 'not a tag')).toContain('not a tag')
    expect(await wrong('push-all', 'UPPER CASE/x', 'v1')).toContain('UPPER CASE')
    expect(await wrong('all', 'backend')).toContain('backend')
  })
})

describe('build-platform and create-manifest', () => {
  test('arm64, then amd64, then one index with both', async () => {
    const cwd = project()
    await sandbox.must(['build-platform', 'linux/arm64'], { cwd, env: env() })
    expect(await platformsOf('ai-infra-backend:v0.3.8')).toEqual(['arm64'])
    await sandbox.must(['build-platform', 'linux/amd64'], { cwd, env: env() })
    const { stdout } = await sandbox.must(['create-manifest'], { cwd, env: env() })
    expect(new Set(Object.values(states(cwd)))).toEqual(new Set(['unchanged']))
    expect((await platformsOf('ai-infra-backend:v0.3.8')).sort()).toEqual(['amd64', 'arm64'])
    const both = await sandbox.must(['all', '--platform=amd64,arm64'], { cwd, env: env() })
    expect(Object.keys(digests(both.stdout))).toEqual(Object.keys(digests(stdout)))
    await sandbox.must(['verify', '--platform', 'amd64,arm64'], { cwd, env: env() })
  })

  test('with a registry and a tag it is pushed as well', async () => {
    const cwd = project()
    await sandbox.must(['build-platform', 'linux/amd64'], { cwd, env: env() })
    await sandbox.must(['build-platform', 'linux/arm64'], { cwd, env: env() })
    await sandbox.must(['create-manifest', `${registry.address}/ai-infra`, 'v1'], { cwd, env: env() })
    const index = await new Remote(registry, 'ai-infra/ai-infra-gitea').manifest('v1')
    expect(index.manifests!.map(entry => entry.platform!.architecture).sort()).toEqual(['amd64', 'arm64'])
  })

  test('with --arch-tags the single platforms have the names of the old scripts', async () => {
    const cwd = project()
    await sandbox.must(['all', '--platform=amd64,arm64', '--arch-tags'], { cwd, env: env() })
    const names = (await store()).map(image => image.familiar)
    expect(names).toEqual([
      'ai-infra-backend:v0.3.8',
      'ai-infra-backend:v0.3.8-amd64',
      'ai-infra-backend:v0.3.8-arm64',
      'ai-infra-gitea:v0.3.8',
      'ai-infra-gitea:v0.3.8-amd64',
      'ai-infra-gitea:v0.3.8-arm64',
    ])
    await sandbox.must(['push-all', `${registry.address}/ai-infra`, 'v2', '--arch-tags'], { cwd, env: env() })
    expect((await new Remote(registry, 'ai-infra/ai-infra-backend').tags()).sort()).toEqual([
      'v2',
      'v2-amd64',
      'v2-arm64',
    ])
  })

  test('a project without a file: what was built is what there is', async () => {
    const cwd = sandbox.project(`bare-${serial}`, simpleServices('backend'))
    await sandbox.must(['build-platform', 'linux/arm64'], { cwd, env: env() })
    await sandbox.must(['push-all', `${registry.address}/bare`, 'v1'], { cwd, env: env() })
    const index = await new Remote(registry, 'bare/backend').manifest('v1')
    expect(index.manifests!.map(entry => entry.platform!.architecture)).toEqual(['arm64'])
  })
})
