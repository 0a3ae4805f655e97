import { configPlatform, type ImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ImageManifest } from '../oci/manifest.ts'
import { isAttestation } from '../oci/manifest.ts'
import { formatPlatform, type Platform, samePlatform } from '../oci/platform.ts'
import { type ImageNode, nodesOf } from './read.ts'
import type { InspectedReferrer } from './referrers.ts'

type Annotations = Readonly<Record<string, string>>

/** What `inspect` says of an image; `--json` prints it. Fields without a value are absent. */
export interface Inspection {
  /** As it was asked for. */
  readonly name: string
  /** Where it was found: registry, store, oci, oci-archive, docker-archive, docker, podman. */
  readonly place: string
  readonly digest: Digest
  readonly mediaType: string
  readonly artifactType?: string
  /** Bytes of all manifests, configs and layers that are named, each once. */
  readonly size: number
  readonly annotations: Annotations
  /** What this is about, for signatures and the like. */
  readonly subject?: Digest
  readonly images: readonly InspectedImage[]
  readonly attestations: readonly InspectedAttestation[]
  /** Neither images nor attestations, and what is not there. */
  readonly others: readonly InspectedOther[]
  /** Where they were asked for. */
  readonly referrers?: readonly InspectedReferrer[]
}

export interface InspectedImage {
  readonly platform: string
  readonly digest: Digest
  readonly mediaType: string
  /** Bytes of manifest, config and layers. */
  readonly size: number
  /** Of its manifest, and of its entry in the index. */
  readonly annotations: Annotations
  readonly entryAnnotations: Annotations
  readonly layers: readonly InspectedLayer[]
  readonly config: ImageConfig
  readonly configDigest: Digest
  readonly problem?: string
}

export interface InspectedLayer {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  readonly diffId?: Digest
  /** The step that made it, as the history says. */
  readonly createdBy?: string
  readonly annotations?: Annotations
  readonly urls?: readonly string[]
}

export interface InspectedAttestation {
  readonly digest: Digest
  readonly size: number
  /** The image that it is of, and its platform where it is in the same index. */
  readonly of?: string
  readonly platform?: string
  /** Types of its statements: https://slsa.dev/provenance/v1, https://spdx.dev/Document. */
  readonly predicates: readonly string[]
}

export interface InspectedOther {
  readonly digest: Digest
  readonly mediaType: string
  readonly artifactType?: string
  readonly size: number
  readonly platform?: string
  readonly annotations: Annotations
  readonly layers: readonly InspectedLayer[]
  readonly problem?: string
}

/** The whole of a tree in the order of its indexes. */
export function describeImage(top: ImageNode, name: string, place: string): Inspection {
  const { manifest } = top
  const leaves = [...nodesOf(top)].filter(node => node.manifest?.kind !== 'index')
  const images = leaves.flatMap(inspectedImage)
  const platforms = new Map(images.map(image => [image.digest as string, image.platform]))
  return {
    name,
    place,
    digest: top.descriptor.digest,
    mediaType: top.descriptor.mediaType,
    ...(manifest?.artifactType === undefined ? {} : { artifactType: manifest.artifactType }),
    size: totalSize(top),
    annotations: manifest?.annotations ?? {},
    ...(manifest?.subject === undefined ? {} : { subject: manifest.subject.digest }),
    images,
    attestations: leaves.flatMap(node => inspectedAttestation(node, platforms)),
    others: leaves.flatMap(inspectedOther),
  }
}

/** The platform that a node says it is for: the index's word, else the config's. */
export function platformOf({ descriptor, config }: ImageNode): Platform | undefined {
  return descriptor.platform ?? (config === undefined ? undefined : configPlatform(config))
}

/** The digest of the image that an attestation is of. */
export function attestationSubject(descriptor: Descriptor): string | undefined {
  return descriptor.annotations?.['vnd.docker.reference.digest']
}

function inspectedImage(node: ImageNode): InspectedImage[] {
  const { descriptor, manifest, config } = node
  if (manifest?.kind !== 'image' || config === undefined) return []
  const problem = node.problem ?? disagreement(node)
  return [
    {
      platform: formatPlatform(platformOf(node)!),
      digest: manifest.digest,
      mediaType: manifest.mediaType,
      size: sizeOf(manifest),
      annotations: manifest.annotations,
      entryAnnotations: descriptor.annotations ?? {},
      layers: inspectedLayers(manifest, config),
      config,
      configDigest: manifest.config.digest,
      ...(problem === undefined ? {} : { problem }),
    },
  ]
}

function disagreement({ descriptor, manifest, config }: ImageNode): string | undefined {
  if (config === undefined || manifest?.kind !== 'image') return undefined
  const said = configPlatform(config)
  if (descriptor.platform !== undefined && !samePlatform(descriptor.platform, said))
    return `the index says ${formatPlatform(descriptor.platform)}, the config says ${formatPlatform(said)}`
  const { length } = config.rootfs.diff_ids
  if (length !== manifest.layers.length) return `it has ${manifest.layers.length} layers, its config names ${length}`
  return undefined
}

function inspectedAttestation(
  { descriptor, manifest }: ImageNode,
  platforms: ReadonlyMap<string, string>,
): InspectedAttestation[] {
  if (!isAttestation(descriptor)) return []
  const of = attestationSubject(descriptor)
  const platform = of === undefined ? undefined : platforms.get(of)
  const layers = manifest?.kind === 'image' ? manifest.layers : []
  return [
    {
      digest: descriptor.digest,
      size: manifest?.kind === 'image' ? sizeOf(manifest) : descriptor.size,
      ...(of === undefined ? {} : { of }),
      ...(platform === undefined ? {} : { platform }),
      predicates: layers.map(layer => layer.annotations?.['in-toto.io/predicate-type'] ?? layer.mediaType),
    },
  ]
}

function inspectedOther({ descriptor, manifest, config, problem }: ImageNode): InspectedOther[] {
  if (isAttestation(descriptor) || config !== undefined) return []
  const image = manifest?.kind === 'image' ? manifest : undefined
  const type = image?.artifactType ?? descriptor.artifactType ?? image?.config.mediaType
  return [
    {
      digest: descriptor.digest,
      mediaType: descriptor.mediaType,
      ...(type === undefined ? {} : { artifactType: type }),
      size: image === undefined ? descriptor.size : sizeOf(image),
      ...(descriptor.platform === undefined ? {} : { platform: formatPlatform(descriptor.platform) }),
      annotations: { ...descriptor.annotations, ...image?.annotations },
      layers: image === undefined ? [] : inspectedLayers(image, undefined),
      ...(problem === undefined ? {} : { problem }),
    },
  ]
}

function inspectedLayers(manifest: ImageManifest, config: ImageConfig | undefined): InspectedLayer[] {
  const steps = (config?.history ?? []).filter(entry => entry.empty_layer !== true)
  // a history that counts other layers than the manifest explains nothing
  const explains = steps.length === manifest.layers.length
  return manifest.layers.map((layer, i) => {
    const diffId = config?.rootfs.diff_ids[i]
    const createdBy = explains ? (steps[i]!.created_by ?? steps[i]!.comment) : undefined
    return {
      digest: layer.digest,
      mediaType: layer.mediaType,
      size: layer.size,
      ...(diffId === undefined ? {} : { diffId }),
      ...(createdBy ? { createdBy } : {}),
      ...(layer.annotations === undefined ? {} : { annotations: layer.annotations }),
      ...(layer.urls === undefined ? {} : { urls: layer.urls }),
    }
  })
}

function sizeOf(manifest: ImageManifest): number {
  return [manifest.config, ...manifest.layers].reduce((sum, { size }) => sum + size, manifest.raw.byteLength)
}

function totalSize(top: ImageNode): number {
  const sizes = new Map<Digest, number>()
  for (const { descriptor, manifest } of nodesOf(top)) {
    sizes.set(descriptor.digest, descriptor.size)
    if (manifest?.kind === 'image')
      for (const { digest, size } of [manifest.config, ...manifest.layers]) sizes.set(digest, size)
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}
