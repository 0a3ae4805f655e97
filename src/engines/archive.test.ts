import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib'
import { isArchimageError } from '../errors/error.ts'
import { type Digest, hexOf, sha256 } from '../oci/digest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import { openStore } from '../store/store.ts'
import type { TarEntry } from '../tar/entry.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import { type ArchivedImage, type ArchivedLayer, ImageArchive } from './archive.ts'

const home = mkdtempSync(join(tmpdir(), 'archimage-archive-'))
const store = openStore({ home })
afterAll(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})
// Nothing half written stays, whatever the archive was.
afterEach(() => expect(readdirSync(join(home, 'tmp'))).toEqual([]))

type Content = string | Uint8Array | { readonly link: string } | { readonly hardlink: string }

function tar(files: readonly (readonly [path: string, content: Content])[]): Buffer {
  const rest = { mode: 0o644, uid: 0, gid: 0, mtime: 0 }
  const parts = files.flatMap(([path, content]) => {
    if (typeof content === 'object' && !(content instanceof Uint8Array)) {
      const [type, link] =
        'link' in content ? (['symlink', content.link] as const) : (['hardlink', content.hardlink] as const)
      return [encodeHeader({ path, type, link, size: 0, ...rest })]
    }
    const bytes = Buffer.from(content as Uint8Array)
    const entry: TarEntry = { path, type: 'file', size: bytes.length, ...rest }
    return [encodeHeader(entry), bytes, Buffer.alloc(padding(bytes.length))]
  })
  return Buffer.concat([...parts, END_OF_ARCHIVE])
}

/** Incompressible and large enough not to be kept in memory. */
const LARGE = Buffer.alloc(1_500_000)
for (let i = 0; i < LARGE.length; i += 4) LARGE.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, i)

interface Options {
  readonly compression?: 'gzip' | 'zstd' | 'none'
  readonly known?: readonly string[]
  readonly chunk?: number
}

async function read(archive: Uint8Array, options: Options = {}): Promise<ArchivedImage> {
  const { compression = 'gzip', known = [], chunk = 10_000 } = options
  const reader = new ImageArchive({ store, from: 'docker', compression, known: new Set(known), workers: 0 })
  try {
    for (let at = 0; at < archive.length; at += chunk) await reader.push(archive.subarray(at, at + chunk))
    return await reader.finish()
  } finally {
    reader.abort()
  }
}

async function refusal(archive: Uint8Array, options?: Options): Promise<string> {
  try {
    await read(archive, options)
  } catch (error) {
    if (isArchimageError(error)) return `${error.code}: ${error.message}`
    throw error
  }
  return 'not refused'
}

const bytesOf = (layer: ArchivedLayer | undefined): Buffer => {
  if (layer?.kind !== 'blob') throw new Error(`no blob: ${layer?.kind}`)
  return store.read(layer.digest)
}

const blob = (bytes: Uint8Array | string): readonly [string, Content] => [`blobs/sha256/${hexOf(sha256(bytes))}`, bytes]
const describeBlob = (mediaType: string, bytes: Uint8Array | string) => ({
  ...{ mediaType, digest: sha256(bytes), size: Buffer.from(bytes as Uint8Array).length },
})

/** An image layout as `buildx -o type=oci` writes it. */
function layout(
  layers: readonly (readonly [mediaType: string, bytes: Uint8Array])[],
  change: { config?: string; files?: (files: [string, Content][]) => [string, Content][]; more?: object[] } = {},
): Buffer {
  const config = change.config ?? '{"os":"linux"}'
  const manifest = JSON.stringify({
    ...{ schemaVersion: 2, mediaType: OCI.manifest, config: describeBlob(OCI.config, config) },
    layers: layers.map(([mediaType, bytes]) => describeBlob(mediaType, bytes)),
  })
  const index = JSON.stringify({
    schemaVersion: 2,
    manifests: [describeBlob(OCI.manifest, manifest), ...(change.more ?? [])],
  })
  const files = [blob(config), blob(manifest), ...layers.map(([, bytes]) => blob(bytes)), ['index.json', index]]
  return tar(change.files ? change.files(files as [string, Content][]) : (files as [string, Content][]))
}

describe('an image layout', () => {
  test('config and compressed layers as they are, small and large, in chunks of any size', async () => {
    const [small, large] = [gzipSync('small'), gzipSync(LARGE)]
    const archive = layout([
      [OCI.layerGzip, small],
      [OCI.layerGzip, large],
    ])
    for (const chunk of [333, 65_536, 1 << 24]) {
      const { config, layers } = await read(archive, { chunk })
      expect(Buffer.from(config).toString()).toBe('{"os":"linux"}')
      expect(layers.map(bytesOf)).toEqual([small, large])
      expect(layers.map(layer => layer.kind === 'blob' && layer.compression)).toEqual(['gzip', 'gzip'])
    }
  })

  test('layers that are plain tars are compressed as is wanted', async () => {
    const archive = layout([
      [OCI.layer, Buffer.from('a plain one')],
      [OCI.layer, LARGE],
    ])
    const gzip = await read(archive, { chunk: 700_000 })
    expect(gzip.layers.map(layer => gunzipSync(bytesOf(layer)))).toEqual([Buffer.from('a plain one'), LARGE])
    const zstd = await read(archive, { compression: 'zstd' })
    expect(zstd.layers.map(layer => zstdDecompressSync(bytesOf(layer)))).toEqual([Buffer.from('a plain one'), LARGE])
    const none = await read(archive, { compression: 'none' })
    expect(none.layers.map(bytesOf)).toEqual([Buffer.from('a plain one'), LARGE])
  })

  test('layers that are at hand are not read, foreign ones stay where they are', async () => {
    const foreign = { ...describeBlob(OCI.nondistributableGzip, 'far away'), urls: ['https://example.com/layer'] }
    const manifest = JSON.stringify({
      ...{ schemaVersion: 2, config: describeBlob(OCI.config, '{}') },
      layers: [describeBlob(OCI.layerGzip, LARGE), foreign],
    })
    const index = JSON.stringify({ schemaVersion: 2, manifests: [describeBlob(OCI.manifest, manifest)] })
    const archive = tar([blob('{}'), blob(manifest), blob(LARGE), ['index.json', index]])
    const { layers } = await read(archive, { known: [hexOf(sha256(LARGE))] })
    expect(layers).toEqual([{ kind: 'known' }, { kind: 'foreign', descriptor: foreign as never }])
  })

  test('attestations are left out, an index in an index is followed', async () => {
    const attestation = {
      ...describeBlob(OCI.manifest, '{}'),
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
    }
    const { layers } = await read(layout([[OCI.layerGzip, gzipSync('x')]], { more: [attestation] }))
    expect(layers).toHaveLength(1)
  })

  test('what is damaged or too much is refused', async () => {
    const layers = [[OCI.layerGzip, gzipSync(LARGE)]] as const
    const change = (edit: (files: [string, Content][]) => [string, Content][]) =>
      refusal(layout(layers, { files: edit }))
    expect(await change(files => files.filter(([path]) => path !== blob('{"os":"linux"}')[0]))).toMatch(
      /^MANIFEST_INVALID: the archive of docker: blobs\/sha256\/\w+ is missing/,
    )
    expect(
      await change(files =>
        files.map(([path, content]) => [path, content === '{"os":"linux"}' ? '{"os":"other"}' : content]),
      ),
    ).toStartWith('DIGEST_MISMATCH')
    const flipped = Buffer.from(layers[0][1])
    flipped[500_000]! ^= 1
    expect(
      await change(files => files.map(([path, content]) => [path, content === layers[0][1] ? flipped : content])),
    ).toStartWith('DIGEST_MISMATCH')
    expect(await refusal(layout(layers, { more: [describeBlob(OCI.manifest, 'another')] }))).toContain('2 images')
    expect(await refusal(layout([['application/vnd.example', Buffer.from('x')]]))).toContain('application/vnd.example')
    expect(await refusal(layout(layers).subarray(0, 900_000))).toStartWith('TAR_INVALID')
    expect(await refusal(tar([['readme', 'hello']]))).toContain('manifest.json is missing')
    expect(await refusal(tar([['index.json', 'not JSON']]))).toContain('not valid JSON')
    expect(await refusal(Buffer.from('nothing of the kind'.repeat(100)))).toStartWith('TAR_INVALID')
  })

  test('an index that contains itself is left', async () => {
    // A digest cannot be its own, so the deepest that can be made are many levels.
    let [mediaType, bytes] = [OCI.index as string, JSON.stringify({ schemaVersion: 2, manifests: [] })]
    const files: (readonly [string, Content])[] = []
    for (let i = 0; i < 10; i++) {
      files.push(blob(bytes))
      bytes = JSON.stringify({ schemaVersion: 2, mediaType: OCI.index, manifests: [describeBlob(mediaType, bytes)] })
      mediaType = OCI.index
    }
    expect(await refusal(tar([...files, ['index.json', bytes]]))).toContain('too deep')
  })
})

describe('what docker save and podman save write', () => {
  const config = '{"os":"linux","architecture":"arm64"}'
  const listing = (layers: readonly string[], more: object[] = []): readonly [string, Content] => [
    'manifest.json',
    JSON.stringify([{ Config: 'config.json', RepoTags: ['a:b'], Layers: layers }, ...more]),
  ]

  test('layers by their paths, through links', async () => {
    const archive = tar([
      ['aaa/layer.tar', LARGE],
      ['bbb/layer.tar', { link: '../aaa/layer.tar' }],
      ['ccc/layer.tar', 'small'],
      ['ddd/layer.tar', { hardlink: 'ccc/layer.tar' }],
      ['config.json', config],
      listing(['aaa/layer.tar', 'bbb/layer.tar', 'ccc/layer.tar', 'ddd/layer.tar']),
    ])
    const { config: read_, layers } = await read(archive)
    expect(Buffer.from(read_).toString()).toBe(config)
    const small = Buffer.from('small')
    expect(layers.map(layer => gunzipSync(bytesOf(layer)))).toEqual([LARGE, LARGE, small, small])
  })

  test('chunks change no bytes', async () => {
    const archive = tar([['l.tar', LARGE], ['config.json', config], listing(['l.tar'])])
    const digests = new Set<Digest>()
    for (const chunk of [1000, 1 << 22]) {
      const [layer] = (await read(archive, { chunk })).layers
      if (layer?.kind === 'blob') digests.add(layer.digest)
    }
    expect(digests.size).toBe(1)
  })

  test('podman names layers by their diff IDs', async () => {
    const name = `${hexOf(sha256(LARGE))}.tar`
    const { layers } = await read(tar([[name, LARGE], ['config.json', config], listing([name])]), {
      known: [hexOf(sha256(LARGE))],
    })
    expect(layers).toEqual([{ kind: 'known' }])
  })

  test('what is wrong is refused', async () => {
    expect(await refusal(tar([['config.json', config], listing(['a', 'a'], [{}])]))).toContain(
      'does not name one image',
    )
    expect(await refusal(tar([['config.json', config], listing(['../../../etc/passwd'])]))).toContain('is missing')
    expect(
      await refusal(tar([['a', { link: 'b' }], ['b', { link: 'a' }], ['config.json', config], listing(['a'])])),
    ).toContain('too many links')
    expect(await refusal(tar([['../a', 'x']]))).toStartWith('TAR_INVALID')
    expect(await refusal(tar([['manifest.json', '[{"Config":1}]']]))).toContain('no config')
    expect(await refusal(tar([['manifest.json', 'x']]))).toContain('not valid JSON')
  })

  test('a layout beside the listing counts, as newer dockers write it', async () => {
    const manifest = JSON.stringify({
      ...{ schemaVersion: 2, mediaType: DOCKER.manifest, config: describeBlob(DOCKER.config, config) },
      layers: [describeBlob(OCI.layer, LARGE)],
    })
    const index = JSON.stringify({ schemaVersion: 2, manifests: [describeBlob(DOCKER.manifest, manifest)] })
    const archive = tar([blob(config), blob(manifest), blob(LARGE), ['index.json', index], listing(['nothing'])])
    const { layers } = await read(archive)
    expect(layers.map(layer => gunzipSync(bytesOf(layer)))).toEqual([LARGE])
  })
})
