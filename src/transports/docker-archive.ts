import { setImmediate } from 'node:timers/promises'
import { ArchimageError, cancelled } from '../errors/error.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { isRecord, parseJsonObject } from '../oci/json.ts'
import { type Descriptor, describe, encodeImageManifest } from '../oci/manifest.ts'
import { layerType, OCI } from '../oci/media-types.ts'
import { sniffCompression } from '../sys/compress.ts'
import { createHasher } from '../sys/hash.ts'
import { cleanPath } from '../tar/path-bytes.ts'
import { type Extent, memoryExtent } from './extent.ts'
import { EMPTY_INDEX, type IndexEntry, type IndexFile, namedEntry, withEntries } from './index-file.ts'
import type { LayoutFiles } from './layout-reading.ts'
import { smallFile, type TarIndex } from './tar-index.ts'

/** An image in manifest.json of docker's archives. */
interface Listing {
  readonly config: string
  readonly layers: readonly string[]
  readonly names: readonly string[]
}

const CHUNK = 1 << 20

/**
 * An archive of `docker save`, `podman save`, crane and the like, as if it were a layout: its images get the OCI manifests
 * that their configs and layers ask for, byte by byte the same each time. Plain layers go by the diff IDs of the config,
 * which are checked when they are read; compressed ones are hashed here. Throws MANIFEST_INVALID, TAR_INVALID.
 */
export async function dockerFiles(tar: TarIndex, place: string, signal?: AbortSignal): Promise<LayoutFiles> {
  const blobs = new Map<Digest, () => Extent>()
  const layers = new Map<string, Descriptor>()
  let index: IndexFile = EMPTY_INDEX
  for (const listing of listings(smallFile(tar, 'manifest.json', place)!, place)) {
    const raw = smallFile(tar, listing.config, place)
    if (raw === undefined) throw invalid(place, `config ${listing.config} is missing`)
    const config = { mediaType: OCI.config, digest: sha256(raw), size: raw.length }
    const diffIds = diffIdsOf(raw, `${place}: ${listing.config}`)
    if (diffIds.length !== listing.layers.length)
      throw invalid(
        place,
        `${listing.config} speaks of ${diffIds.length} layers, manifest.json of ${listing.layers.length}`,
      )
    blobs.set(config.digest, () => memoryExtent(raw))
    const descriptors: Descriptor[] = []
    for (const [i, path] of listing.layers.entries()) {
      const key = `${path} ${diffIds[i]}`
      const layer = layers.get(key) ?? (await layerOf(tar, path, diffIds[i]!, place, signal))
      layers.set(key, layer)
      descriptors.push(layer)
      blobs.set(layer.digest, () => tar.file(path)!)
    }
    const manifest = encodeImageManifest({ docker: false, config, layers: descriptors })
    blobs.set(manifest.digest, () => memoryExtent(manifest.raw))
    const names = listing.names.length === 0 ? [undefined] : listing.names
    const entries: IndexEntry[] = names.map(name => namedEntry(describe(manifest), name))
    index = withEntries(index, entries)
  }
  return {
    place,
    index: () => index,
    size: digest => blobs.get(digest)?.().size,
    open: digest => blobs.get(digest)?.(),
  }
}

async function layerOf(
  tar: TarIndex,
  path: string,
  diffId: Digest,
  place: string,
  signal: AbortSignal | undefined,
): Promise<Descriptor> {
  const extent = tar.file(path)
  if (extent === undefined) throw invalid(place, `layer ${path} is missing`)
  const head = Buffer.alloc(6)
  extent.read(head, 0)
  const compression = sniffCompression(head)
  if (compression === 'none') return { mediaType: layerType('none', false), digest: diffId, size: extent.size }
  if (compression !== 'gzip' && compression !== 'zstd')
    throw new ArchimageError('UNSUPPORTED', `${place}: layer ${path} is compressed with ${compression}`)
  const digest = await digestOf(extent, signal)
  return { mediaType: layerType(compression, false), digest, size: extent.size }
}

async function digestOf(extent: Extent, signal: AbortSignal | undefined): Promise<Digest> {
  const hasher = createHasher()
  const buffer = Buffer.allocUnsafeSlow(CHUNK)
  for (let at = 0; at < extent.size; ) {
    if (signal?.aborted) throw cancelled(signal.reason)
    const count = extent.read(buffer, at)
    if (count === 0) break
    hasher.update(buffer.subarray(0, count))
    at += count
    await setImmediate()
  }
  return `sha256:${hasher.hex()}`
}

function listings(bytes: Buffer, place: string): Listing[] {
  let json: unknown
  try {
    json = JSON.parse(bytes.toString())
  } catch {}
  if (!Array.isArray(json)) throw invalid(place, 'manifest.json is not a list')
  return json.map((item: unknown, i) => {
    const what = `manifest.json, image ${i + 1}`
    if (!isRecord(item)) throw invalid(place, `${what}: it is not an object`)
    const { Config, Layers, RepoTags } = item
    const [layers, names] = [Layers ?? [], RepoTags ?? []]
    if (typeof Config !== 'string' || !isStrings(layers) || !isStrings(names))
      throw invalid(place, `${what}: it has no config and layers`)
    const path = (text: string): string => {
      const clean = cleanPath(text)
      if (clean === undefined || clean === '') throw invalid(place, `${what}: "${text.slice(0, 200)}" is no path in it`)
      return clean
    }
    return { config: path(Config), layers: layers.map(path), names }
  })
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= 10_000 && value.every(item => typeof item === 'string')
}

function diffIdsOf(raw: Buffer, what: string): Digest[] {
  const { rootfs } = parseJsonObject(raw, what)
  const ids = isRecord(rootfs) ? (rootfs['diff_ids'] ?? []) : []
  if (!isStrings(ids) || !ids.every(id => /^sha256:[0-9a-f]{64}$/.test(id)))
    throw new ArchimageError('MANIFEST_INVALID', `${what}: its diff IDs are not digests`)
  return ids as Digest[]
}

function invalid(place: string, why: string): ArchimageError {
  return new ArchimageError('MANIFEST_INVALID', `${place}: ${why}`)
}
