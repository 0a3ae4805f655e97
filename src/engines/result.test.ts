import { afterAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdDecompressSync } from 'node:zlib'
import { isArchimageError } from '../errors/error.ts'
import { parseImageConfig } from '../oci/config.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { encodeImageManifest } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import { openStore } from '../store/store.ts'
import { END_OF_ARCHIVE, encodeHeader } from '../tar/writer.ts'
import type { ArchivedLayer } from './archive.ts'
import type { Cell } from './engine.ts'
import { knownIndex } from './native/base.ts'
import { takeImage } from './result.ts'
import { type CellChange, cellOf, emptyImage } from './testing/cells.ts'

const home = mkdtempSync(join(tmpdir(), 'archimage-result-'))
const store = openStore({ home })
afterAll(() => {
  store.close()
  rmSync(home, { recursive: true, force: true })
})

const entry = { mode: 0o644, uid: 0, gid: 0, mtime: 0, size: 0 }
const tar = (name: string): Buffer =>
  Buffer.concat([encodeHeader({ path: name, type: 'file', ...entry }), END_OF_ARCHIVE])

/** A layer as an archive brings it, and its diff ID. */
function layer(bytes: Buffer): { diffId: Digest; layer: ArchivedLayer } {
  const digest = store.put(gzipSync(bytes))
  return {
    diffId: sha256(bytes),
    layer: { kind: 'blob', digest, size: store.size(digest)!, compression: 'gzip' },
  }
}

const tools = {
  ...{ store, emit: () => {}, signal: new AbortController().signal, jobs: 1 },
  fetch: () => Promise.reject(new Error('nothing to fetch')),
}

interface Built {
  readonly os?: string
  readonly diffIds: readonly Digest[]
  readonly layers: readonly ArchivedLayer[]
  readonly history?: readonly object[]
  readonly config?: object
}

async function take(cell: Cell, { os = 'linux', diffIds, layers, history = [], config = {} }: Built) {
  const rootfs = { type: 'layers', diff_ids: diffIds }
  const built = { os, architecture: 'arm64', created: '2026-11-25T15:38:15.7Z', rootfs, history, config }
  const manifest = await takeImage({ config: Buffer.from(JSON.stringify(built)), layers }, cell, 'docker', tools)
  return { manifest, config: parseImageConfig(store.read(manifest.config.digest)) }
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (isArchimageError(error)) return `${error.code}: ${error.message}`
    throw error
  }
  return 'not refused'
}

/** A cell upon a base with one layer. */
async function upon(base: Buffer, dockerfile = 'FROM a\nRUN make\nLABEL by=us\n', change: CellChange = {}) {
  const made = await cellOf(dockerfile, change)
  const descriptor = { mediaType: OCI.layerGzip, digest: sha256('the blob of the base'), size: 20 }
  const config = { mediaType: OCI.config, digest: sha256('config'), size: 2 }
  const image = {
    ...emptyImage('a', made.platform),
    manifest: encodeImageManifest({ docker: false, config, layers: [descriptor] }),
    config: { ...made.platform, rootfs: { type: 'layers' as const, diff_ids: [sha256(base)] } },
  }
  return { cell: { ...made, lowered: { ...made.lowered, bases: [image] } }, descriptor }
}

describe('the image of another engine', () => {
  test('layers of bases keep their blobs, new ones are read once and known', async () => {
    const base = tar('base')
    const { cell, descriptor } = await upon(base)
    const made = layer(tar('made'))
    const { manifest, config } = await take(cell, {
      diffIds: [sha256(base), made.diffId],
      layers: [{ kind: 'known' }, made.layer],
      config: { Labels: { 'io.buildah.version': '1.28.2' }, Hostname: 'x' },
    })
    expect(manifest.mediaType).toBe(OCI.manifest)
    expect(manifest.layers[0]).toEqual(descriptor)
    expect(manifest.layers[1]).toMatchObject({ mediaType: OCI.layerGzip })
    expect(config.rootfs.diff_ids).toEqual([sha256(base), made.diffId])
    expect(config.config?.Labels).toEqual({ by: 'us' })
    expect(config.config).not.toHaveProperty('Hostname')
    expect(knownIndex(store, made.diffId)?.entries.map(({ path }) => path)).toEqual(['made'])
  })

  test("with Docker's media types", async () => {
    const cell = await cellOf('FROM a\nRUN make\n', {
      cell: { options: { docker: true, compression: 'gzip', times: { mode: 'content' }, annotations: {} } },
    })
    const made = layer(tar('made'))
    const { manifest } = await take(cell, { diffIds: [made.diffId], layers: [made.layer] })
    expect([manifest.mediaType, manifest.layers[0]!.mediaType]).toEqual([DOCKER.manifest, DOCKER.layerGzip])
  })

  test('a layer that is compressed otherwise than is wanted', async () => {
    const cell = await cellOf('FROM a\nRUN make\n')
    const zstd = { ...cell, options: { ...cell.options, compression: 'zstd' as const } }
    const made = layer(tar('made'))
    const { manifest } = await take(zstd, { diffIds: [made.diffId], layers: [made.layer] })
    expect(manifest.layers[0]!.mediaType).toBe(OCI.layerZstd)
    expect<Buffer>(zstdDecompressSync(Uint8Array.from(store.read(manifest.layers[0]!.digest)))).toEqual(tar('made'))
  })

  test('times are those of the build, or the moment that was asked for', async () => {
    const made = layer(tar('made'))
    const history = [
      { created: '1999-01-01T00:00:00Z', created_by: 'old' },
      { created: '2026-11-25T15:38:15Z', created_by: 'RUN make', comment: 'FROM localhost/archimage-1/base:2' },
      { created_by: 'LABEL', comment: 'buildkit.dockerfile.v0', empty_layer: true },
    ]
    const built: Built = { diffIds: [made.diffId], layers: [made.layer], history }
    const free = await take(await cellOf('FROM a\nRUN make\n'), built)
    expect(free.config.created).toBe('2026-11-25T15:38:15.7Z')
    expect(free.config.history).toEqual([
      { created: '1999-01-01T00:00:00Z', created_by: 'old' },
      { created: '2026-11-25T15:38:15Z', created_by: 'RUN make' },
      { created_by: 'LABEL', comment: 'buildkit.dockerfile.v0', empty_layer: true },
    ])
    const fixed = await cellOf('FROM a\nRUN make\n')
    const options = { ...fixed.options, times: { mode: 'content' as const, fixed: 1_000_000_000 } }
    const target = {
      ...fixed.lowered.target,
      config: { ...fixed.lowered.target.config, created: '2001-09-09T01:46:40Z' },
    }
    const { config } = await take({ ...fixed, options, lowered: { ...fixed.lowered, target } }, built)
    expect(config.created).toBe('2001-09-09T01:46:40Z')
    const young = Buffer.concat([
      encodeHeader({ path: 'old', type: 'file', ...entry, mtime: 5 }),
      encodeHeader({ path: 'long/'.repeat(60), type: 'dir', ...entry, mtime: 1_700_000_000 }),
      encodeHeader({ path: 'young', type: 'file', ...entry, mtime: 1_700_000_000, size: 3 }),
      Buffer.alloc(512, 'x\n\n'),
      END_OF_ARCHIVE,
    ])
    const late = layer(young)
    const clamped = await take({ ...fixed, options }, { diffIds: [late.diffId], layers: [late.layer] })
    const { entries } = knownIndex(store, clamped.config.rootfs.diff_ids[0]!)!
    expect(entries.map(one => one.entry?.mtime)).toEqual([5, 1_000_000_000, 1_000_000_000])
    expect(entries[2]!.entry?.digest).toBe(sha256('x\n\n'))
    expect(config.history?.map(one => one.created)).toEqual([
      ...['1999-01-01T00:00:00Z', '2001-09-09T01:46:40Z', '2001-09-09T01:46:40Z'],
    ])
  })

  test('what does not hold is refused', async () => {
    const cell = await cellOf('FROM a\nRUN make\n')
    const [one, other] = [layer(tar('one')), layer(tar('other'))]
    expect(await refusal(take(cell, { os: 'windows', diffIds: [], layers: [] }))).toMatch(
      /^PLATFORM_MISMATCH: docker built an image for windows\/arm64 instead of linux\/arm64/,
    )
    expect(await refusal(take(cell, { diffIds: [one.diffId], layers: [] }))).toContain('0 layers, its config names 1')
    expect(await refusal(take(cell, { diffIds: [one.diffId], layers: [other.layer] }))).toStartWith('DIGEST_MISMATCH')
    expect(await refusal(take(cell, { diffIds: [one.diffId], layers: [{ kind: 'known' }] }))).toContain(
      'not in the archive',
    )
    const hostile = layer(Buffer.concat([encodeHeader({ path: 'a', type: 'file', ...entry }), Buffer.from('no tar')]))
    expect(await refusal(take(cell, { diffIds: [hostile.diffId], layers: [hostile.layer] }))).toStartWith('TAR_INVALID')
    expect(await refusal(takeImage({ config: Buffer.from('no'), layers: [] }, cell, 'docker', tools))).toStartWith(
      'MANIFEST_INVALID',
    )
  })
})
