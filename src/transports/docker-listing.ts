import { ArchimageError } from '../errors/error.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { type Descriptor, type ImageManifest, isAttestation, type Manifest } from '../oci/manifest.ts'
import { DOCKER, OCI } from '../oci/media-types.ts'
import { buildPlatform, formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts'

/** An image that docker and podman can load from an archive, under these names. */
export interface Loadable {
  readonly manifest: ImageManifest
  readonly names: readonly string[]
}

/** Where a blob stands in a layout. */
export function blobPath(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`
}

/** manifest.json, by which docker and podman load images out of a layout that is an archive. */
export function dockerListing(images: readonly Loadable[]): object[] {
  return images.map(({ manifest, names }) => ({
    Config: blobPath(manifest.config.digest),
    // whole names: podman would read short ones as its own localhost/
    RepoTags: names,
    Layers: manifest.layers.map(layer => blobPath(layer.digest)),
  }))
}

/**
 * The one manifest of an image that a daemon takes: itself, the only one of an index, or the one for this machine; undefined
 * where there is none, or where it is no image that runs. `find` gives what is at hand.
 */
export function loadableOf(top: Manifest, find: (digest: Digest) => Manifest | undefined): ImageManifest | undefined {
  if (top.kind === 'image') return isRunnable(top) ? top : undefined
  const children = top.manifests.flatMap((descriptor): [Descriptor, ImageManifest][] => {
    const manifest = isAttestation(descriptor) ? undefined : find(descriptor.digest)
    return manifest?.kind === 'image' && isRunnable(manifest) ? [[descriptor, manifest]] : []
  })
  if (children.length === 1) return children[0]![1]
  const match = selectPlatform(
    buildPlatform(),
    children.map(([descriptor]) => descriptor.platform),
  )
  return match && children[match.index]![1]
}

/** Throws UNSUPPORTED for what has several platforms, or none: docker's archives have room for one under a name. */
export function onlyLoadable(
  top: Manifest,
  find: (digest: Digest) => Manifest | undefined,
  place: string,
  name: string,
): ImageManifest {
  const fail = (why: string, hint: string): never => {
    throw new ArchimageError('UNSUPPORTED', `${place}: ${name} ${why}`, { hint })
  }
  if (top.kind === 'index') {
    const platforms = top.manifests
      .filter(one => !isAttestation(one) && find(one.digest) !== undefined)
      .map(one => (one.platform === undefined ? one.digest : formatPlatform(one.platform as Platform)))
    if (platforms.length > 1)
      fail(
        `has ${platforms.join(', ')}, and one name holds one platform there`,
        'choose one with --platform, or write all of them with oci-archive:FILE',
      )
  }
  return (
    loadableOf(top, find) ??
    fail('is no image that docker could load', 'artifacts go into oci-archive:FILE, oci:FOLDER or a registry')
  )
}

function isRunnable({ config, artifactType }: ImageManifest): boolean {
  return artifactType === undefined && (config.mediaType === OCI.config || config.mediaType === DOCKER.config)
}
