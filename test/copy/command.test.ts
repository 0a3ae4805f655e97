import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { Sandbox, simpleServices } from '../run/command.ts'

const sandbox = new Sandbox('copy')
let registry: FaultyRegistry
let at: string
let digest: string

beforeAll(async () => {
  registry = await startFaultyRegistry()
  at = registry.address
  const project = sandbox.project('app', simpleServices('app'))
  for (const tag of ['1.0', '1.1', '2.0']) {
    const build = ['build', '--push', '--registry', `${at}/from`, '--tag', tag, '--platform', 'linux/amd64,linux/arm64']
    digest = (await sandbox.must(build, { cwd: project })).stdout.trim().split('@')[1]!
  }
})
afterAll(async () => {
  await registry.close()
  await sandbox.dispose()
})

const lines = (text: string): string[] => text.trim().split('\n')

describe('archimage copy', () => {
  test('says what is there afterwards, and sums up', async () => {
    const first = await sandbox.must(['copy', `${at}/from/app:1.0`, `${at}/to/app`])
    expect(lines(first.stdout)).toEqual([`${at}/to/app@${digest}`])
    expect(first.stderr).toMatch(/1 image copied; \d+ mounted/)
    const second = await sandbox.must(['copy', `${at}/from/app:1.0`, `docker://${at}/to/app:1.0`])
    expect(second.stdout).toBe(first.stdout)
    expect(second.stderr).toContain('0 images copied, 1 there already')
    expect((await sandbox.must(['copy', '-q', `${at}/from/app:1.0`, `${at}/to/app`])).stderr).toBe('')
  })

  test('patterns, all tags, regular expressions', async () => {
    await sandbox.must(['copy', `${at}/from/app:1.*`, `${at}/mirror/`])
    await sandbox.must(['copy', '-a', '--exclude', '^1', `${at}/from/app`, `${at}/some/app`])
    const tags = async (name: string) => (await (await fetch(`http://${at}/v2/${name}/tags/list`)).json()) as object
    expect(await tags('mirror/from/app')).toMatchObject({ tags: ['1.0', '1.1'] })
    expect(await tags('some/app')).toMatchObject({ tags: ['2.0'] })
    const none = await sandbox.run(['copy', `${at}/from/app:9.*`, `${at}/mirror/`])
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('no tag that was chosen, of 3') })
  })

  test('several sources into one layout; from there by tag', async () => {
    const out = join(sandbox.folder, 'layout')
    await sandbox.must(['copy', `${at}/from/app:1.0`, `${at}/from/app:2.0`, `oci:${out}`])
    const names = JSON.parse(readFileSync(join(out, 'index.json'), 'utf8')) as { manifests: { annotations: object }[] }
    expect(names.manifests.map(({ annotations }) => Object.values(annotations)[1])).toEqual([
      `${at}/from/app:1.0`,
      `${at}/from/app:2.0`,
    ])
    const back = await sandbox.must(['copy', `oci:${out}:2.0`, `${at}/back/app`])
    expect(lines(back.stdout)).toEqual([`${at}/back/app@${digest}`])
    expect((await fetch(`http://${at}/v2/back/app/manifests/2.0`)).status).toBe(200)
  })

  test('one that fails does not hold up the others; the exit code tells', async () => {
    const { code, stdout, stderr } = await sandbox.run([
      'copy',
      `${at}/from/app:9`,
      `${at}/from/nothing:*`,
      `${at}/from/app:1.0`,
      `${at}/partly/app`,
    ])
    expect(code).toBe(1)
    expect(lines(stdout)).toEqual([`${at}/partly/app@${digest}`])
    expect(stderr).toContain(`source: ${at}/from/app:9 does not exist`)
    expect(stderr).toContain('1 image copied, 2 failed')
  })

  test('an archive that would lack something is not written', async () => {
    const out = join(sandbox.folder, 'lacking.tar')
    const images = [`${at}/from/app:1.0`, `${at}/from/app:9`]
    const lacking = await sandbox.run(['copy', ...images, `oci-archive:${out}`])
    expect(lacking).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('was not written') })
    expect(existsSync(out)).toBe(false)
    await sandbox.must(['copy', `${at}/from/app:1.*`, `oci-archive:${out}`])
    const back = await sandbox.must(['copy', '-a', `oci-archive:${out}`, `${at}/unpacked/`])
    expect(lines(back.stdout)).toHaveLength(2)
  })

  test('what a place has no room for is said before anything is copied, and not called done', async () => {
    const out = join(sandbox.folder, 'docker.tar')
    const before = registry.requests.length
    const copied = await sandbox.run(['copy', `${at}/from/app:1.0`, `docker-archive:${out}`])
    expect(copied).toMatchObject({ code: 2, stdout: '' })
    expect(copied.stderr).toContain('has linux/amd64, linux/arm64, and one name holds one platform there')
    expect(copied.stderr).not.toMatch(/^[✓+] /m)
    const asked = registry.requests.slice(before).map(({ path }) => path)
    expect(asked.filter(path => path.includes('/blobs/'))).toEqual([])
    const planned = await sandbox.run(['copy', '--dry-run', `${at}/from/app:1.0`, `docker-archive:${out}`])
    expect(planned).toMatchObject({ code: 2, stderr: expect.stringContaining('one name holds one platform there') })
  })

  test('an archive is not called done before it is where it should be', async () => {
    const folder = join(sandbox.folder, 'taken.tar')
    mkdirSync(folder)
    const { code, stderr } = await sandbox.run(['copy', `${at}/from/app:1.0`, `oci-archive:${folder}`])
    expect(code).not.toBe(0)
    expect(stderr).toContain('is a folder')
    const good = await sandbox.must(['copy', `${at}/from/app:1.0`, `oci-archive:${join(folder, 'a.tar')}`])
    expect(good.stderr).toMatch(/^[✓+] /m)
    const partly = join(sandbox.folder, 'partly.tar')
    const held = await sandbox.run(['copy', `${at}/from/app:1.0`, `${at}/from/app:9`, `oci-archive:${partly}`])
    expect(held.code).toBe(1)
    expect(held.stderr).toContain('was not written')
    expect(held.stderr).toContain('0 images copied, 2 failed')
    expect(held.stderr).not.toMatch(/^[✓+] /m)
  })

  test('a plan, for people and for programs, and nothing is written', async () => {
    const plan = await sandbox.must(['copy', '--dry-run', `${at}/from/app:1.0`, `${at}/planned/app`])
    expect(plan.stdout).toContain('linux/amd64, linux/arm64')
    const json = await sandbox.must(['copy', '--dry-run', '--json', `${at}/from/app:1.0`, `${at}/planned/app:x`])
    expect(JSON.parse(json.stdout)).toMatchObject({
      version: 1,
      images: [{ state: 'copy', digest, result: digest, tags: [{ tag: 'x' }], manifests: [{}, {}, { digest }] }],
    })
    expect((await fetch(`http://${at}/v2/planned/app/tags/list`)).status).toBe(404)
  })

  test('results as JSON, digests in a file, further tags', async () => {
    const file = join(sandbox.folder, 'digest')
    const { stdout } = await sandbox.must([
      ...['copy', '--json', '--digestfile', file, '--additional-tag', 'stable'],
      ...[`${at}/from/app:1.0`, `${at}/json/app:x`],
    ])
    expect(JSON.parse(stdout)).toMatchObject({ images: [{ state: 'copied', digest, tags: ['x', 'stable'] }] })
    expect(readFileSync(file, 'utf8')).toBe(digest)
    expect((await fetch(`http://${at}/v2/json/app/manifests/stable`)).status).toBe(200)
  })

  test('what is wrong is said by name', async () => {
    const cases: readonly (readonly [readonly string[], string])[] = [
      [['a:1'], 'needs a source and a destination'],
      [['--plattform', 'linux/amd64', 'a:1', 'b:1'], 'did you mean "--platform"?'],
      [['--sign-by', 'me', 'a:1', 'b:1'], '--sign-by is not supported: images are not signed'],
      [['--compression', 'zstd', '--format', 'docker', 'a:1', 'b:1'], "Docker's format has no zstd layers"],
      [['--format', 'v2s1', 'a:1', 'b:1'], "Docker's schema 1"],
      [['--sparse', 'a:1', 'b:1'], '--sparse needs --platform'],
      [['-a', `${at}/from/app:1.0`, `${at}/b`], 'names one image, and all tags'],
      [['-a', `${at}/from/app`, `${at}/b:1`], 'cannot all become'],
      [[`${at}/from/app:1.0`, `${at}/other/app:1.0`, `${at}/b`], 'would both become'],
      [['--platform', 'linux/arm65', 'a:1', 'b:1'], 'did you mean "linux/arm64"?'],
    ]
    for (const [args, words] of cases) {
      const { code, stderr } = await sandbox.run(['copy', ...args])
      expect([args, code, stderr]).toEqual([args, 2, expect.stringContaining(words)])
    }
  })

  test('credentials of one end go to that end alone', async () => {
    const closed = await startFaultyRegistry()
    closed.faults.requireAuth = { kind: 'basic', user: 'robot', password: 'hidden-word' }
    registry.requests.length = 0
    try {
      const to = `${closed.address}/to/app`
      const denied = await sandbox.run(['copy', `${at}/from/app:1.0`, to])
      expect(denied).toMatchObject({ code: 3, stderr: expect.stringContaining('destination: ') })
      const copied = await sandbox.must(['copy', '--dest-creds', 'robot:hidden-word', `${at}/from/app:1.0`, to])
      expect(copied.stderr + copied.stdout).not.toContain('hidden-word')
      expect(registry.requests.some(({ headers }) => headers['authorization'] !== undefined)).toBe(false)
    } finally {
      await closed.close()
    }
  })
})
