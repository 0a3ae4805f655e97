import { formatPlatform } from '../oci/platform.ts'
import { familiarReference, type Reference } from '../oci/reference.ts'
import type { Inspection } from './describe.ts'
import { platformOf } from './describe.ts'
import { imagesOf } from './narrow.ts'
import type { ImageNode } from './read.ts'

/** What costs a request or two is read only when a template asks for it. */
export interface Asked {
  readonly tags?: readonly string[]
  /** Statements of attestations by platform. */
  readonly provenance?: Readonly<Record<string, unknown>>
  readonly sbom?: Readonly<Record<string, unknown>>
}

/**
 * What templates of --format see: the names of `skopeo inspect` (Digest, Labels, Layers, Env …), of `docker buildx imagetools
 * inspect` (Manifest, Image), of `docker inspect` (Id, RepoDigests, RootFS), and those of our own JSON (Images, Platforms, Attestations, Size). `chosen` is the image that
 * skopeo's words speak of.
 */
export function templateFields(
  top: ImageNode,
  inspection: Inspection,
  chosen: ImageNode | undefined,
  reference: Reference | undefined,
  asked: Asked = {},
): Readonly<Record<string, unknown>> {
  const config = chosen?.config
  const manifest = chosen?.manifest?.kind === 'image' ? chosen.manifest : undefined
  const images = imagesOf(top)
  const raw = top.manifest === undefined ? {} : (JSON.parse(Buffer.from(top.manifest.raw).toString()) as object)
  return {
    Name: reference === undefined ? inspection.name : `${reference.registry}/${reference.repository}`,
    Tag: reference?.tag ?? '',
    Reference: inspection.name,
    Place: inspection.place,
    Digest: inspection.digest,
    Id: manifest?.config.digest ?? '',
    RepoDigests: reference === undefined ? [] : [`${familiar(reference)}@${inspection.digest}`],
    MediaType: inspection.mediaType,
    Size: inspection.size,
    Annotations: inspection.annotations,
    Platforms: inspection.images.map(image => image.platform),
    Manifest: { ...raw, ...top.descriptor },
    Manifests: top.manifest?.kind === 'index' ? top.manifest.manifests : [],
    Image:
      top.manifest?.kind === 'index'
        ? Object.fromEntries(images.map(node => [formatPlatform(platformOf(node)!), node.config]))
        : (config ?? {}),
    Images: inspection.images,
    Attestations: inspection.attestations,
    Others: inspection.others,
    RepoTags: asked.tags ?? [],
    Provenance: single(asked.provenance),
    SBOM: single(asked.sbom),
    Created: config?.created ?? '',
    Author: config?.author ?? '',
    DockerVersion: typeof config?.['docker_version'] === 'string' ? config['docker_version'] : '',
    Labels: config?.config?.Labels ?? {},
    Architecture: config?.architecture ?? '',
    Variant: config?.variant ?? '',
    Os: config?.os ?? '',
    Env: config?.config?.Env ?? [],
    Config: config?.config ?? {},
    History: config?.history ?? [],
    RootFS: { Type: 'layers', Layers: config?.rootfs.diff_ids ?? [], ...config?.rootfs },
    Layers: manifest?.layers.map(layer => layer.digest) ?? [],
    LayersData:
      manifest?.layers.map(({ mediaType, digest, size, annotations }) => ({
        MIMEType: mediaType,
        Digest: digest,
        Size: size,
        Annotations: annotations ?? null,
      })) ?? [],
  }
}

function familiar({ registry, repository }: Reference): string {
  return familiarReference({ registry, repository })
}

/** buildx: of one platform the thing itself, of several by platform. */
function single(map: Readonly<Record<string, unknown>> = {}): unknown {
  const values = Object.values(map)
  return values.length === 1 ? values[0] : map
}
