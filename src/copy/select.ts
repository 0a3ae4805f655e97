import { ArchimageError } from '../errors/error.ts'
import { encodeJson, parseJsonObject } from '../oci/json.ts'
import { type Descriptor, type ImageIndex, isAttestation, parseManifest } from '../oci/manifest.ts'
import { formatPlatform, type Platform, samePlatform } from '../oci/platform.ts'

const SUBJECT = 'vnd.docker.reference.digest'

/**
 * Positions of the entries of an index that are for `platforms`, each of which must be there; attestations go with the image
 * that they are of. `known` are the platforms of entries that do not say theirs, by position. Throws PLATFORM_MISSING.
 */
export function entriesFor(
  index: ImageIndex,
  platforms: readonly Platform[],
  known: ReadonlyMap<number, Platform>,
  what: string,
): readonly number[] {
  const { manifests } = index
  const platformOf = (entry: Descriptor, i: number): Platform | undefined => entry.platform ?? known.get(i)
  const isFor = (wanted: Platform) => (entry: Descriptor, i: number) => {
    const platform = platformOf(entry, i)
    return platform !== undefined && !isAttestation(entry) && samePlatform(platform, wanted)
  }
  const lacking = platforms.filter(wanted => !manifests.some(isFor(wanted)))
  if (lacking.length > 0) {
    const there = manifests.flatMap((entry, i) =>
      isAttestation(entry) ? [] : [platformOf(entry, i)].filter(one => one !== undefined),
    )
    throw platformMissing(what, lacking, there)
  }
  const images = manifests.filter((entry, i) => platforms.some(wanted => isFor(wanted)(entry, i)))
  return manifests.flatMap((entry, i) => {
    const subject = entry.annotations?.[SUBJECT]
    const kept = images.includes(entry) || (isAttestation(entry) && images.some(({ digest }) => digest === subject))
    return kept ? [i] : []
  })
}

export function platformMissing(
  what: string,
  lacking: readonly Platform[],
  there: readonly Platform[],
): ArchimageError {
  const names = (list: readonly Platform[]): string => [...new Set(list.map(formatPlatform))].join(', ')
  return new ArchimageError('PLATFORM_MISSING', `${what} is not there for ${names(lacking)}`, {
    hint: there.length === 0 ? 'it names no platform at all' : `it is for ${names(there)}`,
  })
}

/** An index of only those entries, all else as it was; the same index when all are kept. */
export function keepEntries(index: ImageIndex, positions: readonly number[]): ImageIndex {
  if (positions.length === index.manifests.length) return index
  const json = parseJsonObject(index.raw, 'index')
  const entries = json['manifests'] as readonly unknown[]
  const raw = encodeJson({ ...json, manifests: positions.map(i => entries[i]) })
  return parseManifest(raw, index.mediaType) as ImageIndex
}
