import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sha256 } from '../../src/oci/digest.ts'
import { encodeImageManifest, encodeIndex } from '../../src/oci/manifest.ts'
import { OCI } from '../../src/oci/media-types.ts'
import { type FaultyRegistry, startFaultyRegistry } from '../../src/registry/faulty/start.ts'
import { Sandbox } from '../run/command.ts'
import { entryOf, pushImage, pushIndex, read, readIndex } from './images.ts'

const sandbox = new Sandbox('manifest')
let registry: FaultyRegistry
let other: FaultyRegistry
let at: string

beforeAll(async () => {
  registry = await startFaultyRegistry()
  other = await startFaultyRegistry()
  at = registry.address
  for (const platform of ['linux/amd64', 'linux/arm64', 'linux/arm/v7'])
    await pushImage(at, `app:${platform.replace('linux/', '').replace('/', '-')}`, platform)
  await pushImage(at, 'docker/app:amd64', 'linux/amd64', { docker: true })
  await pushImage(at, 'docker/app:arm64', 'linux/arm64', { docker: true })
})
afterAll(async () => {
  await registry.close()
  await other.close()
  await sandbox.dispose()
})

const run = (...args: string[]) => sandbox.run(['manifest', ...args])
const must = async (...args: string[]): Promise<string> => (await sandbox.must(['manifest', ...args])).stdout.trim()
const platforms = async (repository: string, tag: string, host = at): Promise<string[]> =>
  (await readIndex(host, repository, tag)).manifests.map(({ platform }) =>
    platform === undefined ? 'none' : [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/'),
  )

describe('archimage manifest', () => {
  test('create, annotate, inspect, push, rm as docker has them', async () => {
    const list = `${at}/app:docker`
    expect(await must('create', list, `${at}/app:amd64`, `${at}/app:arm64`)).toBe(list)
    expect(await run('create', list, `${at}/app:amd64`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('refusing to amend an existing manifest list with no --amend flag'),
    })
    await must('create', list, '--amend', `${at}/app:arm-v7`)
    await must('annotate', list, `${at}/app:arm64`, '--os', 'linux', '--arch', 'arm64', '--variant', 'v8')
    expect(JSON.parse(await must('inspect', list))).toMatchObject({ manifests: { length: 3 } })
    const verbose = JSON.parse(await must('inspect', '-v', list)) as { Raw: string; Descriptor: { digest: string } }[]
    for (const { Raw, Descriptor } of verbose) expect(Descriptor.digest).toBe(sha256(Buffer.from(Raw, 'base64')))
    expect(JSON.parse(await must('inspect', list, `${at}/app:arm64`))).toHaveProperty('layers')
    const pushed = await must('push', '--purge', list)
    expect(pushed).toBe(sha256(Buffer.from(await read(at, 'app', 'docker'))))
    expect(await platforms('app', 'docker')).toEqual(['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7'])
    expect(await run('rm', list, 'nothing')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/No such manifest: .*app:docker\n.*No such manifest: nothing:latest/),
    })
  })

  test('create, add, annotate, remove, exists, push, rm as podman has them', async () => {
    const list = await must('create', 'mylist')
    await must('add', list, `docker://${at}/app:amd64`)
    await must('add', '--annotation', 'a=b', '--variant', 'v8', list, `${at}/app:arm64`)
    await must('add', '--all', list, `${at}/app:arm-v7`)
    await must('remove', list, (await readIndexOf(list)).manifests[2]!.digest)
    await must('annotate', '--index', '--annotation', 'i=1', list)
    expect((await run('exists', 'mylist')).code).toBe(0)
    expect((await run('exists', 'other')).code).toBe(1)
    expect((await run('exists', ':')).code).toBe(125)
    const file = join(sandbox.folder, 'digest')
    const pushed = await must('push', '--all', '--digestfile', file, list, `docker://${at}/copy/app:podman`)
    const index = await readIndex(at, 'copy/app', 'podman')
    expect(index).toMatchObject({ mediaType: OCI.index, annotations: { i: '1' } })
    expect(index.manifests[1]!.annotations).toEqual({ a: 'b' })
    const lines = pushed.split('\n')
    expect(lines.at(-1)).toBe(readFileSync(file, 'utf8'))
    expect(lines.slice(0, -1)).toEqual(
      index.manifests.map(({ digest }) => `Pushed ref ${at}/copy/app@${digest} with digest: ${digest}`),
    )
    expect(await must('ls', '-q')).toBe('mylist:latest')
    expect(await must('rm', list)).toBe('Untagged: docker.io/library/mylist:latest')
    expect(await must('rm', '--ignore', list)).toBe('')
  })

  async function readIndexOf(list: string) {
    return JSON.parse(await must('inspect', list)) as Awaited<ReturnType<typeof readIndex>>
  }

  test("Docker's images make Docker's list; --format makes it another", async () => {
    const members = [`${at}/docker/app:amd64`, `${at}/docker/app:arm64`]
    await must('create', '--push', `${at}/docker/app:1`, ...members)
    expect((await readIndex(at, 'docker/app', '1')).mediaType).toContain('manifest.list.v2')
    await must('create', '--push', '--format', 'oci', `${at}/docker/app:oci`, ...members)
    const index = await readIndex(at, 'docker/app', 'oci')
    expect([index.mediaType, index.manifests[0]!.mediaType]).toEqual([OCI.index, OCI.manifest])
  })

  test('one command makes and pushes; nothing is kept', async () => {
    const env = { ARCHIMAGE_HOME: join(sandbox.folder, 'no-store') }
    const args = ['create', '--push', '-q', '-t', 'latest', `${at}/app:once`, `${at}/app:amd64`, `${at}/app:arm64`]
    const { stdout } = await sandbox.must(['manifest', ...args], { env })
    expect(stdout.trim()).toBe(sha256(Buffer.from(await read(at, 'app', 'once'))))
    expect(await read(at, 'app', 'latest')).toBe(await read(at, 'app', 'once'))
    expect(existsSync(env.ARCHIMAGE_HOME)).toBe(false)
  })

  test('from one registry to another, from the store, from files', async () => {
    const to = other.address
    const context = sandbox.project('local', { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' })
    await sandbox.must(['build', '-t', 'local/app:s390x', '--platform', 'linux/s390x', context])
    const layout = join(sandbox.folder, 'layout')
    await sandbox.must(['copy', `${at}/app:arm-v7`, `oci:${layout}:x`])
    const members = [`${at}/app:amd64`, 'local/app:s390x', `oci:${layout}:x`]
    await must('create', `${to}/all/app:1`, ...members)
    await must('push', `${to}/all/app:1`)
    expect(await platforms('all/app', '1', to)).toEqual(['linux/amd64', 'linux/s390x', 'linux/arm/v7'])
    await must('create', '--push', `${to}/all/app:2`, ...members)
    expect(await read(to, 'all/app', '2')).toBe(await read(to, 'all/app', '1'))
    await sandbox.must(['verify', '--insecure', `${to}/all/app:1`])
    await must('push', `${to}/all/app:1`, `oci:${join(sandbox.folder, 'out')}:1`)
    expect(existsSync(join(sandbox.folder, 'out/index.json'))).toBe(true)
  })

  test('of an index all images with their attestations, or those that are asked for', async () => {
    const [amd64, arm64] = [
      await pushImage(at, 'multi:a', 'linux/amd64'),
      await pushImage(at, 'multi:b', 'linux/arm64'),
    ]
    const statement = Buffer.from('{}')
    await pushImage(at, 'multi:c', 'linux/386')
    const attestation = encodeImageManifest({
      docker: false,
      config: amd64.config,
      layers: [
        { mediaType: 'application/vnd.in-toto+json', digest: amd64.layers[0]!.digest, size: amd64.layers[0]!.size },
      ],
    })
    expect(statement.length).toBe(2)
    await pushIndex(at, 'multi:att', attestation)
    const index = encodeIndex({
      docker: false,
      manifests: [
        entryOf(amd64, 'linux/amd64'),
        entryOf(arm64, 'linux/arm64'),
        {
          ...entryOf(attestation, 'linux/amd64'),
          platform: { os: 'unknown', architecture: 'unknown' },
          annotations: {
            'vnd.docker.reference.type': 'attestation-manifest',
            'vnd.docker.reference.digest': amd64.digest,
          },
        },
      ],
    })
    await pushIndex(at, 'multi:1', index)
    const made = async (tag: string, ...flags: string[]): Promise<string[]> => {
      await must('create', '--push', `${at}/made/app:${tag}`, `${at}/multi:1`, `${at}/multi:c`, ...flags)
      return platforms('made/app', tag)
    }
    expect(await made('all')).toEqual(['linux/amd64', 'linux/arm64', 'linux/386', 'unknown/unknown'])
    expect(await made('drop', '--attestations', 'drop')).toEqual(['linux/amd64', 'linux/arm64', 'linux/386'])
    await must('create', 'chosen')
    await must('add', '--arch', 'arm64', 'chosen', `${at}/multi:1`)
    await must('add', '--arch', 'amd64', 'chosen', `${at}/multi:1`)
    await must('push', 'chosen', `docker://${at}/made/app:chosen`)
    expect(await platforms('made/app', 'chosen')).toEqual(['linux/arm64', 'linux/amd64', 'unknown/unknown'])
    await must('filter', 'chosen', '--platform', 'linux/arm64')
    await must('merge', 'chosen', `${at}/multi:c`)
    await must('replace', 'chosen', 'linux/arm64', `${at}/app:arm64`)
    await must('push', 'chosen', `docker://${at}/made/app:edited`)
    expect(await platforms('made/app', 'edited')).toEqual(['linux/arm64', 'linux/386'])
    expect(await run('add', '--arch', 's390x', 'chosen', `${at}/multi:1`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('it has linux/amd64, linux/arm64'),
    })
  })

  test('never two for one platform, and never one that is not what the list says, unless asked', async () => {
    await pushImage(at, 'wrong:amd64', 'linux/amd64', { content: 'one more' })
    const twice = await run('create', `${at}/wrong:1`, `${at}/app:amd64`, `${at}/wrong:amd64`)
    expect(twice).toMatchObject({ code: 1, stderr: expect.stringContaining('the list has one already') })
    const image = await pushImage(at, 'wrong:x', 'linux/amd64', { content: 'mislabelled' })
    await pushIndex(at, 'wrong:index', encodeIndex({ docker: false, manifests: [entryOf(image, 'linux/arm64')] }))
    const mislabelled = await run('create', '--push', `${at}/wrong:2`, `${at}/wrong:index`)
    expect(mislabelled).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is an image for linux/amd64, by its config; the index says linux/arm64'),
    })
    await must('create', 'obeyed')
    const said = await sandbox.must(['manifest', 'add', '--arch', 'arm64', 'obeyed', `${at}/wrong:x`])
    expect(said.stderr).toContain('is added for linux/arm64 as you say')
  })

  test('members are looked at anew with --amend', async () => {
    await pushImage(at, 'moving:amd64', 'linux/amd64', { content: 'yesterday' })
    await must('create', `${at}/moving:1`, `${at}/moving:amd64`)
    const today = await pushImage(at, 'moving:amd64', 'linux/amd64', { content: 'today' })
    await must('create', '--amend', `${at}/moving:1`, `${at}/moving:amd64`)
    await must('push', `${at}/moving:1`)
    expect((await readIndex(at, 'moving', '1')).manifests.map(({ digest }) => digest)).toEqual([today.digest])
  })

  test('files as an artifact', async () => {
    writeFileSync(join(sandbox.folder, 'notes.txt'), 'notes')
    await must('create', 'artifacts', `${at}/app:amd64`)
    await must(
      'add',
      '--artifact',
      '--artifact-type',
      'application/x-notes',
      'artifacts',
      join(sandbox.folder, 'notes.txt'),
    )
    await must('push', 'artifacts', `docker://${at}/artifacts:1`)
    const { manifests } = await readIndex(at, 'artifacts', '1')
    expect(manifests[1]).toMatchObject({ artifactType: 'application/x-notes' })
    expect(JSON.parse(await read(at, 'artifacts', manifests[1]!.digest))).toMatchObject({
      config: { mediaType: OCI.empty, digest: sha256('{}') },
      layers: [{ digest: sha256('notes'), annotations: { 'org.opencontainers.image.title': 'notes.txt' } }],
    })
  })

  test('mistakes get suggestions', async () => {
    for (const [args, hint] of [
      [['inspct'], 'did you mean "inspect"?'],
      [['create', '--amnd', 'x'], 'did you mean "--amend"?'],
      [['annotate', 'obeyed', 'arm64', '--arch', 'amr64'], 'did you mean "linux/arm64"?'],
      [['push', 'obeied'], 'did you mean "obeyed"?'],
      [['add', '--features', 'x', 'obeyed', 'y'], 'leave --features out'],
    ] as const)
      expect((await run(...args)).stderr).toContain(hint)
  })
})

describe("manifest-tool's words", () => {
  test('several files are several lists; what fails does not hold up the others', async () => {
    const file = (name: string, tag: string): string => {
      const path = join(sandbox.folder, `${name}.yaml`)
      writeFileSync(
        path,
        `image: ${at}/spec/${name}:1\ntags: [latest]\nmanifests:\n  - image: ${at}/app:${tag}\n  - image: ${at}/app:arm64\n`,
      )
      return path
    }
    const both = await sandbox.must(['manifest', 'from-spec', file('one', 'amd64'), file('two', 'arm-v7')])
    expect(both.stdout).toMatch(/^Digest: sha256:\w+ \d+\nDigest: sha256:\w+ \d+\n$/)
    expect(await platforms('spec/two', 'latest')).toEqual(['linux/arm/v7', 'linux/arm64'])
    const bad = await run('push', '--type', 'oci', 'from-spec', file('three', 'nothing'), file('four', 'amd64'))
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining(`no such manifest: ${at}/app:nothing`) })
    expect((await readIndex(at, 'spec/four', '1')).mediaType).toBe(OCI.index)
    const skipped = await run('from-spec', '--ignore-missing', file('five', 'nothing'))
    expect(skipped).toMatchObject({ code: 0, stderr: expect.stringContaining('is not there, and is left out') })
    expect(await run('from-spec', '--type', 'docker', '--ignore-missing', join(sandbox.folder, 'none'))).toMatchObject({
      code: 1,
    })
  })
})
