import { ArchimageError } from '../errors/error.ts'
import { encodeImageConfig, type ImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import { type Descriptor, encodeImageManifest, type ImageManifest } from '../oci/manifest.ts'
import { convertType, DOCKER, OCI } from '../oci/media-types.ts'
import type { Store } from '../store/store.ts'
import type { BuildOptions } from './engine.ts'

/** A layer of an image: its blob, and the digest of its uncompressed tar. */
export interface ImageLayer {
  readonly diffId: Digest
  readonly descriptor: Descriptor
}

/** Writes config and manifest of an image whose layers are known; `config` has no rootfs of its own yet. */
export function putImage(
  config: ImageConfig,
  layers: readonly ImageLayer[],
  options: Pick<BuildOptions, 'docker' | 'annotations'>,
  store: Store,
): ImageManifest {
  const { docker, annotations } = options
  const bytes = encodeImageConfig({
    ...config,
    rootfs: { type: 'layers', diff_ids: layers.map(layer => layer.diffId) },
  })
  const manifest = encodeImageManifest({
    docker,
    config: { mediaType: docker ? DOCKER.config : OCI.config, digest: store.put(bytes), size: bytes.length },
    layers: layers.map(({ descriptor }) => asWanted(descriptor, docker)),
    ...(docker ? {} : { annotations }),
  })
  store.put(manifest.raw)
  return manifest
}

function asWanted(descriptor: Descriptor, docker: boolean): Descriptor {
  const mediaType = convertType(descriptor.mediaType, docker)
  if (docker && mediaType.startsWith('application/vnd.oci.'))
    throw new ArchimageError(
      'UNSUPPORTED',
      `a layer of the base is ${mediaType}, which Docker's manifests cannot hold`,
      {
        hint: 'build without --docker-format',
      },
    )
  return { ...descriptor, mediaType }
}
