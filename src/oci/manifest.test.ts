import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { isArchimageError } from '../errors/error.ts'
import { encodeImageConfig, parseImageConfig } from './config.ts'
import { type Digest, sha256 } from './digest.ts'
import { describe as descriptorOf, encodeImageManifest, encodeIndex, isAttestation, parseManifest } from './manifest.ts'
import { DOCKER, OCI } from './media-types.ts'
import { parsePlatform } from './platform.ts'

const digest = (letter: string): Digest => `sha256:${letter.repeat(64)}`
const raw = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const config = { mediaType: OCI.config, digest: digest('a'), size: 2 }
const layer = { mediaType: OCI.layerGzip, digest: digest('b'), size: 3 }

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (isArchimageError(error)) return `${error.code}: ${error.message}`
    throw error
  }
  return 'accepted'
}

describe('parseManifest', () => {
  test('raw bytes are kept, white space and unknown fields included', () => {
    const bytes = Buffer.from(`{ "schemaVersion": 2,\n "x": 1, "config": ${JSON.stringify(config)}, "layers": [] }\n`)
    const manifest = parseManifest(bytes, OCI.manifest)
    expect(manifest.raw).toBe(bytes)
    expect(manifest.digest).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
    expect(manifest.kind).toBe('image')
  })

  test('what the document says wins over what the carrier says, and the shape over a wrong carrier', () => {
    const docker = raw({ schemaVersion: 2, mediaType: DOCKER.index, manifests: [] })
    expect(parseManifest(docker, 'application/json').mediaType).toBe(DOCKER.index)
    expect(parseManifest(raw({ schemaVersion: 2, config, layers: [] }), 'text/plain').mediaType).toBe(OCI.manifest)
    expect(
      parseManifest(raw({ schemaVersion: 2, config: { ...config, mediaType: DOCKER.config }, layers: [] })).mediaType,
    ).toBe(DOCKER.manifest)
  })

  test.each<[string, unknown, string]>([
    ['an image and an index at once', { schemaVersion: 2, config, layers: [], manifests: [] }, 'image and an index'],
    ['neither', { schemaVersion: 2 }, 'neither'],
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, 'schema 1'],
    ['no version', { config, layers: [] }, 'schemaVersion'],
    ['a list', [], 'not a JSON object'],
    ['a media type that contradicts', { schemaVersion: 2, mediaType: OCI.index, config, layers: [] }, 'contradicts'],
    ['a bad digest', { schemaVersion: 2, config: { ...config, digest: 'sha256:../../x' }, layers: [] }, 'digest'],
    ['a negative size', { schemaVersion: 2, config, layers: [{ ...layer, size: -1 }] }, 'size'],
    ['a size with a fraction', { schemaVersion: 2, config, layers: [{ ...layer, size: 1.5 }] }, 'size'],
    ['a huge size', { schemaVersion: 2, config, layers: [{ ...layer, size: 1e300 }] }, 'size'],
    ['layers that are no list', { schemaVersion: 2, config, layers: {} }, 'not a list'],
    ['a descriptor that is text', { schemaVersion: 2, config: 'x', layers: [] }, 'not a descriptor'],
    [
      'a platform without os',
      { schemaVersion: 2, manifests: [{ ...layer, platform: { architecture: 'amd64' } }] },
      'platform',
    ],
    ['an annotation that is a number', { schemaVersion: 2, manifests: [], annotations: { a: 1 } }, 'annotation'],
  ])('%s is refused', (_, value, why) => {
    const said = refusal(() => parseManifest(raw(value)))
    expect(said).toStartWith('MANIFEST_INVALID: ')
    expect(said).toContain(why)
  })

  test('bytes that are no UTF-8, or too many, are refused', () => {
    expect(refusal(() => parseManifest(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])))).toContain('not valid JSON')
    expect(refusal(() => parseManifest(Buffer.alloc(9 << 20, 0x20)))).toContain('are more than')
  })
})

describe('what we write', () => {
  test('an image manifest: fields in the order of the spec, no white space', () => {
    const { raw: bytes } = encodeImageManifest({
      docker: false,
      config,
      layers: [layer],
      annotations: { b: '2', a: '1' },
    })
    expect(Buffer.from(bytes).toString()).toBe(
      `{"schemaVersion":2,"mediaType":"${OCI.manifest}","config":{"mediaType":"${OCI.config}","digest":"${digest('a')}","size":2},"layers":[{"mediaType":"${OCI.layerGzip}","digest":"${digest('b')}","size":3}],"annotations":{"a":"1","b":"2"}}`,
    )
  })

  test('an index keeps order, and two entries with one digest', () => {
    const image = encodeImageManifest({ docker: false, config, layers: [] })
    const index = encodeIndex({
      docker: false,
      manifests: [descriptorOf(image, parsePlatform('arm/v7')), descriptorOf(image, parsePlatform('amd64'))],
    })
    expect(index.manifests.map(entry => entry.platform)).toEqual([
      { architecture: 'arm', os: 'linux', variant: 'v7' },
      { architecture: 'amd64', os: 'linux' },
    ])
    expect(index.manifests[0]!.digest).toBe(index.manifests[1]!.digest)
    expect(index.mediaType).toBe(OCI.index)
    expect(encodeIndex({ docker: true, manifests: [] }).mediaType).toBe(DOCKER.index)
  })

  test('attestations are told from images', () => {
    expect(isAttestation({ ...layer, platform: { os: 'unknown', architecture: 'unknown' } })).toBe(true)
    expect(isAttestation({ ...layer, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } })).toBe(true)
    expect(isAttestation({ ...layer, platform: { os: 'linux', architecture: 'amd64' } })).toBe(false)
  })
})

describe('image config', () => {
  const rootfs = { type: 'layers' as const, diff_ids: [digest('c')] }

  test('known fields in order, unknown ones kept behind them, maps by key', () => {
    const bytes = encodeImageConfig({
      zebra: 1,
      rootfs,
      os: 'linux',
      architecture: 'amd64',
      config: { Cmd: ['x'], Labels: { b: '', a: '' }, Env: ['A=1'], Extra: true },
    })
    expect(bytes.toString()).toBe(
      `{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Cmd":["x"],"Labels":{"a":"","b":""},"Extra":true},"rootfs":{"type":"layers","diff_ids":["${digest('c')}"]},"zebra":1}`,
    )
    expect(sha256(encodeImageConfig(parseImageConfig(bytes)))).toBe(sha256(bytes))
  })

  test.each<[unknown, string]>([
    [{ os: 'linux', rootfs }, 'architecture'],
    [{ os: 'linux', architecture: 'amd64', rootfs: { diff_ids: ['x'] } }, 'not a digest'],
    [{ os: 'linux', architecture: 'amd64', rootfs, config: { Env: 'A=1' } }, 'Env'],
    [{ os: 'linux', architecture: 'amd64', rootfs, config: { Labels: [] } }, 'Labels'],
    [{ os: 'linux', architecture: 'amd64', rootfs, config: { User: 0 } }, 'User'],
    [{ os: 'linux', architecture: 'amd64', rootfs, history: {} }, 'history'],
  ])('%p is refused', (value, why) => expect(refusal(() => parseImageConfig(raw(value)))).toContain(why))
})
