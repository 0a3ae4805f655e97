import { afterAll, afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { requirePeers } from '../peers/require.ts'
import { resultOf, Sandbox, simpleServices, states } from './command.ts'
import { putBase, putImage, Remote } from './images.ts'

const sandbox = new Sandbox('faults')
let registry: FaultyRegistry
let serial = 0

beforeEach(async () => {
  registry = await startFaultyRegistry()
  serial++
})
afterEach(() => registry.close())
afterAll(() => sandbox.dispose())

const env = (): { ARCHIMAGE_HOME: string } => ({ ARCHIMAGE_HOME: join(sandbox.folder, `store-${serial}`) })
const push = (...more: string[]): string[] => ['build', '--push', '--registry', `${registry.address}/team`, ...more]
const base = (name: string): Remote => new Remote(registry, `library/${name}`)
const onBase = (name: string): Record<string, string> => ({
  'src/app/Dockerfile': `FROM ${registry.address}/library/${name}\nWORKDIR /etc/app\nCOPY app.txt .\n`,
  'src/app/app.txt': 'app\n',
})

describe('a registry with bad moments', () => {
  test('500 twice and then well again: the build and the push succeed', async () => {
    await putBase(base('alpine'), '3')
    const project = sandbox.project(`500-${serial}`, onBase('alpine:3'))
    registry.faults.failFirst = [
      { status: 500, times: 2, match: /GET .*library\/alpine\/manifests\/3/ },
      { status: 500, times: 2, match: /(PUT|POST) .*team\/app\/blobs/ },
      { status: 503, times: 2, match: /PUT .*team\/app\/manifests\/latest/ },
    ]
    await sandbox.must(push('--platform', 'amd64,arm64'), { cwd: project, env: env() })
    expect(await new Remote(registry, 'team/app').tags()).toEqual(['latest'])
    expect(registry.requests.filter(request => request.status >= 500)).toHaveLength(6)
  })

  test('429 with Retry-After: it waits as long as it is told', async () => {
    await putBase(base('alpine'), '3')
    const project = sandbox.project(`429-${serial}`, onBase('alpine:3'))
    registry.faults.failFirst = { status: 429, times: 1, retryAfter: 1, match: /library\/alpine/ }
    const { seconds } = await sandbox.must(push(), { cwd: project, env: env() })
    expect(seconds).toBeGreaterThan(1)
    expect(seconds).toBeLessThan(10)
  })

  test('429 for good: what it is, exit code 1', async () => {
    const project = sandbox.project(`429always-${serial}`, simpleServices('a'))
    registry.faults.failFirst = { status: 429, times: 1000, retryAfter: 0, match: /team/ }
    const { code, stderr } = await sandbox.run(push(), { cwd: project, env: env() })
    expect(code).toBe(1)
    expect(stderr).toContain('429')
    expect(stderr).toContain('→')
  })
})

describe('a base that is not what it says', () => {
  test('a truncated blob, a blob of other bytes', async () => {
    await putBase(base('alpine'), '3')
    const project = sandbox.project(`cut-${serial}`, onBase('alpine:3'))
    for (const fault of ['truncateBlob', 'corruptBlob', 'lengthenBlob'] as const) {
      registry.faults[fault] = {}
      const { code, stderr } = await sandbox.run(['build'], { cwd: project, env: env() })
      delete registry.faults[fault]
      expect([fault, code]).toEqual([fault, 1])
      expect(stderr).toMatch(/sha256:[0-9a-f]{12}/)
      expect(stderr).not.toContain('bug in archimage')
      expect(states(project)).toEqual({ 'app linux/amd64': 'failed' })
      expect(readdirSync(join(env().ARCHIMAGE_HOME, 'tmp'))).toEqual([])
    }
    await sandbox.must(['build'], { cwd: project, env: env() })
  })

  test('a manifest whose sizes are wrong', async () => {
    registry.faults.lenient = true
    const image = await putImage(base('wrong'), {
      platform: { os: 'linux', architecture: 'amd64' },
      files: { etc: undefined, 'etc/a': 'a\n' },
    })
    const manifest = await base('wrong').manifest(image.digest)
    manifest.layers![0]!.size += 7
    await base('wrong').putManifest('1', manifest as never)
    const project = sandbox.project(`size-${serial}`, onBase('wrong:1'))
    const { code, stderr } = await sandbox.run(['build'], { cwd: project, env: env() })
    expect(code).toBe(1)
    expect(stderr).toContain(manifest.layers![0]!.digest.slice(0, 19))
    expect(stderr).toMatch(/size|bytes/)
    expect(stderr).not.toContain('bug in archimage')
  })

  test('an index that says another size, and one that leads nowhere', async () => {
    registry.faults.lenient = true
    const image = await putImage(base('lost'), {
      platform: { os: 'linux', architecture: 'amd64' },
      files: { a: 'a\n' },
    })
    const type = 'application/vnd.oci.image.index.v1+json'
    const index = (entry: object) => ({ schemaVersion: 2, mediaType: type, manifests: [entry] })
    await base('lost').putManifest('size', index({ ...image, size: image.size + 1 }))
    await base('lost').putManifest('gone', index({ ...image, digest: `sha256:${'0'.repeat(64)}` }))
    const project = sandbox.project(`index-${serial}`, onBase('lost:size'))
    const wrong = await sandbox.run(['build'], { cwd: project, env: env() })
    expect(wrong.code).toBe(1)
    expect(wrong.stderr).toContain('size')
    writeFileSync(join(project, 'src/app/Dockerfile'), `FROM ${registry.address}/library/lost:gone\n`)
    const gone = await sandbox.run(['build'], { cwd: project, env: env() })
    expect(gone.code).toBe(1)
    expect(gone.stderr).toContain('src/app/Dockerfile:1')
    expect(gone.stderr).toContain('0000000000')
    expect(gone.stderr).not.toContain('bug in archimage')
  })

  test('a layer that is no tar, and one that leads out of its directory', async () => {
    await putBase(base('escape'), '1', ['linux/amd64'], { files: { '../outside': 'x\n' } })
    const project = sandbox.project(`tar-${serial}`, onBase('escape:1'))
    const { code, stderr } = await sandbox.run(['build'], { cwd: project, env: env() })
    expect(code).toBe(1)
    expect(stderr).toContain('../outside')
    expect(stderr).not.toContain('bug in archimage')
  })

  test('a name that does not exist: the line, exit code 1', async () => {
    const project = sandbox.project(`none-${serial}`, onBase('nosuch:1'))
    const { code, stderr } = await sandbox.run(['build'], { cwd: project, env: env() })
    expect(code).toBe(1)
    expect(stderr).toContain('src/app/Dockerfile:1')
    expect(stderr).toContain('nosuch:1')
  })
})

describe('without the registry', () => {
  test('an unchanged build succeeds with the last known digest and says so; --pull forbids it', async () => {
    await putBase(base('alpine'), '3')
    const project = sandbox.project(`stopped-${serial}`, onBase('alpine:3'))
    const first = await sandbox.must(['build'], { cwd: project, env: env() })
    await registry.close()
    const second = await sandbox.must(['build'], { cwd: project, env: env() })
    expect(second.stdout).toBe(first.stdout)
    expect(states(project)).toEqual({ 'app linux/amd64': 'unchanged' })
    expect(second.stderr).toMatch(/warning: .*cannot be reached.*alpine:3 is taken as it was last seen/)
    expect(resultOf(project).warnings).toHaveLength(1)
    const pull = await sandbox.run(['build', '--pull'], { cwd: project, env: env() })
    expect(pull.code).toBe(3)
    expect(pull.stderr).toContain('cannot be reached')
    expect(pull.stderr).toContain('src/app/Dockerfile:1')
    // A changed build too: the base's layers are here already.
    writeFileSync(join(project, 'src/app/app.txt'), 'changed\n')
    await sandbox.must(['build'], { cwd: project, env: env() })
    expect(states(project)).toEqual({ 'app linux/amd64': 'built' })
  })

  test('a push fails with exit code 3, and what was built stays', async () => {
    const project = sandbox.project(`pushing-${serial}`, simpleServices('a'))
    await registry.close()
    const { code, stderr, stdout } = await sandbox.run(push(), { cwd: project, env: env() })
    expect(code).toBe(3)
    expect(stdout).toBe('')
    expect(stderr).toContain('cannot be reached')
    expect(stderr).toContain('a not published')
    expect(states(project)).toEqual({ 'a linux/amd64': 'built' })
  })

  test('--offline asks nobody: what is known is used, what is not is an error', async () => {
    await putBase(base('alpine'), '3')
    const project = sandbox.project(`offline-${serial}`, onBase('alpine:3'))
    const early = await sandbox.run(['build', '--offline'], { cwd: project, env: env() })
    expect(early.code).toBe(3)
    expect(early.stderr).toContain('--offline')
    await sandbox.must(['build'], { cwd: project, env: env() })
    registry.requests.length = 0
    await sandbox.must(['build', '--offline'], { cwd: project, env: env() })
    expect(states(project)).toEqual({ 'app linux/amd64': 'unchanged' })
    const both = await sandbox.run(push('--offline'), { cwd: project, env: env() })
    expect(both.code).not.toBe(0)
    expect(registry.requests).toEqual([])
  })

  test('a base that moved is seen at the next build, without --pull', async () => {
    const first = await putBase(base('alpine'), '3')
    const project = sandbox.project(`moved-${serial}`, onBase('alpine:3'))
    const one = await sandbox.must(['build'], { cwd: project, env: env() })
    const second = await putBase(base('alpine'), '3', ['linux/amd64'], {
      files: { etc: undefined, 'etc/base': 'new\n' },
    })
    expect(second).not.toBe(first)
    const two = await sandbox.must(['build'], { cwd: project, env: env() })
    expect(two.stdout).not.toBe(one.stdout)
    expect(states(project)).toEqual({ 'app linux/amd64': 'built' })
    // And back again: what was seen last is what counts.
    await putBase(base('alpine'), '3')
    expect((await sandbox.must(['build'], { cwd: project, env: env() })).stdout).toBe(one.stdout)
    expect((await sandbox.must(['build', '--offline'], { cwd: project, env: env() })).stdout).toBe(one.stdout)
  })
})

describe('credentials', () => {
  test('that are missing: exit code 3 and the remedy; from auth.json they serve', async () => {
    registry.faults.requireAuth = { kind: 'basic', user: 'me', password: 'secret' }
    const project = sandbox.project(`auth-${serial}`, simpleServices('a'))
    const { code, stderr } = await sandbox.run(push(), { cwd: project, env: env() })
    expect(code).toBe(3)
    expect(stderr).toContain(`archimage login ${registry.address}`)
    const file = join(sandbox.folder, `auth-${serial}.json`)
    writeFileSync(file, JSON.stringify({ auths: { [registry.address]: { auth: btoa('me:secret') } } }))
    const good = await sandbox.must(push(), { cwd: project, env: { ...env(), REGISTRY_AUTH_FILE: file } })
    expect(good.stderr + good.stdout).not.toContain('secret')
  })
})

requirePeers('root')(
  'a disk that is full: exit code 3, nothing under a final name, and it works again with room',
  async () => {
    const home = join(sandbox.folder, `full-${serial}`)
    mkdirSync(home)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', home])
    try {
      const bytes = crypto.getRandomValues(new Uint8Array(60_000))
      const big = Buffer.concat(Array.from({ length: 60 }, (_, i) => Buffer.concat([Buffer.from([i]), bytes])))
      const random = Buffer.from(big.map((byte, i) => byte ^ ((i * 2654435761) >>> 13)))
      const project = sandbox.project(`full-project-${serial}`, {
        'src/a/Dockerfile': 'FROM scratch\nCOPY big /big\n',
        'src/a/big': random,
      })
      const { code, stderr } = await sandbox.run(['build'], { cwd: project, env: { ARCHIMAGE_HOME: home } })
      expect(code).toBe(3)
      expect(stderr).toContain('NO_SPACE')
      expect(stderr).toContain('archimage cache prune')
      expect(stderr).not.toContain('bug in archimage')
      expect(readdirSync(join(home, 'tmp'))).toEqual([])
      execFileSync('mount', ['-o', 'remount,size=32m', home])
      await sandbox.must(['build'], { cwd: project, env: { ARCHIMAGE_HOME: home } })
    } finally {
      execFileSync('umount', [home])
    }
  },
)
