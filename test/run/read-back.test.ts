import { afterAll, afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { type Ended, resultOf, Sandbox, simpleServices } from './command.ts'
import { putImage, Remote } from './images.ts'

const sandbox = new Sandbox('read-back')
let registry: FaultyRegistry
let serial = 0

beforeEach(async () => {
  registry = await startFaultyRegistry()
  serial++
})
afterEach(() => registry.close())
afterAll(() => sandbox.dispose())

const FLAGS = ['--platform', 'linux/amd64,linux/arm64']
const at = (): string => `${registry.address}/team`
const push = (...more: string[]): string[] => ['build', '--push', '--registry', at(), ...FLAGS, ...more]
const verify = (...more: string[]): string[] => ['verify', '--registry', at(), ...FLAGS, ...more]
const a = (): Remote => new Remote(registry, 'team/a')
const project = (): string =>
  sandbox.project(`project-${serial}`, {
    ...simpleServices('a', 'b'),
    'src/a/Dockerfile': 'FROM scratch\nARG TARGETARCH\nCOPY <<EOF /arch\n$TARGETARCH\nEOF\nCOPY app.txt /\n',
  })

/** Once the tag is written, these answer 404, as if the registry had lost them. */
function loses(what: RegExp): void {
  let written = false
  registry.faults.answer = request => {
    const line = `${request.method} ${new URL(request.url).pathname}`
    if (written && /^(GET|HEAD) /.test(line) && what.test(line))
      return Response.json({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'lost' }] }, { status: 404 })
    if (line === 'PUT /v2/team/a/manifests/latest') written = true
    return undefined
  }
}

const problemsOf = (path: string): readonly string[] =>
  resultOf(path).services.find(service => service.service === 'a')!.verified[0]!.problems

function expectWrong({ code, stdout, stderr }: Ended): void {
  expect(code).toBe(1)
  expect(stderr).not.toContain('bug in archimage')
  expect(stdout).not.toContain('/team/a@')
}

describe('a registry that is not to be trusted', () => {
  test('loses the tag', async () => {
    const path = project()
    loses(/team\/a\/manifests\/latest$/)
    const ended = await sandbox.run(push(), { cwd: path })
    expectWrong(ended)
    expect(problemsOf(path)).toEqual(['"latest" is not there'])
    expect(ended.stderr).toContain('a: what is now in')
    expect(ended.stdout).toContain('/team/b@')
  })

  test('loses the manifest of one platform', async () => {
    const path = project()
    await sandbox.must(push(), { cwd: path })
    const { digest } = await a().entry('latest', 'linux/arm64')
    await a().delete('manifests', digest)
    const wrong = await sandbox.run(verify(), { cwd: path })
    expectWrong(wrong)
    expect(wrong.stdout).toContain(`linux/arm64: its manifest ${digest} is not there`)
    expect(wrong.stdout).toMatch(/right +\S+\/team\/b:latest@/)
    // The next push finds out and sends it again.
    await sandbox.must(push(), { cwd: path })
    await sandbox.must(verify(), { cwd: path })
  })

  test('loses a layer', async () => {
    const path = project()
    await sandbox.must(push(), { cwd: path })
    const manifest = await a().manifest((await a().entry('latest', 'linux/amd64')).digest)
    const { digest, size } = manifest.layers![0]!
    await a().delete('blobs', digest)
    const wrong = await sandbox.run(verify(), { cwd: path })
    expectWrong(wrong)
    expect(wrong.stdout).toContain(`linux/amd64: layer ${digest} (${size} bytes) is not there`)
    expect(wrong.stdout).not.toContain('linux/arm64: ')
    await sandbox.must(push(), { cwd: path })
    await sandbox.must(verify(), { cwd: path })
    // For good: the build says so each time.
    loses(new RegExp(`blobs/${digest}`))
    registry.faults.answer = request =>
      /^(GET|HEAD)$/.test(request.method) && request.url.includes(digest)
        ? new Response(null, { status: 404 })
        : undefined
    const again = await sandbox.run(push(), { cwd: path })
    expectWrong(again)
    expect(problemsOf(path)).toEqual([`linux/amd64: layer ${digest} (${size} bytes) is not there`])
  })

  test('has another digest than it was given', async () => {
    const path = project()
    await sandbox.must(push('-t', 'v1'), { cwd: path })
    const other = await a().raw('v1')
    let written = false
    registry.faults.answer = request => {
      const line = `${request.method} ${new URL(request.url).pathname}`
      if (line === 'PUT /v2/team/a/manifests/v2') written = true
      if (!written || !/^(GET|HEAD) .*manifests\/v2$/.test(line)) return undefined
      const document = { ...JSON.parse(other!.toString()), annotations: { other: 'yes' } }
      const headers = { 'content-type': document.mediaType }
      return new Response(JSON.stringify(document), { headers })
    }
    const ended = await sandbox.run(push('-t', 'v2'), { cwd: path })
    expectWrong(ended)
    expect(problemsOf(path)[0]).toMatch(/^"v2" is sha256:[0-9a-f]{64}, expected sha256:[0-9a-f]{64}$/)
  })

  test('sends a damaged config', async () => {
    const path = project()
    await sandbox.must(push(), { cwd: path })
    const { config } = await a().manifest((await a().entry('latest', 'linux/amd64')).digest)
    registry.faults.corruptBlob = { match: new RegExp(config!.digest) }
    const wrong = await sandbox.run(verify(), { cwd: path })
    expectWrong(wrong)
    expect(wrong.stdout).toContain('linux/amd64: config')
  })

  test('each tag is looked at, also those of single platforms in other repositories', async () => {
    const path = project()
    registry.faults.answer = request =>
      request.method !== 'PUT' && new URL(request.url).pathname === '/v2/team/a-arm64/manifests/latest'
        ? new Response(null, { status: 404 })
        : undefined
    const ended = await sandbox.run(push('-t', 'latest', '-t', 'extra', '--arch-tags={image}-{arch}:{tag}', 'a'), {
      cwd: path,
    })
    expectWrong(ended)
    expect(problemsOf(path)).toEqual(['"latest" is not there'])
  })
})

describe('archimage verify', () => {
  test('finds a platform that is missing', async () => {
    const path = project()
    await sandbox.must(['build', '--push', '--registry', at(), '--platform', 'linux/amd64'], { cwd: path })
    const wrong = await sandbox.run(verify(), { cwd: path })
    expectWrong(wrong)
    expect(wrong.stdout).toContain('linux/arm64 is missing')
    await sandbox.must(['verify', '--registry', at(), '--platform', 'linux/amd64'], { cwd: path })
  })

  test('finds an index that disagrees with the config behind it', async () => {
    const liar = new Remote(registry, 'team/liar')
    const arm = { os: 'linux', architecture: 'arm64' }
    const image = await putImage(liar, {
      platform: arm,
      configPlatform: { os: 'linux', architecture: 'amd64' },
      files: { a: 'a\n' },
    })
    const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [image] }
    await liar.putManifest('1', index)
    const wrong = await sandbox.run(['verify', `${at()}/liar:1`])
    expectWrong(wrong)
    expect(wrong.stdout).toContain('linux/arm64: the index says linux/arm64, the config says linux/amd64')
  })

  test('of what is not there, of what cannot be reached, as JSON', async () => {
    const path = project()
    const none = await sandbox.run(verify(), { cwd: path })
    expectWrong(none)
    expect(none.stdout).toContain('"latest" is not there')
    expect(none.stderr).toContain('archimage build --push')
    await sandbox.must(push(), { cwd: path })
    const json = JSON.parse((await sandbox.must(verify('--json'), { cwd: path })).stdout)
    expect(json).toMatchObject([
      { service: 'a', problems: [], cells: { 'linux/amd64': expect.any(String), 'linux/arm64': expect.any(String) } },
      { service: 'b', problems: [] },
    ])
    await registry.close()
    const gone = await sandbox.run(verify(), { cwd: path })
    expect(gone.code).toBe(3)
    expect(gone.stderr).toContain('cannot be reached')
    registry = await startFaultyRegistry()
  })

  test('of the store: what was built, and a blob that somebody removed', async () => {
    const path = project()
    const home = join(sandbox.folder, `store-${serial}`)
    const env = { ARCHIMAGE_HOME: home }
    await sandbox.must(['build', ...FLAGS], { cwd: path, env })
    await sandbox.must(['verify', ...FLAGS], { cwd: path, env })
    const { configDigest } = resultOf(path).cells.find(cell => cell.service === 'a')!
    rmSync(join(home, 'blobs/sha256', configDigest!.slice(7)))
    const wrong = await sandbox.run(['verify', ...FLAGS], { cwd: path, env })
    expectWrong(wrong)
    expect(wrong.stdout).toContain(configDigest!)
    await sandbox.must(['build', ...FLAGS], { cwd: path, env })
    await sandbox.must(['verify', ...FLAGS], { cwd: path, env })
  })
})
