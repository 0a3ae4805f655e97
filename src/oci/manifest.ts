import { ArchimageError } from '../errors/error.ts'
import { type Digest, isDigest, sha256 } from './digest.ts'
import { encodeJson, isRecord, parseJsonObject } from './json.ts'
import { DOCKER, isIndexType, isManifestType, OCI } from './media-types.ts'
import { normalizePlatform, type Platform } from './platform.ts'

/** A content descriptor (image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly platform?: Platform
  readonly urls?: readonly string[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly artifactType?: string
  readonly data?: string
}

interface Raw {
  /** The bytes as they came: they are the truth, the rest is a view of them. */
  readonly raw: Uint8Array
  readonly mediaType: string
  readonly digest: Digest
  readonly annotations: Readonly<Record<string, string>>
  readonly artifactType?: string
  readonly subject?: Descriptor
}

export interface ImageManifest extends Raw {
  readonly kind: 'image'
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

export interface ImageIndex extends Raw {
  readonly kind: 'index'
  readonly manifests: readonly Descriptor[]
}

export type Manifest = ImageManifest | ImageIndex

/**
 * Reads a manifest, an index or their Docker forms. `contentType` is what the carrier said; the document's own mediaType
 * wins, then its shape. A document that is both an image and an index is refused. Throws MANIFEST_INVALID.
 */
export function parseManifest(
  raw: Uint8Array,
  contentType?: string,
  what = 'manifest',
  digest: Digest = sha256(raw),
): Manifest {
  const json = parseJsonObject(raw, what)
  const fail = (why: string, hint?: string): never => {
    throw new ArchimageError('MANIFEST_INVALID', `${what}: ${why}`, hint === undefined ? {} : { hint })
  }
  if (json['schemaVersion'] !== 2) {
    if (json['schemaVersion'] === 1)
      return fail(
        'Docker schema 1 is not supported; it has been obsolete since 2017',
        'push the image again with a current tool; for old content: skopeo copy --format v2s2',
      )
    return fail('schemaVersion is not 2')
  }
  const hasImage = 'config' in json || 'layers' in json
  const hasIndex = 'manifests' in json
  if (hasImage && hasIndex) return fail('it is an image and an index at once')
  if (!hasImage && !hasIndex) return fail('it is neither an image nor an index')
  const said = json['mediaType'] ?? contentType
  if (json['mediaType'] !== undefined && typeof json['mediaType'] !== 'string') return fail('mediaType is not a string')
  const known = typeof said === 'string' && (isIndexType(said) || isManifestType(said)) ? said : undefined
  if (known !== undefined && isIndexType(known) !== hasIndex)
    return fail(`its media type ${known} contradicts its content`)
  const annotations = stringMap(json['annotations'], what)
  const subject = json['subject'] === undefined ? undefined : parseDescriptor(json['subject'], `${what}: subject`)
  const common = {
    raw,
    digest,
    annotations,
    ...(typeof json['artifactType'] === 'string' ? { artifactType: json['artifactType'] } : {}),
    ...(subject === undefined ? {} : { subject }),
  }
  if (hasIndex) {
    const manifests = list(json['manifests'], `${what}: manifests`).map((item, i) =>
      parseDescriptor(item, `${what}: entry ${i + 1}`),
    )
    return { kind: 'index', mediaType: known ?? OCI.index, manifests, ...common }
  }
  const config = parseDescriptor(json['config'], `${what}: config`)
  const layers = list(json['layers'] ?? [], `${what}: layers`).map((item, i) =>
    parseDescriptor(item, `${what}: layer ${i + 1}`),
  )
  return {
    kind: 'image',
    mediaType: known ?? (config.mediaType === DOCKER.config ? DOCKER.manifest : OCI.manifest),
    config,
    layers,
    ...common,
  }
}

function list(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ArchimageError('MANIFEST_INVALID', `${what} is not a list`)
  if (value.length > 10_000) throw new ArchimageError('MANIFEST_INVALID', `${what} has ${value.length} entries`)
  return value
}

function stringMap(value: unknown, what: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {}
  if (!isRecord(value)) throw new ArchimageError('MANIFEST_INVALID', `${what}: annotations are not a map`)
  for (const [key, text] of Object.entries(value))
    if (typeof text !== 'string')
      throw new ArchimageError('MANIFEST_INVALID', `${what}: annotation "${key}" is not a string`)
  return value as Record<string, string>
}

function parseDescriptor(value: unknown, what: string): Descriptor {
  const fail = (why: string): never => {
    throw new ArchimageError('MANIFEST_INVALID', `${what}: ${why}`)
  }
  if (!isRecord(value)) return fail('not a descriptor')
  const { mediaType, digest, size, platform, urls, annotations, artifactType, data } = value
  if (typeof mediaType !== 'string') return fail('mediaType is missing')
  if (!isDigest(digest)) return fail(`digest ${JSON.stringify(digest)?.slice(0, 100)} is not well formed`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    return fail(`size ${JSON.stringify(size)} is not a size`)
  if (urls !== undefined && !(Array.isArray(urls) && urls.every(url => typeof url === 'string')))
    return fail('urls are not strings')
  return {
    mediaType,
    digest,
    size,
    ...(platform === undefined || platform === null ? {} : { platform: parsePlatformObject(platform, what) }),
    ...(urls === undefined ? {} : { urls: urls as string[] }),
    ...(annotations === undefined || annotations === null ? {} : { annotations: stringMap(annotations, what) }),
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
    ...(typeof data === 'string' ? { data } : {}),
  }
}

function parsePlatformObject(value: unknown, what: string): Platform {
  if (!isRecord(value) || typeof value['os'] !== 'string' || typeof value['architecture'] !== 'string')
    throw new ArchimageError('MANIFEST_INVALID', `${what}: its platform has no os or architecture`)
  const text = (key: string): string | undefined =>
    typeof value[key] === 'string' && value[key] !== '' ? (value[key] as string) : undefined
  const features = value['os.features']
  const [version, variant] = [text('os.version'), text('variant')]
  return {
    architecture: value['architecture'],
    os: value['os'],
    ...(version === undefined ? {} : { 'os.version': version }),
    ...(Array.isArray(features) && features.every(f => typeof f === 'string')
      ? { 'os.features': features as string[] }
      : {}),
    ...(variant === undefined ? {} : { variant }),
  }
}

function descriptorJson(d: Descriptor): Record<string, unknown> {
  return {
    mediaType: d.mediaType,
    digest: d.digest,
    size: d.size,
    ...(d.urls === undefined ? {} : { urls: d.urls }),
    ...(d.annotations === undefined || Object.keys(d.annotations).length === 0
      ? {}
      : { annotations: sorted(d.annotations) }),
    ...(d.data === undefined ? {} : { data: d.data }),
    ...(d.platform === undefined ? {} : { platform: platformJson(d.platform) }),
    ...(d.artifactType === undefined ? {} : { artifactType: d.artifactType }),
  }
}

function platformJson(p: Platform): Record<string, unknown> {
  return {
    architecture: p.architecture,
    os: p.os,
    ...(p['os.version'] ? { 'os.version': p['os.version'] } : {}),
    ...(p['os.features']?.length ? { 'os.features': p['os.features'] } : {}),
    ...(p.variant ? { variant: p.variant } : {}),
  }
}

/** Maps in our JSON stand in byte order of their keys. */
export function sorted(map: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
}

/** Writes an image manifest: field order of the spec, no white space. */
export function encodeImageManifest(input: {
  readonly docker: boolean
  /** What it is, where it is no image that runs. */
  readonly artifactType?: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
  /** What it is about. */
  readonly subject?: Descriptor
}): ImageManifest {
  const mediaType = input.docker ? DOCKER.manifest : OCI.manifest
  const raw = encodeJson({
    schemaVersion: 2,
    mediaType,
    ...(input.artifactType === undefined ? {} : { artifactType: input.artifactType }),
    config: descriptorJson(input.config),
    layers: input.layers.map(descriptorJson),
    ...(input.subject === undefined ? {} : { subject: descriptorJson(input.subject) }),
    ...(input.annotations && Object.keys(input.annotations).length > 0
      ? { annotations: sorted(input.annotations) }
      : {}),
  })
  return parseManifest(raw) as ImageManifest
}

/** Writes an index over `manifests` in the given order. What Docker's lists have no field for is refused by whoever chooses `docker`. */
export function encodeIndex(input: {
  readonly docker: boolean
  readonly manifests: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly artifactType?: string
  readonly subject?: Descriptor
}): ImageIndex {
  const raw = encodeJson({
    schemaVersion: 2,
    mediaType: input.docker ? DOCKER.index : OCI.index,
    ...(input.artifactType === undefined ? {} : { artifactType: input.artifactType }),
    manifests: input.manifests.map(descriptorJson),
    ...(input.subject === undefined ? {} : { subject: descriptorJson(input.subject) }),
    ...(input.annotations && Object.keys(input.annotations).length > 0
      ? { annotations: sorted(input.annotations) }
      : {}),
  })
  return parseManifest(raw) as ImageIndex
}

/** What an entry of an index says of a manifest that is not so; undefined where all is. Clients refuse such images. */
export function contradiction(entry: Descriptor, manifest: Manifest): string | undefined {
  if (entry.size !== manifest.raw.byteLength)
    return `has ${manifest.raw.byteLength} bytes, and what leads to it says ${entry.size}`
  const known = isIndexType(entry.mediaType) || isManifestType(entry.mediaType)
  if (known && isIndexType(entry.mediaType) !== (manifest.kind === 'index'))
    return `is an ${manifest.kind}, and what leads to it says ${entry.mediaType}`
  return undefined
}

export function describe(manifest: Manifest, platform?: Platform): Descriptor {
  return {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.raw.byteLength,
    ...(platform === undefined ? {} : { platform: normalizePlatform(platform) }),
  }
}

/** True for the entries that BuildKit adds for attestations; they are no image of any platform. */
export function isAttestation(descriptor: Descriptor): boolean {
  return (
    descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest' ||
    (descriptor.platform?.os === 'unknown' && descriptor.platform.architecture === 'unknown')
  )
}
