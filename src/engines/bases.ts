import { copyFileSync, linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { assembleIndex } from '../manifests/assemble.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { layoutArchive } from '../outputs/archive.ts'
import { dockerLayout } from '../outputs/layout.ts'
import type { BaseImage } from '../plan/lowered.ts'
import type { BuildTools } from './engine.ts'

/** Brings what an image consists of into the store. False when a layer of it lies outside of any registry. */
export async function fetchImage({ manifest }: BaseImage, { store, fetch }: BuildTools): Promise<boolean> {
  const own = manifest.layers.filter(layer => !isForeignLayer(layer.mediaType) || store.has(layer.digest, layer.size))
  await Promise.all([manifest.config, ...own].map(fetch))
  return own.length === manifest.layers.length
}

/**
 * Puts an image that is in the store into the image layout at `root` (image-spec, image-layout.md), by links where the
 * file system has them: whoever writes there does not write into the store.
 */
export function addToLayout({ manifest }: BaseImage, root: string, { store }: BuildTools): void {
  mkdirSync(join(root, 'blobs'), { recursive: true })
  writeFileSync(join(root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const target = (digest: Digest): string => {
    const path = join(root, 'blobs', algorithmOf(digest), hexOf(digest))
    mkdirSync(dirname(path), { recursive: true })
    return path
  }
  writeFileSync(target(manifest.digest), manifest.raw)
  for (const { digest } of [manifest.config, ...manifest.layers]) {
    const from = store.blobPath(digest)
    try {
      linkSync(from, target(digest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      copyFileSync(from, target(digest))
    }
  }
}

/** An image as an archive for `docker load` and `podman load`; it has the name `repository:tag` there. */
export async function imageArchive(
  image: BaseImage,
  repository: string,
  tag: string,
  tools: BuildTools,
): Promise<AsyncIterable<Uint8Array>> {
  const { name, platform, manifest } = image
  const member = { platform, manifest }
  const [registry = '', ...path] = repository.split('/')
  const layout = await dockerLayout(
    {
      service: name,
      names: [{ registry, repository: path.join('/'), tag }],
      index: assembleIndex([member], { docker: true }),
      members: [member],
    },
    member,
    { ...tools, emit: { warning: () => {} } },
  )
  return layoutArchive(layout, tools.store)
}

/** Why an image cannot be handed over: a part of it is only to be had at an address that it names. */
export function foreignLayers(image: BaseImage, engine: string): ArchimageError {
  return new ArchimageError(
    'UNSUPPORTED',
    `${image.name} has layers that lie outside of any registry, and ${engine} must be given every layer`,
    { hint: 'build it with another engine' },
  )
}
