import { ArchimageError } from '../errors/error.ts'
import { type Digest, sha256 } from '../oci/digest.ts'
import { encodeJson, isRecord, parseJsonObject } from '../oci/json.ts'
import { type Descriptor, type ImageManifest, parseManifest } from '../oci/manifest.ts'
import { DOCKER } from '../oci/media-types.ts'

export type Json = Readonly<Record<string, unknown>>

/**
 * One image while it is edited: its documents as they came, with all fields, known or not. The layers are taken out of the
 * manifest and the diff IDs out of the config, so that both stay together; edits are functions from a draft to another one.
 */
export interface Draft {
  /** Without config and layers. */
  readonly manifest: Json
  /** Without `rootfs.diff_ids`. */
  readonly config: Json
  readonly layers: readonly DraftLayer[]
  /** Docker's media types. */
  readonly docker: boolean
}

export interface DraftLayer {
  /** As it stands in the manifest. */
  readonly descriptor: Json & Pick<Descriptor, 'mediaType' | 'digest' | 'size'>
  readonly diffId: Digest
}

/** What an image became, and its new config. */
export interface Sealed {
  readonly manifest: ImageManifest
  readonly blobs: readonly NewBlob[]
}

/** Content that the source of an image does not have. */
export interface NewBlob {
  readonly descriptor: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>
  readonly bytes: Uint8Array
}

export interface Original {
  readonly manifest: ImageManifest
  readonly rawConfig: Uint8Array
}

/** Throws MANIFEST_INVALID when layers and diff IDs are not as many. */
export function draftOf({ manifest, rawConfig }: Original, name: string): Draft {
  const { config: _config, layers, ...rest } = parseJsonObject(manifest.raw, name)
  const config = parseJsonObject(rawConfig, `${name}: config`)
  const rootfs = config['rootfs']
  const diffIds = (isRecord(rootfs) ? rootfs['diff_ids'] : undefined) ?? []
  const listed = (layers ?? []) as readonly DraftLayer['descriptor'][]
  if (!Array.isArray(diffIds) || diffIds.length !== listed.length)
    throw new ArchimageError(
      'MANIFEST_INVALID',
      `${name}: it has ${listed.length} layers, but its config names ${Array.isArray(diffIds) ? diffIds.length : 'none'}`,
    )
  return {
    manifest: rest,
    config,
    layers: listed.map((descriptor, i) => ({ descriptor, diffId: diffIds[i] as Digest })),
    docker: manifest.mediaType === DOCKER.manifest,
  }
}

/**
 * The image that a draft describes. A draft that says what the original says is the original, byte for byte, however it was
 * written; else the documents are written anew, their fields in the order that they had.
 */
export function seal(draft: Draft, original: Original): Sealed {
  const before = draftOf(original, 'image')
  const listed = parseJsonObject(original.manifest.raw, 'manifest')
  const config = sameJson(fullConfig(draft), fullConfig(before))
    ? { bytes: original.rawConfig, fresh: false }
    : { bytes: encodeJson(fullConfig(draft)), fresh: true }
  const digest = config.fresh ? sha256(config.bytes) : original.manifest.config.digest
  // `data` would repeat what is no longer there
  const { data, ...described } = listed['config'] as Json
  const descriptor = config.fresh ? { ...described, digest, size: config.bytes.length } : listed['config']
  const document = {
    ...replaced(listed, draft.manifest),
    config: descriptor,
    ...(listed['layers'] === undefined && draft.layers.length === 0
      ? {}
      : { layers: draft.layers.map(layer => layer.descriptor) }),
  }
  if (sameJson(document, listed)) return { manifest: original.manifest, blobs: [] }
  const manifest = parseManifest(encodeJson(document), original.manifest.mediaType) as ImageManifest
  const { mediaType } = original.manifest.config
  const blobs = config.fresh
    ? [{ descriptor: { mediaType, digest, size: config.bytes.length }, bytes: config.bytes }]
    : []
  return { manifest, blobs }
}

/** The fields of `now` in the places that they have in `before`; config and layers keep theirs. */
function replaced(before: Json, now: Json): Json {
  const kept = Object.keys(before).filter(key => key in now || key === 'config' || key === 'layers')
  return { ...Object.fromEntries(kept.map(key => [key, now[key] ?? before[key]])), ...now }
}

/** The config with the diff IDs of the layers. */
function fullConfig({ config, layers }: Draft): Json {
  const rootfs = isRecord(config['rootfs']) ? config['rootfs'] : { type: 'layers' }
  return { ...config, rootfs: { ...rootfs, diff_ids: layers.map(layer => layer.diffId) } }
}

/** Equal but for the order of fields. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, i) => sameJson(one, b[i]))
  if (!isRecord(a) || !isRecord(b)) return a === b
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every(key => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
}
