import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ImageManifest, Manifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { parseReference } from '../oci/reference.ts'
import type { Transport } from '../transports/transport.ts'
import { type Publication, type PublishTools, repositoryOf, target } from './publication.ts'

/** What a repository has to hold before tags in it may move: manifests, children before the index that names them. */
export function contentOf(publication: Publication, repository: string): readonly Manifest[] {
  const wanted = new Map<Digest, Manifest>()
  for (const { reference, manifest } of publication.tags) {
    if (repositoryOf(reference) !== repository) continue
    if (manifest.kind === 'index') for (const child of publication.children) wanted.set(child.digest, child)
    wanted.set(manifest.digest, manifest)
  }
  return [...wanted.values()]
}

/**
 * Brings content into a repository by digest: blobs, then the manifests of the platforms, then indexes. A manifest that is
 * there speaks for all that it names, except with `thorough`: then every blob is asked for.
 */
export async function upload(
  publication: Publication,
  repository: string,
  thorough: boolean,
  tools: PublishTools,
): Promise<void> {
  const remote = target(parseReference(repository), tools)
  const { signal } = tools
  const put = async (manifest: Manifest): Promise<void> => {
    const there = await remote.head(manifest.digest, { signal })
    if (there && !thorough) return
    if (manifest.kind === 'image') await uploadBlobs(manifest, remote, repository, tools)
    if (!there) await remote.putManifest(manifest, undefined, { signal })
  }
  const manifests = contentOf(publication, repository)
  await Promise.all(manifests.filter(manifest => manifest.kind === 'image').map(put))
  await Promise.all(manifests.filter(manifest => manifest.kind === 'index').map(put))
}

/** Config and layers of an image, each once; those that have `urls` stay where they are. */
export async function uploadBlobs(
  image: ImageManifest,
  remote: Transport,
  repository: string,
  tools: PublishTools,
): Promise<void> {
  const blobs = new Map([image.config, ...image.layers].map(descriptor => [descriptor.digest, descriptor]))
  await Promise.all([...blobs.values()].map(descriptor => uploadBlob(descriptor, remote, repository, tools)))
}

async function uploadBlob(
  descriptor: Descriptor,
  remote: Transport,
  repository: string,
  tools: PublishTools,
): Promise<void> {
  if (isForeignLayer(descriptor.mediaType)) return
  const { signal } = tools
  const source = tools.blobs.sourceOf(descriptor.digest)
  const registry = repository.slice(0, repository.indexOf('/'))
  const from = source?.startsWith(`${registry}/`) ? [source.slice(registry.length + 1)] : []
  const id = `push ${repository} ${descriptor.digest}`
  let started = false
  const report = (current: number, done: boolean): void => {
    started = true
    const what = `${repository} ${descriptor.digest.slice(7, 19)}`
    tools.emit({ type: 'transfer', id, direction: 'push', what, current, total: descriptor.size, done })
  }
  await remote.putBlob(
    descriptor,
    async () => {
      await tools.blobs.ensure(descriptor, signal)
      return tools.store.open(descriptor)
    },
    { signal, from, progress: bytes => report(bytes, false) },
  )
  if (started) report(descriptor.size, true)
}
