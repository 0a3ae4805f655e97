import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { rootOfImage } from '../inspect/files.ts'
import { type ImageNode, readImage } from '../inspect/read.ts'
import { parseImageConfig } from '../oci/config.ts'
import { sha256 } from '../oci/digest.ts'
import {
  describe as descriptorOf,
  encodeImageManifest,
  encodeIndex,
  type ImageIndex,
  type ImageManifest,
  parseManifest,
} from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import type { Platform } from '../oci/platform.ts'
import { openStore, type Store } from '../store/store.ts'
import { END_OF_ARCHIVE, encodeHeader } from '../tar/writer.ts'
import { storeTransport } from '../transports/store.ts'
import { imageOf, indexOf, layerOf, putAll } from '../transports/testing/images.ts'
import type { Transport } from '../transports/transport.ts'
import { draftOf, seal } from './draft.ts'
import { editConfig } from './edits.ts'
import { type Base, type Mutation, mutate, mutatedSource } from './mutate.ts'

const AMD64 = { os: 'linux', architecture: 'amd64' }
const ARM64 = { os: 'linux', architecture: 'arm64' }
let home: string
let store: Store
let app: Transport
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'archimage-mutate-'))
  store = openStore({ home: join(home, 'store') })
  app = storeTransport(store, 'docker.io/demo/app')
})
afterAll(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

const tools = () => ({ store, transport: app, signal: new AbortController().signal })
const run = async (top: ImageNode, mutation: Mutation) => mutate(top, 'app', mutation, tools())
const topOf = async (name: string): Promise<ImageNode> => (await readImage(app, name))!
const failure = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    error => error,
  )

/** What the result leads to, as a reader sees it. */
async function read(top: ImageNode, mutation: Mutation): Promise<ImageNode> {
  const mutated = await run(top, mutation)
  return (await readImage(mutatedSource(app, mutated, tools()), mutated.top.digest))!
}

/** An image of these layers. */
async function put(
  name: string,
  layers: readonly Buffer[],
  more: object = {},
  platform: Platform = AMD64,
): Promise<void> {
  const blobs = layers.map(bytes => ({ mediaType: OCI.layer, digest: store.put(bytes), size: bytes.length }))
  const config = Buffer.from(
    JSON.stringify({
      ...platform,
      rootfs: { type: 'layers', diff_ids: blobs.map(({ digest }) => digest) },
      history: blobs.map((_, i) => ({ created_by: `layer ${i + 1} of ${name}` })),
      ...more,
    }),
  )
  const descriptor = { mediaType: OCI.config, digest: store.put(config), size: config.length }
  await app.putManifest(encodeImageManifest({ docker: false, config: descriptor, layers: blobs }), name)
}

describe('nothing', () => {
  test('no edits keep an index as it is, byte for byte, and make nothing', async () => {
    await putAll(app, indexOf('nothing', [AMD64, ARM64]), 'nothing')
    const top = await topOf('nothing')
    const mutated = await run(top, {})
    expect(mutated.top.digest).toBe(top.descriptor.digest)
    expect([mutated.manifests, mutated.blobs, mutated.dropped]).toEqual([[], [], []])
    const set = await run(top, { config: [{ value: { cmd: ['/content'] } }] })
    expect(set.top.digest).toBe(top.descriptor.digest)
  })

  test('documents of any writer: unknown fields, white space, order', () => {
    const json = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 5 })
    fc.assert(
      fc.property(json, json, json, fc.integer({ min: 0, max: 3 }), (config, inner, manifest, space) => {
        const rawConfig = Buffer.from(
          JSON.stringify(
            { ...config, config: inner, os: 'linux', architecture: 'amd64', rootfs: { diff_ids: [] }, history: [] },
            null,
            space,
          ),
        )
        const raw = Buffer.from(
          JSON.stringify(
            {
              ...manifest,
              annotations: { b: '1', a: '2' },
              layers: [],
              config: { mediaType: OCI.config, size: rawConfig.length, digest: sha256(rawConfig), other: 1 },
              schemaVersion: 2,
              mediaType: OCI.manifest,
              artifactType: undefined,
              subject: undefined,
              manifests: undefined,
            },
            null,
            space,
          ),
        )
        const original = { manifest: parseManifest(raw) as ImageManifest, rawConfig }
        const draft = draftOf(original, 'x')
        expect(seal(draft, original)).toEqual({ manifest: original.manifest, blobs: [] })
        // there and back again is nothing, too
        const there = editConfig(draft, { created: '2020-01-01T00:00:00Z', author: 'me' })
        const { manifest: changed, blobs } = seal(there, original)
        expect(changed.digest).not.toBe(original.manifest.digest)
        expect(blobs).toHaveLength(1)
        const kept = JSON.parse(Buffer.from(blobs[0]!.bytes).toString())
        for (const key of Object.keys(JSON.parse(rawConfig.toString())))
          if (!['created', 'author', 'config', 'history'].includes(key)) expect(Object.hasOwn(kept, key)).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

describe('edits', () => {
  test('of every platform in one pass; what is not touched keeps its bytes', async () => {
    await putAll(app, indexOf('edits', [AMD64, ARM64]), 'edits')
    const top = await topOf('edits')
    const mutated = await run(top, {
      config: [{ value: { user: 'me' } }, { platforms: [ARM64], value: { env: [['X', '1']] } }],
    })
    const found = (await readImage(mutatedSource(app, mutated, tools()), mutated.top.digest))!
    expect(found.children.map(({ config }) => config?.config)).toEqual([
      { Cmd: ['/content'], User: 'me' },
      { Cmd: ['/content'], User: 'me', Env: ['X=1'] },
    ])
    expect(mutated.images.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64'])
    const one = await run(top, { platforms: [AMD64], config: [{ value: { user: 'me' } }] })
    expect(one.images[1]!.before).toBe(one.images[1]!.after)
    expect((one.top as ImageIndex).manifests[1]).toEqual((top.manifest as ImageIndex).manifests[1]!)
    expect(await failure(run(top, { platforms: [{ os: 'linux', architecture: 's390x' }] }))).toMatchObject({
      code: 'PLATFORM_MISSING',
    })
  })

  test('entrypoint takes the command away; empty lists and null take away; variables keep their places', () => {
    const draft = draftOf(
      original({ Cmd: ['x'], Env: ['A=1', 'B=2'], Labels: { a: '1', b: '2' }, ExposedPorts: { '80/tcp': {} } }),
      'x',
    )
    const edited = (edits: Parameters<typeof editConfig>[1]) => editConfig(draft, edits).config['config']
    expect(edited({ entrypoint: ['/e'] })).toMatchObject({ Entrypoint: ['/e'] })
    expect(edited({ entrypoint: ['/e'] })).not.toHaveProperty('Cmd')
    expect(edited({ entrypoint: ['/e'], cmd: ['c'] })).toMatchObject({ Cmd: ['c'] })
    expect(edited({ cmd: [] })).not.toHaveProperty('Cmd')
    expect(
      edited({
        env: [
          ['B', '3'],
          ['C', 'x=y'],
          ['A', null],
        ],
      }),
    ).toMatchObject({ Env: ['B=3', 'C=x=y'] })
    expect(
      edited({
        labels: [
          ['a', null],
          ['b', null],
        ],
      }),
    ).not.toHaveProperty('Labels')
    expect(edited({ labels: [['constructor', '1']] })).toMatchObject({ Labels: { a: '1', b: '2', constructor: '1' } })
    expect(edited({ ports: { clear: false, add: ['53/udp', '443'], remove: [] } })).toMatchObject({
      ExposedPorts: { '443/tcp': {}, '53/udp': {}, '80/tcp': {} },
    })
    expect(edited({ ports: { clear: true, add: [], remove: [] } })).not.toHaveProperty('ExposedPorts')
    const windows = editConfig(draftOf(original({ Env: ['Path=C:\\'] }, { os: 'windows' }), 'x'), {
      env: [
        ['PATH', 'D:\\'],
        ['new', '1'],
      ],
    })
    expect(windows.config['config']).toMatchObject({ Env: ['Path=D:\\', 'NEW=1'] })
  })

  test('annotations of index, manifests and entries; Docker has none', async () => {
    await putAll(app, indexOf('notes', [AMD64, ARM64]), 'notes')
    const found = await read(await topOf('notes'), {
      indexAnnotations: [['i', '1']],
      annotations: [{ value: [['m', '2']] }],
      entryAnnotations: [{ platforms: [ARM64], value: [['d', '3']] }],
    })
    expect(found.manifest?.annotations).toEqual({ i: '1' })
    expect(found.children.map(({ manifest }) => manifest?.annotations)).toEqual([{ m: '2' }, { m: '2' }])
    expect(found.children.map(({ descriptor }) => descriptor.annotations)).toEqual([undefined, { d: '3' }])
    const image = imageOf('docker')
    for (const { bytes } of image.blobs) store.put(bytes)
    const { config, layers } = image.manifests[0] as ImageManifest
    const manifest = encodeImageManifest({ docker: true, config: { ...config, mediaType: DOCKER.config }, layers })
    await app.putManifest(manifest, 'docker')
    const error = await failure(run(await topOf('docker'), { annotations: [{ value: [['a', 'b']] }] }))
    expect(error).toMatchObject({ code: 'UNSUPPORTED' })
    expect((await read(await topOf('docker'), { config: [{ value: { user: 'x' } }] })).manifest?.mediaType).toBe(
      DOCKER.manifest,
    )
  })

  test('the platform of one image, in its config and in the index', async () => {
    await putAll(app, indexOf('platform', [AMD64, ARM64]), 'platform')
    const top = await topOf('platform')
    const platform = { os: 'linux', architecture: 'arm', variant: 'v6' }
    const edits = { config: [{ value: { platform } }] }
    expect(await failure(run(top, edits))).toMatchObject({ code: 'USAGE' })
    const found = await read(top, { ...edits, platforms: [ARM64] })
    expect(found.children[1]!.descriptor.platform).toEqual({ architecture: 'arm', os: 'linux', variant: 'v6' })
    expect(found.children[1]!.config).toMatchObject({ architecture: 'arm', variant: 'v6' })
  })

  test('one image under two platforms is two images when only one is edited', async () => {
    const image = imageOf('shared')
    await putAll(app, image)
    const manifests = [
      descriptorOf(image.manifests[0]!, AMD64),
      descriptorOf(image.manifests[0]!, { ...AMD64, variant: 'v3' }),
    ]
    await app.putManifest(encodeIndex({ docker: false, manifests }), 'twice')
    const top = await topOf('twice')
    const both = await run(top, { config: [{ value: { user: 'me' } }] })
    const [a, b] = (both.top as ImageIndex).manifests
    expect(a!.digest).toBe(b!.digest)
    const one = await run(top, { config: [{ platforms: [{ ...AMD64, variant: 'v3' }], value: { user: 'me' } }] })
    expect((one.top as ImageIndex).manifests[0]).toEqual((top.manifest as ImageIndex).manifests[0]!)
    expect((one.top as ImageIndex).manifests[1]!.platform).toEqual({
      architecture: 'amd64',
      os: 'linux',
      variant: 'v3',
    })
  })

  test('attestations of what changed go, or are kept with it', async () => {
    await putAll(app, indexOf('attested', [AMD64, ARM64]), 'attested')
    const index = (await topOf('attested')).manifest as ImageIndex
    const statement = imageOf('statement')
    await putAll(app, statement)
    const attestation = (subject: string) => ({
      ...descriptorOf(statement.manifests[0]!),
      platform: { os: 'unknown', architecture: 'unknown' },
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': subject },
    })
    const manifests = [...index.manifests, ...index.manifests.map(({ digest }) => attestation(digest))]
    await app.putManifest(encodeIndex({ docker: false, manifests }), 'attested')
    const top = await topOf('attested')
    const edits: Mutation = { platforms: [AMD64], config: [{ value: { user: 'me' } }] }
    const dropped = await run(top, edits)
    expect(dropped.dropped).toEqual([statement.manifests[0]!.digest])
    expect((dropped.top as ImageIndex).manifests).toHaveLength(3)
    const kept = (await run(top, { ...edits, keepAttestations: true })).top as ImageIndex
    expect(kept.manifests[2]!.annotations?.['vnd.docker.reference.digest']).toBe(kept.manifests[0]!.digest)
    expect(kept.manifests[3]).toEqual(manifests[3]!)
  })

  test('what is not there cannot be edited', async () => {
    const manifests = [{ mediaType: OCI.manifest, digest: sha256('gone'), size: 4, platform: AMD64 }]
    await app.putManifest(encodeIndex({ docker: false, manifests }), 'sparse')
    expect(await failure(run(await topOf('sparse'), {}))).toMatchObject({ code: 'MANIFEST_INVALID' })
  })
})

describe('layers', () => {
  const files = async (node: ImageNode) =>
    [...(await rootOfImage(node, 'x', { transport: app, store })).walk()].filter(({ path }) => path !== '')

  test('a tar on top, compressed or not', async () => {
    await put('append', [layerOf('a', '1')])
    const top = await topOf('append')
    const [plain, packed] = [join(home, 'plain.tar'), join(home, 'packed.tar.gz')]
    writeFileSync(plain, layerOf('b', '2'))
    const bytes = gzipSync(layerOf('c', '3'))
    writeFileSync(packed, bytes)
    const found = await read(top, { append: [{ value: plain }, { value: packed }] })
    const { layers } = found.manifest as ImageManifest
    expect(layers.map(({ mediaType }) => mediaType)).toEqual([OCI.layer, OCI.layerGzip, OCI.layerGzip])
    expect(layers[2]!.digest).toBe(sha256(bytes))
    expect(sha256(gunzipSync(store.read(layers[1]!.digest)))).toBe(sha256(layerOf('b', '2')))
    expect((await files(found)).map(({ path }) => path)).toEqual(['a', 'b', 'c'])
    expect(found.config?.history?.at(-1)?.created_by).toBe('archimage mutate --append packed.tar.gz')
    writeFileSync(join(home, 'no.tar'), 'this is no tar'.repeat(100))
    expect(await failure(run(top, { append: [{ value: join(home, 'no.tar') }] }))).toMatchObject({
      code: 'TAR_INVALID',
    })
    expect(await failure(run(top, { append: [{ value: join(home, 'none.tar') }] }))).toMatchObject({
      code: 'NOT_FOUND',
    })
  })

  test('a folder on top: the same files are the same layer, whenever they were written', async () => {
    await put('folder', [layerOf('a', '1')])
    const top = await topOf('folder')
    const digests = []
    for (const time of [1000, 2_000_000]) {
      const folder = join(home, `folder-${time}`)
      mkdirSync(join(folder, 'bin'), { recursive: true })
      chmodSync(join(folder, 'bin'), 0o755)
      writeFileSync(join(folder, 'bin/tool'), 'tool', { mode: 0o755 })
      chmodSync(join(folder, 'bin/tool'), 0o755)
      linkSync(join(folder, 'bin/tool'), join(folder, 'bin/again'))
      symlinkSync('tool', join(folder, 'bin/link'))
      utimesSync(join(folder, 'bin/tool'), time, time)
      const found = await read(top, { append: [{ value: folder }] })
      digests.push((found.manifest as ImageManifest).layers[1]!.digest)
      expect((await files(found)).map(({ path, entry }) => [path, entry.type, entry.uid])).toEqual([
        ['a', 'file', 0],
        ['bin', 'dir', 0],
        ['bin/again', 'file', 0],
        ['bin/link', 'symlink', 0],
        ['bin/tool', 'file', 0],
      ])
      const inodes = (await files(found)).flatMap(({ entry }) => entry.inode ?? [])
      expect([inodes.length, new Set(inodes).size]).toEqual([2, 1])
    }
    expect(digests[0]).toBe(digests[1]!)
  })

  test('one layer of all: whiteouts, hard links, attributes', async () => {
    const header = (entry: object) =>
      encodeHeader({ path: '', type: 'file', mode: 0o644, uid: 1, gid: 2, size: 0, mtime: 5, ...entry } as never)
    const lower = Buffer.concat([
      header({ path: 'd', type: 'dir', mode: 0o1777 }),
      header({ path: 'd/gone' }),
      header({ path: 'd/kept', xattrs: { 'user.x': Buffer.from('y') } }),
      header({ path: 'd/link', type: 'hardlink', link: 'd/kept' }),
      header({ path: 'opaque/old' }),
      header({ path: 'fifo', type: 'fifo' }),
      END_OF_ARCHIVE,
    ])
    const upper = Buffer.concat([
      header({ path: 'd/.wh.gone' }),
      header({ path: 'opaque/.wh..wh..opq' }),
      layerOf('new', 'x'),
    ])
    await put('stack', [lower, upper])
    const top = await topOf('stack')
    const flat = await read(top, { flatten: true })
    expect((flat.manifest as ImageManifest).layers).toHaveLength(1)
    const bare = async (node: ImageNode) =>
      (await files(node)).map(({ path, entry: { content: _, inode, ...rest } }) => [path, inode !== undefined, rest])
    const [before, after] = [await bare(top), await bare(flat)]
    expect(after).toEqual(before)
    expect(after.map(([path]) => path)).toEqual(['d', 'd/kept', 'd/link', 'fifo', 'new', 'opaque'])
    expect(flat.config?.history).toEqual([{ created_by: 'archimage mutate --flatten' }])
    const again = await run(flat, { flatten: true })
    expect(again.top.digest).toBe(flat.descriptor.digest)
  })

  test('times: files that are younger, config, history; older layers keep their bytes', async () => {
    const young = Buffer.concat([
      encodeHeader({ path: 'young', type: 'file', mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 2_000_000_000 }),
      END_OF_ARCHIVE,
    ])
    await put('times', [layerOf('old', 'x'), young])
    const found = await read(await topOf('times'), {
      layerTime: 1_000_000_000,
      config: [{ value: { created: '2001-09-09T01:46:40Z' } }],
    })
    expect((found.manifest as ImageManifest).layers[0]).toEqual(
      ((await topOf('times')).manifest as ImageManifest).layers[0]!,
    )
    expect((await files(found)).map(({ path, entry }) => [path, entry.mtime])).toEqual([
      ['old', 318_211_200],
      ['young', 1_000_000_000],
    ])
    expect(found.config).toMatchObject({
      created: '2001-09-09T01:46:40Z',
      history: [{ created: '2001-09-09T01:46:40Z' }, { created: '2001-09-09T01:46:40Z' }],
    })
  })
})

describe('another base', () => {
  const base = async (name: string): Promise<Base> => ({ name, top: await topOf(name), transport: app })
  const [one, two, three, mine] = ['one', 'two', 'three', 'mine'].map(name => layerOf(name, name)) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ]

  test('its layers and history below what the image has of its own', async () => {
    const step = (created_by: string, empty_layer?: boolean) => ({ created_by, ...(empty_layer && { empty_layer }) })
    await put('old-base', [one], { history: [step('one'), step('ENV A=1', true)] })
    await put('new-base', [two, three], { history: [step('two'), step('three')] })
    await put('on-base', [one, mine], {
      config: { Env: ['A=1'] },
      history: [step('one'), step('ENV A=1', true), step('ENV B=2', true), step('mine')],
    })
    const bases = async () => ({ old: await base('old-base'), new: await base('new-base') })
    const found = await read(await topOf('on-base'), { bases })
    expect((found.manifest as ImageManifest).layers.map(({ digest }) => digest)).toEqual([two, three, mine].map(sha256))
    expect(found.config?.rootfs.diff_ids).toEqual([two, three, mine].map(sha256))
    expect(found.config?.history?.map(({ created_by }) => created_by)).toEqual(['two', 'three', 'ENV B=2', 'mine'])
    expect(found.config?.config?.Env).toEqual(['A=1'])
    expect(found.manifest?.annotations).toEqual({
      'org.opencontainers.image.base.name': 'new-base',
      'org.opencontainers.image.base.digest': (await topOf('new-base')).descriptor.digest,
    })
    const back = async () => ({ old: await base('new-base'), new: await base('old-base') })
    const again = await read(found, { bases: back })
    expect(again.config?.rootfs.diff_ids).toEqual([one, mine].map(sha256))
  })

  test('an image that does not stand on it: which layer', async () => {
    await put('other-base', [two])
    await put('stands', [one, mine])
    const bases = async () => ({ old: await base('other-base'), new: await base('other-base') })
    expect(await failure(run(await topOf('stands'), { bases }))).toMatchObject({
      code: 'USAGE',
      hint: `layer 1 of it is ${sha256(one)}, of the base ${sha256(two)}`,
    })
  })

  test("layers of an OCI base under an image of Docker's kind", async () => {
    const { config, layers } = (await topOf('on-base')).manifest as ImageManifest
    const docker = encodeImageManifest({
      docker: true,
      config: { ...config, mediaType: DOCKER.config },
      layers: layers.map(layer => ({ ...layer, mediaType: DOCKER.layer })),
    })
    await app.putManifest(docker, 'docker-on-base')
    const bases = async () => ({ old: await base('old-base'), new: await base('new-base') })
    const found = (await read(await topOf('docker-on-base'), { bases })).manifest as ImageManifest
    expect(found.mediaType).toBe(DOCKER.manifest)
    expect(found.layers.map(({ mediaType }) => mediaType)).toEqual([DOCKER.layer, DOCKER.layer, DOCKER.layer])
    expect(found.annotations).toEqual({})
  })

  test('a base without the platform', async () => {
    await putAll(app, indexOf('base', [ARM64]), 'arm-base')
    await put('amd', [one])
    const bases = async () => ({ old: await base('arm-base'), new: await base('arm-base') })
    expect(await failure(run(await topOf('amd'), { bases }))).toMatchObject({ code: 'PLATFORM_MISSING' })
  })
})

function original(config: object, more: object = {}) {
  const rawConfig = Buffer.from(JSON.stringify({ ...AMD64, config, rootfs: { type: 'layers', diff_ids: [] }, ...more }))
  parseImageConfig(rawConfig)
  const descriptor = { mediaType: OCI.config, digest: sha256(rawConfig), size: rawConfig.length }
  return { manifest: encodeImageManifest({ docker: false, config: descriptor, layers: [] }), rawConfig }
}
