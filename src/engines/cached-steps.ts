import { ArchimageError } from '../errors/error.ts'
import { type Digest, isDigest, sha256 } from '../oci/digest.ts'
import { encodeJson, isRecord, parseJsonObject } from '../oci/json.ts'
import { type Descriptor, encodeImageManifest, type ImageManifest, type Manifest } from '../oci/manifest.ts'
import { type Compression, compressionOf } from '../oci/media-types.ts'

/** The artifact type of a cache of RUN steps (docs/cache.md). */
export const CACHE_TYPE = 'application/vnd.archimage.cache.v1'
export const CACHE_CONFIG = 'application/vnd.archimage.cache.config.v1+json'

const VERSION = 1
const MOST_STEPS = 10_000
/** Compressed layers above this are not fetched: 64 GiB. */
const MOST_BYTES = 64 * 2 ** 30

/** What a RUN step left, as other machines can take it over. */
export interface CachedStep {
  readonly key: string
  /** How long it took when it ran, and whether it was emulated then. */
  readonly seconds: number
  readonly emulated: boolean
  /** Absent for a step that changed nothing. */
  readonly left?: {
    /** Digest of all that it changed, which follows from the layer. */
    readonly id: Digest
    readonly diffId: Digest
    readonly layer: Descriptor
  }
}

/** How layers were written: who writes them in the same way gets the same bytes. */
export interface Written {
  /** `FORMAT` of plan/key.ts. */
  readonly format: number
  readonly compression: Compression
  readonly level?: number
}

export interface StepCache {
  readonly written: Written
  readonly steps: readonly CachedStep[]
}

/** A step found in a cache. */
export interface ImportedStep {
  /** The cache, for people. */
  readonly from: string
  readonly step: CachedStep
  readonly written: Written
  /** Brings its layer into the store. */
  readonly fetch: (signal: AbortSignal) => Promise<void>
}

/** The manifest of a cache, and its config. The same steps give the same bytes. */
export function encodeCache({ written, steps }: StepCache): {
  readonly manifest: ImageManifest
  readonly config: Uint8Array
} {
  const layers = new Map(steps.flatMap(({ left }) => (left ? [[left.layer.digest, left.layer]] : [])))
  const places = [...layers.keys()]
  const { format, compression, level } = written
  const config = encodeJson({
    version: VERSION,
    written: { format, compression, level },
    steps: steps.map(({ key, seconds, emulated, left }) => ({
      ...{ key, seconds, emulated },
      ...(left ? { id: left.id, diffId: left.diffId, layer: places.indexOf(left.layer.digest) } : {}),
    })),
  })
  const manifest = encodeImageManifest({
    docker: false,
    artifactType: CACHE_TYPE,
    config: { mediaType: CACHE_CONFIG, digest: sha256(config), size: config.length },
    layers: [...layers.values()],
  })
  return { manifest, config }
}

/** The image manifest that a name of a cache leads to. Throws MANIFEST_INVALID. */
export function cacheManifest(manifest: Manifest, what: string): ImageManifest {
  if (manifest.kind !== 'image' || manifest.artifactType !== CACHE_TYPE || manifest.config.mediaType !== CACHE_CONFIG)
    throw new ArchimageError('MANIFEST_INVALID', `${what} is no cache of archimage (artifact type ${CACHE_TYPE})`)
  return manifest
}

/** What a cache says of its steps. Throws MANIFEST_INVALID. */
export function parseCache({ layers }: ImageManifest, config: Uint8Array, what: string): StepCache {
  const json = parseJsonObject(config, what)
  const fail = (why: string): never => {
    throw new ArchimageError('MANIFEST_INVALID', `${what}: ${why}`)
  }
  const { version, written, steps } = json
  if (version !== VERSION) return fail(`version ${JSON.stringify(version)?.slice(0, 20)} is not known here`)
  if (!isRecord(written) || typeof written['format'] !== 'number') return fail('it does not say how it was written')
  const compression = (['none', 'gzip', 'zstd'] as const).find(name => name === written['compression'])
  if (compression === undefined) return fail('its compression is not known')
  if (!Array.isArray(steps) || steps.length > MOST_STEPS) return fail(`it has no steps, or more than ${MOST_STEPS}`)
  const level = written['level']
  return {
    written: { format: written['format'], compression, ...(typeof level === 'number' ? { level } : {}) },
    steps: steps.map((step: unknown, i): CachedStep => {
      const at = `step ${i + 1}`
      if (!isRecord(step) || typeof step['key'] !== 'string' || !/^[0-9a-f]{64}$/.test(step['key']))
        return fail(`${at} has no key`)
      const { key, seconds, emulated, id, diffId, layer } = step
      if (typeof seconds !== 'number' || !(seconds >= 0) || typeof emulated !== 'boolean')
        return fail(`${at} does not say how it ran`)
      if (layer === undefined) return { key, seconds, emulated }
      const found = typeof layer === 'number' ? layers[layer] : undefined
      if (!isDigest(id) || !isDigest(diffId) || found === undefined) return fail(`${at} names no layer`)
      if (compressionOf(found.mediaType) === undefined || found.size > MOST_BYTES)
        return fail(`the layer of ${at} is none that can be read: ${found.mediaType}, ${found.size} bytes`)
      return { key, seconds, emulated, left: { id, diffId, layer: found } }
    }),
  }
}
