/** Media types of the OCI image spec 1.1 and of Docker's registry schema 2. */
export const OCI = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  nondistributable: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
  nondistributableGzip: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  nondistributableZstd: 'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  empty: 'application/vnd.oci.empty.v1+json',
} as const

export const DOCKER = {
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar',
  layerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  foreignGzip: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
} as const

/** What a client that understands every manifest sends as Accept, most wanted first. */
export const MANIFEST_ACCEPT = [OCI.index, DOCKER.index, OCI.manifest, DOCKER.manifest].join(', ')

export function isIndexType(mediaType: string): boolean {
  return mediaType === OCI.index || mediaType === DOCKER.index
}

export function isManifestType(mediaType: string): boolean {
  return mediaType === OCI.manifest || mediaType === DOCKER.manifest
}

/** True for layers that stay where their `urls` say (Windows bases): not pushed, not pulled from the repository. */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType === DOCKER.foreignGzip || mediaType.includes('.nondistributable.')
}

export type Compression = 'none' | 'gzip' | 'zstd'

/** How a layer's media type says that it is compressed; undefined for a type that is no layer that we know. */
export function compressionOf(mediaType: string): Compression | undefined {
  if (mediaType.endsWith('+gzip') || mediaType.endsWith('.tar.gzip')) return 'gzip'
  if (mediaType.endsWith('+zstd') || mediaType.endsWith('.tar.zstd')) return 'zstd'
  if (mediaType.endsWith('.tar')) return 'none'
  return undefined
}

/** Media type of a new layer. Docker has no zstd layers (DESIGN §5): the caller refuses that before. */
export function layerType(compression: Compression, docker: boolean): string {
  if (docker) return compression === 'none' ? DOCKER.layer : DOCKER.layerGzip
  return compression === 'none' ? OCI.layer : compression === 'gzip' ? OCI.layerGzip : OCI.layerZstd
}

/** The Docker type of an OCI type and the other way round; a type without a counterpart stays. */
export function convertType(mediaType: string, docker: boolean): string {
  const pairs: readonly (readonly [string, string])[] = [
    [OCI.index, DOCKER.index],
    [OCI.manifest, DOCKER.manifest],
    [OCI.config, DOCKER.config],
    [OCI.layer, DOCKER.layer],
    [OCI.layerGzip, DOCKER.layerGzip],
    [OCI.nondistributableGzip, DOCKER.foreignGzip],
  ]
  for (const [oci, dock] of pairs) {
    if (docker && mediaType === oci) return dock
    if (!docker && mediaType === dock) return oci
  }
  return mediaType
}
