import { ArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { encodeJson, parseJsonObject } from '../oci/json.ts'
import { type Descriptor, type ImageIndex, type ImageManifest, type Manifest, parseManifest } from '../oci/manifest.ts'
import { compressionOf, convertType, DOCKER, isForeignLayer, OCI } from '../oci/media-types.ts'
import type { Recompression } from './request.ts'

type Json = Record<string, unknown>

/** What is to be another: media types (Docker's or OCI's; as they are without it), and layers by the digest they had. */
export interface Conversion {
  readonly docker?: boolean
  readonly layers?: ReadonlyMap<Digest, Descriptor>
}

const SUBJECT = 'vnd.docker.reference.digest'
/** They describe the bytes of a layer as they were compressed. */
const OF_BYTES = /^(?:io\.github\.containers\.zstd-chunked\.|containerd\.io\/snapshot\/stargz\/)/

/** True for what runs: its config is one of an image, and so its layers are layers. */
export function isImage(manifest: ImageManifest): boolean {
  return manifest.config.mediaType === OCI.config || manifest.config.mediaType === DOCKER.config
}

/** Whether a layer is to be compressed anew. What is no layer of an image, and what lies elsewhere, never is. */
export function needsWork(image: ImageManifest, layer: Descriptor, { format, force }: Recompression): boolean {
  if (!isImage(image) || isForeignLayer(layer.mediaType)) return false
  const now = compressionOf(layer.mediaType)
  return now !== undefined && (now !== format || force === true)
}

/**
 * An image with other media types or layers, all else as it was; the same one when nothing changes. Throws UNSUPPORTED for
 * what Docker's format has no room for: artifacts, zstd.
 */
export function convertImage(image: ImageManifest, { docker, layers }: Conversion): ImageManifest {
  if (docker === true) refuseForDocker(image, layers)
  const json = parseJsonObject(image.raw, 'manifest')
  const type = (mediaType: string): string => (docker === undefined ? mediaType : convertType(mediaType, docker))
  const listed = (json['layers'] ?? []) as readonly Json[]
  const newLayers = image.layers.map((layer, i) => {
    const other = layers?.get(layer.digest)
    const { annotations, mediaType: _type, digest: _digest, size: _size, ...rest } = listed[i]!
    const kept = other === undefined ? annotations : without(annotations, OF_BYTES)
    return {
      mediaType: type(other?.mediaType ?? layer.mediaType),
      digest: other?.digest ?? layer.digest,
      size: other?.size ?? layer.size,
      ...rest,
      ...(kept === undefined || docker === true ? {} : { annotations: kept }),
    }
  })
  const same =
    type(image.mediaType) === image.mediaType &&
    type(image.config.mediaType) === image.config.mediaType &&
    image.layers.every(
      (layer, i) => newLayers[i]!.digest === layer.digest && newLayers[i]!.mediaType === layer.mediaType,
    )
  if (same) return image
  const { schemaVersion, mediaType: _type, config, layers: _layers, ...rest } = json
  const raw = encodeJson({
    schemaVersion,
    mediaType: type(image.mediaType),
    config: { ...(config as Json), mediaType: type(image.config.mediaType) },
    layers: newLayers,
    ...(docker === true ? {} : rest),
  })
  return parseManifest(raw) as ImageManifest
}

/**
 * An index whose entries lead to `children`, by position, and to `more` behind them; the same one when nothing changes. What
 * an attestation is of follows the digest of its image.
 */
export function convertIndex(
  index: ImageIndex,
  children: readonly Descriptor[],
  { docker, more = [] }: { readonly docker?: boolean; readonly more?: readonly Descriptor[] },
): ImageIndex {
  const mediaType = docker === undefined ? index.mediaType : convertType(index.mediaType, docker)
  const same = children.every((child, i) => child.digest === index.manifests[i]!.digest)
  if (same && mediaType === index.mediaType && more.length === 0) return index
  const json = parseJsonObject(index.raw, 'index')
  const now = new Map(index.manifests.map((entry, i) => [entry.digest as string, children[i]!.digest]))
  const entries = (json['manifests'] as readonly Json[]).map((entry, i) => {
    const { digest, size, mediaType } = children[i]!
    const subject = index.manifests[i]!.annotations?.[SUBJECT]
    const follow = subject === undefined ? undefined : now.get(subject)
    const annotations = follow && { ...(entry['annotations'] as Json), [SUBJECT]: follow }
    return { ...entry, mediaType, digest, size, ...(annotations ? { annotations } : {}) }
  })
  const { schemaVersion, mediaType: _type, manifests: _manifests, ...rest } = json
  const raw = encodeJson({
    schemaVersion,
    mediaType,
    manifests: [...entries, ...more],
    ...(docker === true ? {} : rest),
  })
  return parseManifest(raw) as ImageIndex
}

/** What Docker's format drops of a manifest, in words; nothing when all of it has a place there. */
export function lostInDocker(manifest: Manifest): readonly string[] {
  const annotations = [
    ...Object.keys(manifest.annotations),
    ...(manifest.kind === 'image' ? manifest.layers.flatMap(layer => Object.keys(layer.annotations ?? {})) : []),
  ]
  return [
    ...new Set(annotations.map(key => `annotation ${key}`)),
    ...(manifest.subject === undefined ? [] : ['its subject']),
  ]
}

function refuseForDocker(image: ImageManifest, layers: ReadonlyMap<Digest, Descriptor> | undefined): void {
  if (!isImage(image))
    throw new ArchimageError(
      'UNSUPPORTED',
      `${image.digest} is an artifact (${image.artifactType ?? image.config.mediaType}), and Docker's format has none`,
      { hint: 'leave --format away' },
    )
  const zstd = image.layers.find(
    layer => compressionOf(layers?.get(layer.digest)?.mediaType ?? layer.mediaType) === 'zstd',
  )
  if (zstd !== undefined)
    throw new ArchimageError('UNSUPPORTED', `layer ${zstd.digest} is zstd, and Docker's format has gzip only`, {
      hint: 'add --compression gzip, or leave --format away',
    })
}

function without(annotations: unknown, pattern: RegExp): Json | undefined {
  if (annotations === undefined || annotations === null) return undefined
  const kept = Object.entries(annotations as Json).filter(([key]) => !pattern.test(key))
  return kept.length === 0 ? undefined : Object.fromEntries(kept)
}
