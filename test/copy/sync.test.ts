import { afterAll, beforeAll, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { Sandbox, simpleServices } from '../run/command.ts'

const sandbox = new Sandbox('sync')
let from: FaultyRegistry
let to: FaultyRegistry

beforeAll(async () => {
  ;[from, to] = await Promise.all([startFaultyRegistry(), startFaultyRegistry()])
  const project = sandbox.project('app', simpleServices('api', 'web'))
  for (const tag of ['1.0.0', '1.1.0', '2.0.0', 'edge']) {
    const build = ['build', '--push', '--registry', `${from.address}/team`, '--tag', tag, '--platform', 'amd64,arm64']
    await sandbox.must(build, { cwd: project })
  }
  from.faults.requireAuth = { kind: 'basic', user: 'robot', password: 'hidden-word' }
})
afterAll(async () => {
  await Promise.all([from.close(), to.close()])
  await sandbox.dispose()
})

const file = (name: string, text: string): string => {
  const path = join(sandbox.folder, name)
  writeFileSync(path, text)
  return path
}
const tags = async (repository: string): Promise<unknown> =>
  ((await (await fetch(`http://${to.address}/v2/${repository}/tags/list`)).json()) as { tags?: unknown }).tags

test("skopeo's file: tags, patterns, versions; a second time costs HEADs alone", async () => {
  const yaml = file(
    'skopeo.yaml',
    `${from.address}:
  images: {team/api: [edge]}
  images-by-semver: {team/web: ^1}
  credentials: {username: robot, password: hidden-word}
`,
  )
  const dry = await sandbox.must(['sync', '--dry-run', yaml, `${to.address}/mirror`])
  expect(dry.stdout).toContain(`${from.address}/team/web:1.1.0 → ${to.address}/mirror/web:1.1.0`)
  expect(await tags('mirror/api')).toBeUndefined()
  const first = await sandbox.must(['sync', '--src', 'yaml', '--dest', 'docker', '--all', yaml, `${to.address}/mirror`])
  expect(first.stderr).toContain('3 images copied')
  expect(first.stdout + first.stderr).not.toContain('hidden-word')
  expect([await tags('mirror/api'), await tags('mirror/web')]).toEqual([['edge'], ['1.0.0', '1.1.0']])
  from.requests.length = to.requests.length = 0
  expect((await sandbox.must(['sync', yaml, `${to.address}/mirror`])).stderr).toContain('3 there already')
  expect(from.requests.filter(({ method, path }) => method === 'GET' && path.includes('/manifests/'))).toEqual([])
  expect(to.requests.filter(({ method }) => method !== 'HEAD')).toEqual([])
  await sandbox.must(['sync', '--append-suffix=-x', yaml, `${to.address}/suffixed`])
  expect(await tags('suffixed/api')).toEqual(['edge-x'])
  // A registry with a port cannot be a part of a repository's name.
  const scoped = await sandbox.run(['sync', '--scoped', yaml, `${to.address}/scoped`])
  expect(scoped).toMatchObject({ code: 2, stderr: expect.stringContaining('is not a repository name') })
})

test("regsync's file: a registry, a repository, an image; what fails is told and holds nothing up", async () => {
  const yaml = file(
    'regsync.yml',
    `version: 1
creds:
  - {registry: "${from.address}", user: robot, pass: '{{ env "THE_PASSWORD" }}', tls: disabled}
sync:
  - {source: "${from.address}", target: "${to.address}/all", type: registry, repos: {deny: ['.*/web']}, tags: {deny: [edge]}}
  - {source: "${from.address}/team/nothing:1", target: "${to.address}/nothing:1", type: image}
  - {source: "${from.address}/team/web:edge", target: "${to.address}/one/web:newest", type: image}
`,
  )
  const { code, stderr } = await sandbox.run(['sync', yaml], { env: { THE_PASSWORD: 'hidden-word' } })
  expect(stderr).toContain('4 images copied, 1 failed')
  expect(stderr).toContain(`source: ${from.address}/team/nothing:1 does not exist`)
  expect(code).toBe(1)
  expect([await tags('all/team/api'), await tags('all/team/web'), await tags('one/web')]).toEqual([
    ['1.0.0', '1.1.0', '2.0.0'],
    undefined,
    ['newest'],
  ])
})

test('a repository without a file; what is not done by name', async () => {
  const creds = ['--src-creds', 'robot:hidden-word']
  await sandbox.must(['sync', ...creds, '--src', 'docker', `${from.address}/team/api`, `${to.address}/plain`])
  expect(await tags('plain/api')).toEqual(['1.0.0', '1.1.0', '2.0.0', 'edge'])
  for (const [args, words] of [
    [['--src', 'dir', '/tmp/x', 'y.io'], '--src dir is not supported'],
    [['nowhere.yaml'], 'there is no file nowhere.yaml'],
  ] as const) {
    const { code, stderr } = await sandbox.run(['sync', ...args])
    expect([code, stderr]).toEqual([2, expect.stringContaining(words)])
  }
})
