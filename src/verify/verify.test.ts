import { describe, expect, test } from 'bun:test'
import { ArchimageError } from '../errors/error.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { type Descriptor, encodeImageManifest, encodeIndex, type Manifest, parseManifest } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { parsePlatform, parsePlatforms } from '../oci/platform.ts'
import type { Transport } from '../transports/transport.ts'
import { verifyImage } from './verify.ts'

/** A repository in memory; whatever is taken out of the maps is missing. */
class Memory {
  readonly manifests = new Map<string, Manifest>()
  readonly blobs = new Map<Digest, Uint8Array>()
  failure: Error | undefined

  readonly transport: Transport = {
    name: 'memory',
    manifest: async name => {
      if (this.failure) throw this.failure
      return this.manifests.get(name)
    },
    head: async () => undefined,
    hasBlob: async ({ digest, size }) => this.blobs.get(digest)?.byteLength === size,
    blob: async ({ digest }) => {
      const bytes = this.blobs.get(digest)
      if (!bytes) throw new ArchimageError('NOT_FOUND', `${digest} is not there`)
      return new Blob([bytes as Uint8Array<ArrayBuffer>]).stream()
    },
    putBlob: () => Promise.reject(new Error('nothing is written')),
    putManifest: () => Promise.reject(new Error('nothing is written')),
  }

  blob(bytes: Uint8Array, mediaType: string): Descriptor {
    const digest = sha256(bytes)
    this.blobs.set(digest, bytes)
    return { mediaType, digest, size: bytes.byteLength }
  }

  image(platform: string, says = platform, layers = [`layer of ${platform}`]): Descriptor {
    const { os, architecture, variant } = parsePlatform(says)
    const descriptors = layers.map(text => this.blob(Buffer.from(text), OCI.layer))
    const rootfs = { type: 'layers', diff_ids: descriptors.map(layer => layer.digest) }
    const config = this.blob(Buffer.from(JSON.stringify({ os, architecture, variant, rootfs })), OCI.config)
    const manifest = encodeImageManifest({ docker: false, config, layers: descriptors })
    this.manifests.set(manifest.digest, manifest)
    const { mediaType, digest, raw } = manifest
    return { mediaType, digest, size: raw.byteLength, platform: parsePlatform(platform) }
  }

  tag(name: string, manifests: readonly Descriptor[]): Manifest {
    const index = encodeIndex({ docker: false, manifests })
    this.manifests.set(name, index)
    return index
  }
}

const platforms = parsePlatforms(['linux/amd64,linux/arm64'])
const problems = async (memory: Memory, expected: Parameters<typeof verifyImage>[2] = { platforms }) =>
  (await verifyImage(memory.transport, 'v1', expected)).problems

describe('an index', () => {
  test('that is right: its digest, and one image for each platform', async () => {
    const memory = new Memory()
    const [amd64, arm64] = [memory.image('linux/amd64'), memory.image('linux/arm64')]
    const index = memory.tag('v1', [amd64, arm64])
    expect(await verifyImage(memory.transport, 'v1', { platforms, digest: index.digest })).toEqual({
      digest: index.digest,
      cells: { 'linux/amd64': amd64.digest, 'linux/arm64': arm64.digest },
      problems: [],
    })
  })

  test('that is not there, or has another digest', async () => {
    const memory = new Memory()
    expect(await problems(memory)).toEqual(['"v1" is not there'])
    const index = memory.tag('v1', [memory.image('linux/amd64'), memory.image('linux/arm64')])
    const digest = sha256('other')
    expect(await problems(memory, { platforms, digest })).toEqual([`"v1" is ${index.digest}, expected ${digest}`])
  })

  test('without a platform, and with one twice', async () => {
    const memory = new Memory()
    memory.tag('v1', [memory.image('linux/amd64'), memory.image('linux/amd64', 'linux/amd64', ['another'])])
    expect(await problems(memory)).toEqual(['linux/amd64 is in the index twice', 'linux/arm64 is missing'])
  })

  test('whose attestations are no images', async () => {
    const memory = new Memory()
    const attestation = { ...memory.image('linux/amd64'), platform: { os: 'unknown', architecture: 'unknown' } }
    memory.tag('v1', [memory.image('linux/amd64'), memory.image('linux/arm64'), attestation])
    expect(await problems(memory)).toEqual([])
  })
})

describe('what is behind an index', () => {
  test('a manifest that is missing or has another size', async () => {
    const memory = new Memory()
    const [amd64, arm64] = [memory.image('linux/amd64'), memory.image('linux/arm64')]
    memory.tag('v1', [{ ...amd64, size: amd64.size + 1 }, arm64])
    memory.manifests.delete(arm64.digest)
    expect(await problems(memory)).toEqual([
      `linux/amd64: its manifest has ${amd64.size} bytes, the index says ${amd64.size + 1}`,
      `linux/arm64: its manifest ${arm64.digest} is not there`,
    ])
  })

  test('a layer or a config that is missing', async () => {
    const memory = new Memory()
    const amd64 = memory.image('linux/amd64')
    const arm64 = memory.image('linux/arm64')
    memory.tag('v1', [amd64, arm64])
    const manifest = memory.manifests.get(amd64.digest)! as Manifest & { kind: 'image' }
    memory.blobs.delete(manifest.layers[0]!.digest)
    const other = memory.manifests.get(arm64.digest)! as Manifest & { kind: 'image' }
    memory.blobs.delete(other.config.digest)
    expect(await problems(memory)).toEqual([
      `linux/amd64: layer ${manifest.layers[0]!.digest} (20 bytes) is not there`,
      `linux/arm64: config: ${other.config.digest} is not there`,
    ])
  })

  test('layers that stay where their urls say are not asked for', async () => {
    const memory = new Memory()
    const config = memory.blob(
      Buffer.from(JSON.stringify({ os: 'windows', architecture: 'amd64', rootfs: { diff_ids: [sha256('x')] } })),
      OCI.config,
    )
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
    const layer = { mediaType, digest: sha256('far away'), size: 8, urls: ['https://example.com/layer'] }
    const manifest = encodeImageManifest({ docker: false, config, layers: [layer] })
    memory.manifests.set('v1', manifest)
    expect(await problems(memory, { platforms: parsePlatforms(['windows/amd64']) })).toEqual([])
  })

  test('a config of another platform, or with other layers', async () => {
    const memory = new Memory()
    const wrong = memory.image('linux/arm64', 'linux/amd64')
    memory.tag('v1', [memory.image('linux/amd64'), wrong])
    expect(await problems(memory)).toEqual(['linux/arm64: the index says linux/arm64, the config says linux/amd64'])
    const single = memory.manifests.get(wrong.digest)! as Manifest & { kind: 'image' }
    const fewer = encodeImageManifest({ docker: false, config: single.config, layers: [] })
    memory.manifests.set('v1', parseManifest(fewer.raw))
    expect(await problems(memory, { platforms: [parsePlatform('amd64')] })).toEqual([
      'the image: 0 layers, but the config names 1',
    ])
  })

  test('an index inside an index', async () => {
    const memory = new Memory()
    const inner = memory.tag('inner', [memory.image('linux/amd64')])
    memory.manifests.set(inner.digest, inner)
    memory.tag('v1', [{ mediaType: inner.mediaType, digest: inner.digest, size: inner.raw.byteLength }])
    expect((await problems(memory, { platforms: [] }))[0]).toContain('an index inside an index')
  })
})

test('a place that cannot be reached is no finding', async () => {
  const memory = new Memory()
  memory.failure = new ArchimageError('REGISTRY_UNREACHABLE', 'nobody there')
  await expect(problems(memory)).rejects.toMatchObject({ code: 'REGISTRY_UNREACHABLE' })
})
