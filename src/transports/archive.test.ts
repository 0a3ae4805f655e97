import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { sha256 } from '../oci/digest.ts'
import { describe as descriptorOf, encodeImageManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { buildPlatform } from '../oci/platform.ts'
import type { TarEntry } from '../tar/entry.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import { archiveReading } from './archive-reading.ts'
import { fileSink } from './archive-sink.ts'
import { ArchiveWriting } from './archive-writing.ts'
import { bodyOf, imageOf, indexOf, putAll, readAll, type TestImage } from './testing/images.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archimage-archive-'))
  file = join(folder, 'out.tar')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const HOST = buildPlatform()
const PLATFORMS = [HOST, { os: 'linux', architecture: HOST.architecture === 'arm64' ? 'amd64' : 'arm64' }]
const failure = async (work: () => unknown): Promise<unknown> => {
  try {
    return await work()
  } catch (error) {
    return error
  }
}
const listing = (): string[] => execFileSync('tar', ['tf', file], { encoding: 'utf8' }).trim().split('\n')
const member = (path: string): unknown => JSON.parse(execFileSync('tar', ['xOf', file, path], { encoding: 'utf8' }))
const contents = ({ manifests, blobs }: TestImage): Map<string, Buffer> =>
  new Map([
    ...manifests.map(one => [one.digest as string, Buffer.from(one.raw)] as const),
    ...blobs.map(({ descriptor, bytes }) => [descriptor.digest as string, Buffer.from(bytes)] as const),
  ])

async function write(images: readonly (readonly [string | undefined, TestImage])[], docker = false, path = file) {
  const to = new ArchiveWriting(fileSink(path), docker)
  try {
    for (const [name, image] of images) await putAll(to, image, name)
    await to.commit()
  } finally {
    await to.close()
  }
}

/** An archive of these entries, as other tools write them. */
function tarOf(
  entries: readonly (Partial<TarEntry> & { readonly path: string; readonly bytes?: Uint8Array | string })[],
): Buffer {
  return Buffer.concat([
    ...entries.flatMap(({ bytes = '', ...entry }) => {
      const content = Buffer.from(bytes)
      const header = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, size: content.length, ...entry } as const
      return [encodeHeader(header), content, Buffer.alloc(padding(content.length))]
    }),
    END_OF_ARCHIVE,
  ])
}

describe('archives that are written', () => {
  test('are layouts that docker loads: one platform, or this machine’s', async () => {
    const [many, one] = [indexOf('a', PLATFORMS), imageOf('b')]
    await write([
      ['registry.example.com/app:1.0', many],
      ['one:2', one],
      ['stable', one],
    ])
    const from = await archiveReading(file)
    expect(await readAll(from, 'registry.example.com/app:1.0')).toEqual(contents(many))
    expect(await readAll(from, 'stable')).toEqual(contents(one))
    expect(await Array.fromAsync(from.tags!())).toEqual([
      'docker.io/library/one:2',
      'registry.example.com/app:1.0',
      'stable',
    ])
    await from.close!()
    const path = (digest: string): string => `blobs/sha256/${digest.slice(7)}`
    expect(member('manifest.json')).toEqual([
      {
        Config: path(one.blobs[0]!.descriptor.digest),
        RepoTags: ['docker.io/library/one:2'],
        Layers: [path(one.blobs[1]!.descriptor.digest)],
      },
      {
        Config: path(many.blobs[0]!.descriptor.digest),
        RepoTags: ['registry.example.com/app:1.0'],
        Layers: [path(many.blobs[1]!.descriptor.digest)],
      },
    ])
    expect(listing().slice(0, 2)).toEqual(['blobs/', 'blobs/sha256/'])
    expect(listing().slice(-3)).toEqual(['manifest.json', 'oci-layout', 'index.json'])
    expect(new Set(listing()).size).toBe(listing().length)
  })

  test('have the same bytes, whatever came first', async () => {
    const image = indexOf('a', PLATFORMS)
    await write([['v1', image]])
    const expected = readFileSync(file)
    const backwards = { ...image, blobs: [...image.blobs].reverse() }
    const stray = imageOf('stray').blobs[1]!
    for (const other of [backwards, { ...image, blobs: [stray, ...backwards.blobs] }]) {
      await write([['v1', other]])
      expect(readFileSync(file).equals(expected)).toBe(true)
    }
    expect(readdirSync(folder)).toEqual(['out.tar'])
  })

  test('take a blob once, also when it is brought twice at a time, and again after a failure', async () => {
    const image = imageOf('a')
    const { descriptor, bytes } = image.blobs[1]!
    const to = new ArchiveWriting(fileSink(file), false)
    const broken = to.putBlob(descriptor, bodyOf(bytes.subarray(1)))
    const second = to.putBlob(descriptor, bodyOf(bytes))
    const third = to.putBlob(descriptor, () => Promise.reject(new Error('not asked for')))
    expect(await failure(() => broken)).toMatchObject({ code: 'DIGEST_MISMATCH' })
    expect([await second, await third]).toEqual(['uploaded', 'exists'])
    expect(await to.hasBlob(descriptor)).toBe(true)
    expect(Buffer.from(await new Response(await to.blob(descriptor)).arrayBuffer())).toEqual(Buffer.from(bytes))
    await putAll(to, image, 'v1')
    expect((await to.head('v1'))?.digest).toBe(image.manifests[0]!.digest)
    await to.commit()
    expect(await readAll(await archiveReading(file), 'v1')).toEqual(contents(image))
  })

  test('lack nothing: a blob that did not come is an error, and no file', async () => {
    const image = imageOf('a')
    const lacking = { ...image, blobs: image.blobs.slice(1) }
    expect(await failure(() => write([['v1', lacking]]))).toMatchObject({ code: 'INCOMPLETE' })
    expect(readdirSync(folder)).toEqual([])
    const to = new ArchiveWriting(fileSink(file), false)
    await putAll(to, image, 'v1')
    await to.close()
    expect(readdirSync(folder)).toEqual([])
  })

  test('of docker hold one platform under a name, and images only', async () => {
    expect(await failure(() => write([['app:1', indexOf('a', PLATFORMS)]], true))).toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('oci-archive:FILE'),
    })
    const config = { mediaType: OCI.empty, digest: sha256('{}'), size: 2 }
    const artifact = encodeImageManifest({ docker: false, artifactType: 'application/x', config, layers: [config] })
    const blobs = [{ descriptor: config, bytes: Buffer.from('{}') }]
    expect(await failure(() => write([['app:1', { manifests: [artifact], blobs }]], true))).toMatchObject({
      code: 'UNSUPPORTED',
    })
    await write([['x:1', { manifests: [artifact], blobs }]])
    expect(listing()).not.toContain('manifest.json')
    await write([['app:1', indexOf('a', [HOST])]], true)
    expect(await readAll(await archiveReading(file), 'app:1')).toEqual(contents(indexOf('a', [HOST])))
  })

  test('replace what is there, through links too; go into pipes', async () => {
    writeFileSync(join(folder, 'real.tar'), 'old')
    symlinkSync('real.tar', file)
    await write([['v1', imageOf('a')]])
    expect(readdirSync(folder).sort()).toEqual(['out.tar', 'real.tar'])
    const expected = readFileSync(join(folder, 'real.tar'))
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const reading = Promise.withResolvers<Buffer>()
    const { execFile } = await import('node:child_process')
    execFile('cat', [pipe], { encoding: 'buffer', maxBuffer: 1 << 24 }, (_error, stdout) => reading.resolve(stdout))
    await write([['v1', imageOf('a')]], false, pipe)
    expect((await reading.promise).equals(expected)).toBe(true)
    expect(await failure(() => write([['v1', imageOf('a')]], false, folder))).toMatchObject({ code: 'OUTPUT_FAILED' })
  })
})

describe('archives that are read', () => {
  test('compressed ones, and from a pipe', async () => {
    await write([['v1', imageOf('a')]])
    const plain = readFileSync(file)
    for (const bytes of [gzipSync(plain), zstdCompressSync(plain)]) {
      writeFileSync(file, bytes)
      const from = await archiveReading(file)
      expect(await readAll(from, from.resolve({}))).toEqual(contents(imageOf('a')))
      await from.close!()
    }
    writeFileSync(file, gzipSync(plain).subarray(0, -20))
    expect(await failure(() => archiveReading(file))).toMatchObject({ code: 'TAR_INVALID' })
    const pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    const { spawn } = await import('node:child_process')
    writeFileSync(file, plain)
    spawn('sh', ['-c', 'cat "$1" > "$2"', 'sh', file, pipe])
    expect(await readAll(await archiveReading(pipe), 'v1')).toEqual(contents(imageOf('a')))
  })

  /** docker's format, in the dialects of docker, podman and crane. */
  const dialects: readonly (readonly [
    string,
    (config: Uint8Array, layer: Uint8Array) => Parameters<typeof tarOf>[0],
  ])[] = [
    [
      'docker ≤ 24, with a link for a layer that is there twice',
      (config, layer) => [
        { path: 'a1', type: 'dir' },
        { path: 'a1/layer.tar', bytes: layer },
        { path: 'b2/layer.tar', type: 'symlink', link: '../a1/layer.tar' },
        { path: 'c.json', bytes: config },
        {
          path: 'manifest.json',
          bytes: JSON.stringify([{ Config: 'c.json', RepoTags: ['app:1'], Layers: ['b2/layer.tar'] }]),
        },
        { path: 'repositories', bytes: '{"app":{"1":"b2"}}' },
      ],
    ],
    [
      'a hard link',
      (config, layer) => [
        { path: 'x.tar', bytes: layer },
        { path: 'y.tar', type: 'hardlink', link: 'x.tar' },
        { path: 'c.json', bytes: config },
        {
          path: 'manifest.json',
          bytes: JSON.stringify([{ Config: 'c.json', RepoTags: ['app:1'], Layers: ['./y.tar'] }]),
        },
      ],
    ],
  ]
  test.each(dialects)('docker’s: %s', async (_, make) => {
    const image = imageOf('a')
    const [config, layer] = image.blobs
    writeFileSync(file, tarOf(make(config!.bytes, layer!.bytes)))
    const from = await archiveReading(file)
    expect(from.resolve({})).toBe('docker.io/library/app:1')
    expect(from.resolve({ name: 'app:1' })).toBe('app:1')
    const found = await from.manifest('app:1')
    expect(found).toMatchObject({ mediaType: OCI.manifest, config: config!.descriptor, layers: [layer!.descriptor] })
    expect((await readAll(from, 'app:1')).get(layer!.descriptor.digest)).toEqual(Buffer.from(layer!.bytes))
    expect(await failure(() => from.putBlob(config!.descriptor, bodyOf(config!.bytes)))).toMatchObject({
      code: 'UNSUPPORTED',
    })
  })

  test('docker’s with compressed layers, several images, several names, none', async () => {
    const [a, b] = [imageOf('a'), imageOf('b')]
    const packed = gzipSync(a.blobs[1]!.bytes)
    const images = [
      { Config: 'a.json', RepoTags: ['a:1', 'registry.example.com/a:2'], Layers: ['layer.tar.gz'] },
      { Config: 'sha256:b', RepoTags: null, Layers: ['b.tar'] },
    ]
    writeFileSync(
      file,
      tarOf([
        { path: 'a.json', bytes: a.blobs[0]!.bytes },
        { path: 'sha256:b', bytes: b.blobs[0]!.bytes },
        { path: 'layer.tar.gz', bytes: packed },
        { path: 'b.tar', bytes: b.blobs[1]!.bytes },
        { path: 'manifest.json', bytes: JSON.stringify(images) },
      ]),
    )
    const from = await archiveReading(file)
    expect(await Array.fromAsync(from.tags!())).toEqual(['docker.io/library/a:1', 'registry.example.com/a:2'])
    expect(await failure(() => from.resolve({}))).toMatchObject({
      code: 'NOT_FOUND',
      hint: expect.stringContaining('docker.io/library/a:1'),
    })
    expect(await from.manifest('a:1')).toMatchObject({
      layers: [{ mediaType: OCI.layerGzip, digest: sha256(packed), size: packed.length }],
    })
    const bare = encodeImageManifest({
      docker: false,
      config: b.blobs[0]!.descriptor,
      layers: [b.blobs[1]!.descriptor],
    })
    expect((await readAll(from, from.resolve({ digest: bare.digest }))).size).toBe(3)
  })

  test('what is none, or is cut', async () => {
    expect(await failure(() => archiveReading(join(folder, 'none.tar')))).toMatchObject({ code: 'NOT_FOUND' })
    mkdirSync(join(folder, 'dir'))
    expect(await failure(() => archiveReading(join(folder, 'dir')))).toMatchObject({ code: 'USAGE' })
    const read = async (bytes: Uint8Array | string): Promise<unknown> => {
      writeFileSync(file, bytes)
      return failure(async () => readAll(await archiveReading(file), 'v1'))
    }
    expect(await read('no archive at all'.repeat(100))).toMatchObject({ code: 'TAR_INVALID' })
    expect(await read('')).toMatchObject({ code: 'TAR_INVALID' })
    expect(await read(tarOf([{ path: 'etc/passwd', bytes: 'x' }]))).toMatchObject({ code: 'MANIFEST_INVALID' })
    expect(await read(tarOf([{ path: 'repositories', bytes: '{}' }]))).toMatchObject({ code: 'UNSUPPORTED' })
    await write([['v1', imageOf('a')]])
    const whole = readFileSync(file)
    for (let length = 512; length < whole.length - 512; length += 512)
      expect(await read(whole.subarray(0, length))).toMatchObject({ code: 'TAR_INVALID' })
    expect(await read(whole)).toEqual(contents(imageOf('a')))
  })

  test('every byte of a blob counts', async () => {
    await write([['v1', indexOf('a', PLATFORMS)]])
    const whole = readFileSync(file)
    const { blobs, manifests } = indexOf('a', PLATFORMS)
    for (const bytes of [...blobs.map(blob => blob.bytes), ...manifests.map(one => one.raw)]) {
      const at = whole.indexOf(bytes)
      expect(at).toBeGreaterThan(0)
      const flipped = Buffer.from(whole)
      flipped[at + (bytes.length >> 1)]! ^= 1
      writeFileSync(file, flipped)
      expect(await failure(async () => readAll(await archiveReading(file), 'v1'))).toMatchObject({
        code: 'DIGEST_MISMATCH',
      })
    }
  })

  const layout = (index: string): Parameters<typeof tarOf>[0][number] => ({ path: 'index.json', bytes: index })
  const hostile: readonly (readonly [string, Buffer, string])[] = [
    ['a name that leaves the archive', tarOf([{ path: '../index.json', bytes: '{}' }]), 'TAR_INVALID'],
    [
      'a link out of the archive',
      tarOf([{ path: 'index.json', type: 'symlink', link: '../../etc/passwd' }]),
      'TAR_INVALID',
    ],
    ['an absolute link', tarOf([{ path: 'index.json', type: 'symlink', link: '/etc/passwd' }]), 'TAR_INVALID'],
    [
      'links in a circle',
      tarOf([
        { path: 'index.json', type: 'symlink', link: 'b' },
        { path: 'b', type: 'symlink', link: 'index.json' },
      ]),
      'TAR_INVALID',
    ],
    [
      'an index that is there twice',
      tarOf([layout('{"schemaVersion":2,"manifests":[]}'), layout('{}')]),
      'TAR_INVALID',
    ],
    [
      'an index that is a device',
      tarOf([{ path: 'index.json', type: 'char', major: 1, minor: 5 }]),
      'MANIFEST_INVALID',
    ],
    ['a size beyond the file', tarOf([{ path: 'index.json', size: 2 ** 40 }]), 'TAR_INVALID'],
    ['a size beyond all files', tarOf([{ path: 'index.json', size: Number.MAX_SAFE_INTEGER }]), 'TAR_INVALID'],
    ['an index that is none', tarOf([layout('[]')]), 'MANIFEST_INVALID'],
    ['an index of 9 MiB', tarOf([layout(' '.repeat(9 << 20))]), 'MANIFEST_INVALID'],
    ['a manifest.json that is none', tarOf([{ path: 'manifest.json', bytes: '{}' }]), 'MANIFEST_INVALID'],
    [
      'a config out of the archive',
      tarOf([{ path: 'manifest.json', bytes: '[{"Config":"../../etc/passwd"}]' }]),
      'MANIFEST_INVALID',
    ],
    ['a config that is missing', tarOf([{ path: 'manifest.json', bytes: '[{"Config":"x"}]' }]), 'MANIFEST_INVALID'],
    [
      'more layers than diff IDs',
      tarOf([
        { path: 'c', bytes: '{"rootfs":{"diff_ids":[]}}' },
        { path: 'l', bytes: '' },
        { path: 'manifest.json', bytes: '[{"Config":"c","Layers":["l"]}]' },
      ]),
      'MANIFEST_INVALID',
    ],
    [
      'diff IDs that lie',
      tarOf([
        { path: 'c', bytes: `{"rootfs":{"diff_ids":["${sha256('x')}"]}}` },
        { path: 'l', bytes: 'abc' },
        { path: 'manifest.json', bytes: '[{"Config":"c","Layers":["l"],"RepoTags":["v:1"]}]' },
      ]),
      'DIGEST_MISMATCH',
    ],
  ]
  test.each(hostile)('%s', async (_, bytes, code) => {
    writeFileSync(file, bytes)
    expect(
      await failure(async () => {
        const from = await archiveReading(file)
        return readAll(from, from.resolve({}))
      }),
    ).toMatchObject({ code })
  })

  test('a manifest that is named twice is one image', async () => {
    const manifest = imageOf('a').manifests[0]!
    const entry = descriptorOf(manifest)
    await write([[undefined, imageOf('a')]])
    const from = await archiveReading(file)
    expect(from.resolve({})).toBe(entry.digest)
  })
})
