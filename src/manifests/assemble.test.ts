import { describe, expect, test } from 'bun:test'
import { sha256 } from '../oci/digest.ts'
import { encodeImageManifest, type ImageManifest } from '../oci/manifest.ts'
import { parsePlatform } from '../oci/platform.ts'
import { assembleIndex } from './assemble.ts'

const image = (name: string): ImageManifest =>
  encodeImageManifest({
    docker: false,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(name), size: name.length },
    layers: [],
  })
const member = (platform: string, name = platform) => ({ platform: parsePlatform(platform), manifest: image(name) })

describe('an index of members', () => {
  test('keeps the order, and says the platform in its one form', () => {
    const index = assembleIndex([member('linux/arm/v7'), member('linux/amd64'), member('aarch64')], { docker: false })
    expect(JSON.parse(Buffer.from(index.raw).toString())).toEqual({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        [{ architecture: 'arm', os: 'linux', variant: 'v7' }, 'linux/arm/v7'],
        [{ architecture: 'amd64', os: 'linux' }, 'linux/amd64'],
        [{ architecture: 'arm64', os: 'linux' }, 'aarch64'],
      ].map(([platform, name]) => ({
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: image(name as string).digest,
        size: image(name as string).raw.byteLength,
        platform,
      })),
    })
  })

  test('the same image for two platforms keeps both entries', () => {
    const { manifests } = assembleIndex([member('linux/amd64', 'same'), member('linux/arm64', 'same')], {
      docker: false,
    })
    expect(manifests.map(entry => entry.digest)).toEqual([image('same').digest, image('same').digest])
  })

  test("Docker's has no annotations, OCI's has them by name", () => {
    const annotations = { b: '2', a: '1' }
    const oci = assembleIndex([member('linux/amd64')], { docker: false, annotations })
    expect(Object.entries(oci.annotations)).toEqual([
      ['a', '1'],
      ['b', '2'],
    ])
    const docker = assembleIndex([member('linux/amd64')], { docker: true, annotations })
    expect(docker.mediaType).toBe('application/vnd.docker.distribution.manifest.list.v2+json')
    expect(docker.annotations).toEqual({})
  })

  test('no image, and two for one platform, are errors', () => {
    expect(() => assembleIndex([], { docker: false })).toThrow(expect.objectContaining({ code: 'INCOMPLETE' }))
    expect(() => assembleIndex([member('arm64', 'a'), member('linux/arm64/v8', 'b')], { docker: false })).toThrow(
      expect.objectContaining({ code: 'MANIFEST_INVALID', message: 'two images for linux/arm64 in one index' }),
    )
    const versions = [member('windows(10.0.17763)/amd64', 'a'), member('windows(10.0.20348)/amd64', 'b')]
    expect(assembleIndex(versions, { docker: false }).manifests).toHaveLength(2)
  })
})
