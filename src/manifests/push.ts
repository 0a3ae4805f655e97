import { copiesTo, type Places } from '../copy/places.ts'
import type { CopyTools, Place, Site } from '../copy/request.ts'
import { ArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { type ImageIndex, isAttestation } from '../oci/manifest.ts'
import type { Reference } from '../oci/reference.ts'
import type { Look } from '../transports/location.ts'

export interface IndexPush {
  readonly index: ImageIndex
  /** Where its manifests and blobs are read from. */
  readonly place: Place
  readonly reference: Reference
  /** As people write it: `docker://REFERENCE`, `oci:FOLDER:TAG` … */
  readonly destination: string
  /** Further tags there. */
  readonly tags?: readonly string[]
  readonly format?: 'oci' | 'docker'
  /** A repository that has all members, as they were just read there. */
  readonly at?: Site
  /** The index alone: its members are there, or will be. */
  readonly alone?: boolean
}

export interface PushedIndex {
  /** What the tags lead to now. */
  readonly index: ImageIndex
  readonly digest: Digest
  /** The repository, file or folder. */
  readonly target: Place
  /** Images that were brought there from elsewhere. */
  readonly brought: readonly Digest[]
}

/**
 * Brings an index to a destination: blobs, from wherever they are, and mounted where that is the same registry; its members by
 * digest; then the index under its tags, which are read back. Throws what `copy` gives for an image.
 */
export async function pushIndex(push: IndexPush, places: Places, look: Look, tools: CopyTools): Promise<PushedIndex> {
  const { index, place, reference, format, at } = push
  const source = { place, name: index.digest, reference }
  const options = format === undefined ? {} : { format }
  const [image] = await copiesTo(push.destination, [source], options, push.tags ?? [], places, look)
  const { target, tags } = image!
  const site = target.site
  const there = site !== undefined && at?.registry === site.registry && at.repository === site.repository
  if (format === undefined && (push.alone === true || there) && tags.length > 0) {
    await putIndex(index, target, tags, tools.signal)
    return { index, digest: index.digest, target, brought: [] }
  }
  const { copy } = await import('../copy/copy.ts')
  const { images } = await copy([image!], tools)
  const [outcome] = images
  if (outcome!.error !== undefined) throw outcome!.error
  const digest = outcome!.digest!
  const known = digest === index.digest ? index : await target.transport.manifest(digest, { signal: tools.signal })
  const now = known?.kind === 'index' ? known : index
  const brought = now.manifests
    .filter(entry => !isAttestation(entry))
    .filter(entry => digest !== index.digest || !isAt(place, entry.digest, site))
    .map(entry => entry.digest)
  return { index: now, digest, target, brought: outcome!.state === 'copied' ? [...new Set(brought)] : [] }
}

/** Whether an image was in the target's repository before. */
function isAt(place: Place, digest: Digest, site: Site | undefined): boolean {
  const from = place.siteOf?.({ mediaType: '', digest, size: 0 })
  return from !== undefined && from.registry === site?.registry && from.repository === site.repository
}

/** The last step of a push alone. */
async function putIndex(index: ImageIndex, target: Place, tags: readonly string[], signal: AbortSignal): Promise<void> {
  const { transport } = target
  for (const tag of tags) await transport.putManifest(index, tag, { signal })
  await Promise.all(
    tags.map(async tag => {
      const found = await transport.head(tag, { signal })
      if (found?.digest === index.digest) return
      throw new ArchimageError(
        'VERIFY_FAILED',
        `${target.label}:${tag} ${found === undefined ? 'is not there' : `is ${found.digest}`} after it was written as ${index.digest}`,
        { hint: 'somebody else may write the same tag; else push again' },
      )
    }),
  )
}
