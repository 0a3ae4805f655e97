import { ArchimageError } from '../errors/error.ts'
import { type Descriptor, encodeIndex, type ImageIndex, isAttestation } from '../oci/manifest.ts'
import { DOCKER } from '../oci/media-types.ts'
import { formatPlatform, normalizePlatform, type Platform, samePlatform } from '../oci/platform.ts'

/** What an attestation of BuildKit is of: the digest of an image in the same index. */
export const SUBJECT = 'vnd.docker.reference.digest'

/** What an index is made of; its bytes and its media type follow from it. */
export interface IndexContent {
  readonly manifests: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>>
  readonly artifactType?: string
  readonly subject?: Descriptor
}

/** What happens to an entry for a platform that the index has already; an error if not said. */
export type Existing = 'replace' | 'keep-both'

/**
 * The one index with this content: images in the given order, attestations behind them, fields as in the spec, no white
 * space. It is one of Docker's lists when every entry is Docker's and nothing in it needs OCI, else an OCI index.
 */
export function makeIndex({ manifests, annotations = {}, ...rest }: IndexContent): ImageIndex {
  const keys = manifests.map(entryKey)
  const distinct = manifests.filter((_, i) => keys.indexOf(keys[i]!) === i)
  const entries = [...distinct.filter(entry => !isAttestation(entry)), ...distinct.filter(isAttestation)]
  const plain = Object.keys(annotations).length === 0 && rest.artifactType === undefined && rest.subject === undefined
  const docker =
    plain &&
    entries.length > 0 &&
    entries.every(
      entry => entry.mediaType === DOCKER.manifest && entry.annotations === undefined && entry.platform !== undefined,
    )
  return encodeIndex({ docker, manifests: entries, annotations, ...rest })
}

/** The same index with another part. */
export function changeIndex(index: ImageIndex, change: Partial<IndexContent>): ImageIndex {
  const { manifests, annotations, artifactType, subject } = index
  return makeIndex({
    manifests,
    annotations,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(subject === undefined ? {} : { subject }),
    ...change,
  })
}

/** What tells entries apart: no two of an index have the same. */
export function entryKey(entry: Descriptor): string {
  return `${entry.digest} ${platformName(entry)}`
}

/** `linux/arm64`; `unknown` for an entry that does not say. */
export function platformName({ platform }: Pick<Descriptor, 'platform'>): string {
  return platform === undefined ? 'unknown' : formatPlatform(normalizePlatform(platform))
}

/**
 * Puts entries behind those that are there. The same digest for the same platform changes that entry in its place; for two
 * platforms it makes two entries. Throws PLATFORM_TAKEN for another digest for a platform that is there, unless `existing`
 * says what to do.
 */
export function addEntries(index: ImageIndex, entries: readonly Descriptor[], existing?: Existing): ImageIndex {
  let manifests = index.manifests
  for (const entry of entries) {
    const key = entryKey(entry)
    const same = manifests.findIndex(one => entryKey(one) === key)
    const rival = existing === 'keep-both' ? undefined : rivalOf(entry, manifests)
    if (same >= 0) manifests = manifests.with(same, entry)
    else if (rival === undefined) manifests = [...manifests, entry]
    else if (existing === 'replace') manifests = putInPlace(manifests, rival, entry)
    else throw taken(rival, entry)
  }
  return changeIndex(index, { manifests })
}

/** Another image for the same platform. */
function rivalOf(entry: Descriptor, manifests: readonly Descriptor[]): Descriptor | undefined {
  if (isAttestation(entry) || entry.platform === undefined) return undefined
  return manifests.find(
    one => !isAttestation(one) && one.digest !== entry.digest && platformName(one) === platformName(entry),
  )
}

function taken(there: Descriptor, added: Descriptor): ArchimageError {
  const platform = platformName(added)
  return new ArchimageError(
    'PLATFORM_TAKEN',
    `two images for ${platform}: ${there.digest} is in the index, and ${added.digest} would be the second`,
    { details: { platform, there: there.digest, added: added.digest } },
  )
}

/** `entry` where `old` was; the attestations of `old` go with it, unless another entry has its digest. */
function putInPlace(manifests: readonly Descriptor[], old: Descriptor, entry: Descriptor): readonly Descriptor[] {
  return withoutOrphans(manifests.map(one => (one === old ? entry : one)))
}

/** Attestations of images that are no longer there are about nothing. */
function withoutOrphans(manifests: readonly Descriptor[]): readonly Descriptor[] {
  const images = new Set<string>(manifests.filter(one => !isAttestation(one)).map(one => one.digest))
  return manifests.filter(one => {
    const of = isAttestation(one) ? one.annotations?.[SUBJECT] : undefined
    return of === undefined || images.has(of)
  })
}

/** Takes entries away, and the attestations of what is not there. */
export function removeEntries(index: ImageIndex, goes: (entry: Descriptor) => boolean): ImageIndex {
  return changeIndex(index, { manifests: withoutOrphans(index.manifests.filter(entry => !goes(entry))) })
}

/** Only the images of these platforms, in the order of the index, with their attestations. Throws PLATFORM_MISSING. */
export function filterIndex(index: ImageIndex, platforms: readonly Platform[], what = 'the index'): ImageIndex {
  const images = index.manifests.filter(entry => !isAttestation(entry))
  const lacking = platforms.filter(wanted => !images.some(entry => isFor(entry, wanted)))
  if (lacking.length > 0)
    throw new ArchimageError('PLATFORM_MISSING', `${what} has no image for ${lacking.map(formatPlatform).join(', ')}`, {
      hint: `it has ${images.map(platformName).join(', ') || 'none'}`,
    })
  return removeEntries(index, entry => !isAttestation(entry) && !platforms.some(wanted => isFor(entry, wanted)))
}

/** Whether an entry is for a platform; os.version counts where both have one. */
export function isFor({ platform }: Descriptor, wanted: Platform): boolean {
  return platform !== undefined && samePlatform(platform, wanted)
}

/** Without attestations: nothing but images. */
export function dropAttestations(index: ImageIndex): ImageIndex {
  return removeEntries(index, isAttestation)
}

/** All entries of all, those of the first one first. Annotations are those of the first. Throws PLATFORM_TAKEN. */
export function mergeIndexes(index: ImageIndex, others: readonly ImageIndex[], existing?: Existing): ImageIndex {
  return others.reduce((sum, other) => addEntries(sum, other.manifests, existing), changeIndex(index, {}))
}

/** The image for a platform becomes another, in its place; where there was none, it is added. */
export function replaceEntry(index: ImageIndex, entry: Descriptor): ImageIndex {
  return addEntries(index, [entry], 'replace')
}

/** What an entry says of its image. */
export interface EntryChange {
  readonly os?: string
  readonly architecture?: string
  readonly variant?: string
  readonly osVersion?: string
  /** Added to those that it has. */
  readonly osFeatures?: readonly string[]
  readonly annotations?: Readonly<Record<string, string>>
}

/**
 * Changes what an index says of the entries that `which` picks; their digests stay. Throws PLATFORM_TAKEN when two would be of
 * one platform, PLATFORM_INVALID when an operating system has no architecture or the other way round.
 */
export function annotateEntries(
  index: ImageIndex,
  which: (entry: Descriptor) => boolean,
  change: EntryChange,
): ImageIndex {
  const picked = new Set(index.manifests.filter(which))
  const manifests = index.manifests.map(entry => (picked.has(entry) ? annotated(entry, change) : entry))
  for (const [i, entry] of manifests.entries()) {
    const rival = picked.has(index.manifests[i]!) ? rivalOf(entry, manifests) : undefined
    if (rival !== undefined) throw taken(rival, entry)
  }
  return changeIndex(index, { manifests })
}

function annotated(entry: Descriptor, change: EntryChange): Descriptor {
  const { platform, annotations, ...rest } = entry
  const next = changePlatform(platform, change)
  const all = { ...annotations, ...change.annotations }
  return {
    ...rest,
    ...(next === undefined ? {} : { platform: next }),
    ...(Object.keys(all).length === 0 ? {} : { annotations: all }),
  }
}

/** A platform with other parts; undefined where there is none and none is said. */
export function changePlatform(platform: Platform | undefined, change: EntryChange): Platform | undefined {
  const os = change.os ?? platform?.os
  const architecture = change.architecture ?? platform?.architecture
  if (os === undefined && architecture === undefined && !change.variant && !change.osVersion && !change.osFeatures)
    return undefined
  if (!os || !architecture)
    throw new ArchimageError('PLATFORM_INVALID', 'a platform needs an operating system and an architecture', {
      hint: 'give both, for instance --os linux --arch arm64',
    })
  // The variant of one architecture is none of another's.
  const kept = change.architecture === undefined || change.architecture === platform?.architecture
  const variant = change.variant ?? (kept ? platform?.variant : undefined)
  const version = change.osVersion ?? platform?.['os.version']
  const features = [...new Set([...(platform?.['os.features'] ?? []), ...(change.osFeatures ?? [])])]
  return {
    architecture,
    os,
    ...(version ? { 'os.version': version } : {}),
    ...(features.length > 0 ? { 'os.features': features } : {}),
    ...(variant ? { variant } : {}),
  }
}

/** Adds annotations to the index itself. */
export function annotateIndex(index: ImageIndex, annotations: Readonly<Record<string, string>>): ImageIndex {
  return changeIndex(index, { annotations: { ...index.annotations, ...annotations } })
}

/** Entries lead to other manifests (`now`, by digest); attestations follow what they are of. */
export function redirectEntries(index: ImageIndex, now: ReadonlyMap<string, Descriptor>): ImageIndex {
  const manifests = index.manifests.map(entry => {
    const next = now.get(entry.digest)
    const subject = entry.annotations?.[SUBJECT]
    const follow = subject === undefined ? undefined : now.get(subject)
    return {
      ...entry,
      ...(next && { mediaType: next.mediaType, digest: next.digest, size: next.size }),
      ...(follow && { annotations: { ...entry.annotations, [SUBJECT]: follow.digest } }),
    }
  })
  return changeIndex(index, { manifests })
}
