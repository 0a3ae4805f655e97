import { describe, expect, test } from 'bun:test'
import { isArchimageError } from '../errors/error.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { parseManifest } from '../oci/manifest.ts'
import { cacheManifest, encodeCache, parseCache, type StepCache } from './cached-steps.ts'
import { layerItems } from './native/imported-step.ts'

const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: sha256('layer'), size: 5 }
const left = { id: sha256('id'), diffId: sha256('diff'), layer }
const CACHE: StepCache = {
  written: { format: 2, compression: 'gzip' },
  steps: [
    { key: 'a'.repeat(64), seconds: 1.5, emulated: true, left },
    { key: 'b'.repeat(64), seconds: 0, emulated: false },
    { key: 'c'.repeat(64), seconds: 0, emulated: false, left },
  ],
}

function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (isArchimageError(error)) return `${error.code}: ${error.message}`
    throw error
  }
  return 'not refused'
}

test('a cache is an image manifest of its own type, and tells what was written', () => {
  const { manifest, config } = encodeCache(CACHE)
  const json = JSON.parse(Buffer.from(manifest.raw).toString())
  expect(json.artifactType).toBe('application/vnd.archimage.cache.v1')
  expect(json.layers).toEqual([layer])
  const read = cacheManifest(parseManifest(manifest.raw), 'the cache')
  expect(parseCache(read, config, 'the cache')).toEqual(CACHE)
})

describe('what is refused', () => {
  const { manifest, config } = encodeCache(CACHE)
  const told = JSON.parse(Buffer.from(config).toString())
  const said = (change: object, layers = manifest.layers): string =>
    refusal(() => parseCache({ ...manifest, layers }, Buffer.from(JSON.stringify({ ...told, ...change })), 'it'))
  const step = (change: object): string => said({ steps: [{ ...told.steps[0], ...change }] })

  test('configs that are not right', () => {
    expect(said({})).toBe('not refused')
    expect(said({ version: 2 })).toContain('version 2 is not known here')
    expect(said({ written: { format: 2, compression: 'lz4' } })).toContain('compression')
    expect(said({ steps: Array.from({ length: 10_001 }, () => told.steps[1]) })).toContain('more than 10000')
    expect(step({ key: '../../x' })).toContain('no key')
    expect(step({ seconds: -1 })).toContain('how it ran')
    for (const place of [1, -1, 0.5, '0', 'length', null]) expect(step({ layer: place })).toContain('names no layer')
    expect(step({ id: 'sha256:x' })).toContain('names no layer')
    expect(said({}, [{ ...layer, mediaType: 'text/html' }])).toContain('text/html')
    expect(said({}, [{ ...layer, size: 2 ** 40 }])).toContain('none that can be read')
    expect(refusal(() => parseCache(manifest, Buffer.from('[]'), 'it'))).toStartWith('MANIFEST_INVALID')
  })

  test('images that are no cache', () => {
    const { artifactType: _, ...image } = manifest
    expect(refusal(() => cacheManifest(image, 'it'))).toContain('no cache of archimage')
  })

  test('layers that no step leaves', () => {
    const dir = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0, size: 0 } as const
    const file = { ...dir, type: 'file' } as const
    const of = (...entries: Parameters<typeof layerItems>[0]['entries']): string =>
      refusal(() => layerItems({ diffId: sha256('x') as Digest, size: 0, entries }, 'it'))
    const entry = (path: string, what: typeof dir | typeof file) => ({ path, kind: 'entry' as const, entry: what })
    expect(of(entry('a', dir), entry('a/b', file), { path: 'a/c', kind: 'whiteout' })).toBe('not refused')
    expect(of(entry('a', dir), { path: 'a', kind: 'opaque' }, entry('a/b', file))).toBe('not refused')
    expect(of(entry('a/b', file))).toContain('nothing that a step leaves')
    expect(of(entry('a', file), entry('a/b', file))).toContain('nothing that a step leaves')
    expect(of(entry('a', file), entry('a', file))).toContain('nothing that a step leaves')
    expect(of(entry('', dir))).toContain('nothing that a step leaves')
    expect(of({ path: 'a', kind: 'entry', link: 'b', inode: file })).toContain('nothing that a step leaves')
  })
})
