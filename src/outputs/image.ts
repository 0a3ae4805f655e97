import { ArchimageError } from '../errors/error.ts'
import type { Descriptor, ImageIndex, ImageManifest } from '../oci/manifest.ts'
import { compressionOf } from '../oci/media-types.ts'
import { buildPlatform, formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts'
import { familiarReference, type Reference, withDefaultTag } from '../oci/reference.ts'
import type { Store } from '../store/store.ts'

export interface OutputMember {
  readonly platform: Platform
  readonly manifest: ImageManifest
}

/** A service's image with all its platforms, as outputs take it. */
export interface OutputImage {
  readonly service: string
  /** The main one first. */
  readonly names: readonly Reference[]
  readonly index: ImageIndex
  readonly members: readonly OutputMember[]
}

export interface OutputTools {
  readonly store: Store
  /** Makes sure that the store has the blob. */
  readonly fetch: (descriptor: Descriptor) => Promise<void>
  readonly signal: AbortSignal
  /** Where `dest=-` goes: file descriptor 1 unless another one is given. */
  readonly stdout: { readonly isTTY: boolean; readonly fd?: number }
  readonly emit: { readonly warning: (message: string) => void }
  /** What relative destinations are relative to; default: the working directory. */
  readonly directory?: string
  /** For finding docker or podman; default: the process's own. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** The image's names with their tags, whole. */
export function taggedNames(image: OutputImage): Reference[] {
  return image.names.filter(name => name.digest === undefined).map(withDefaultTag)
}

/** Names as people and docker write them, with a tag: `app:1.0`, `registry.example.com/team/app:1.0`. */
export function repoTags(image: OutputImage): string[] {
  return taggedNames(image).map(familiarReference)
}

/** Layers that older daemons cannot read. */
export function hasZstd(member: OutputMember): boolean {
  return member.manifest.layers.some(layer => compressionOf(layer.mediaType) === 'zstd')
}

/** What the image is called in messages. */
export function nameOf(image: OutputImage): string {
  return repoTags(image)[0] ?? image.service
}

/**
 * The one image that goes where only one can: the platform asked for, else the only one, else the one that this machine runs.
 * Throws PLATFORM_MISSING, with `remedy` as what to do when there are several and none is this machine's.
 */
export function chooseMember(image: OutputImage, wanted: Platform | undefined, remedy: string): OutputMember {
  const { members } = image
  const [only] = members
  if (wanted === undefined && members.length === 1) return only!
  const target = wanted ?? buildPlatform()
  const match = selectPlatform(
    target,
    members.map(member => member.platform),
  )
  if (match !== undefined && (match.exact || wanted === undefined)) return members[match.index]!
  const have = members.map(member => formatPlatform(member.platform)).join(', ')
  throw new ArchimageError(
    'PLATFORM_MISSING',
    wanted === undefined
      ? `${nameOf(image)} has ${have}, and only one of them can go there; none is this machine's ${formatPlatform(target)}`
      : `${nameOf(image)} has no image for ${formatPlatform(target)}: it has ${have}`,
    { hint: remedy },
  )
}
