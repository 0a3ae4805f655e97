import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { type Descriptor, describe, type Manifest, parseManifest } from '../oci/manifest.ts'
import { type Extent, readExtent, streamExtent } from './extent.ts'
import { entriesCalled, type IndexEntry, type IndexFile, isReferrersTag } from './index-file.ts'
import { referrersAmong, referrersTag } from './referrers.ts'
import type { Transport } from './transport.ts'

/** A layout, wherever its files are. */
export interface LayoutFiles {
  /** "layout out": for messages. */
  readonly place: string
  /** Throws where there is none. */
  index(): IndexFile
  size(digest: Digest): number | undefined
  open(digest: Digest): Extent | undefined
}

/** Which image of a layout: its name or tag, a digest, or neither. */
export interface Wanted {
  readonly name?: string
  readonly digest?: Digest
}

/** A transport over files that hold images by name. */
export interface NamingTransport extends Transport {
  /**
   * What `manifest` is to be asked for: the digest, the name, or what the only image goes by. Throws NOT_FOUND, naming the
   * images that there are.
   */
  resolve(wanted: Wanted): string
}

type Reading = Pick<NamingTransport, 'name' | 'manifest' | 'head' | 'hasBlob' | 'blob' | 'resolve'> &
  Required<Pick<Transport, 'tags' | 'referrers'>>

const LISTED = 10

/** The reading half of a layout's transport. */
export function readingOf(files: LayoutFiles): Reading {
  const { place } = files
  const find = (tagOrDigest: string): Descriptor | undefined => {
    const { entries } = files.index()
    if (isDigest(tagOrDigest)) return entries.find(entry => entry.descriptor.digest === tagOrDigest)?.descriptor
    const found = entriesCalled(files.index(), tagOrDigest)
    if (new Set(found.map(entry => entry.descriptor.digest)).size > 1)
      throw new ArchimageError('NOT_FOUND', `${place} has several images that "${tagOrDigest}" could mean`, {
        hint: `give the whole name: ${listed(found)}`,
      })
    return found[0]?.descriptor
  }
  const read = (digest: Digest, mediaType?: string): Manifest | undefined => {
    const extent = files.open(digest)
    if (extent === undefined) return undefined
    return parseManifest(readExtent(extent, digest, place), mediaType, `${place}: ${digest}`, digest)
  }
  const manifest = (tagOrDigest: string): Manifest | undefined => {
    const found = find(tagOrDigest)
    if (found === undefined) return isDigest(tagOrDigest) ? read(tagOrDigest) : undefined
    const { digest, mediaType, size } = found
    const made = read(digest, mediaType)
    if (made === undefined)
      throw new ArchimageError('NOT_FOUND', `${place} has no manifest ${digest}, which its index.json names`, {
        hint: 'it is not whole: copy it again',
      })
    if (made.raw.byteLength !== size)
      throw new ArchimageError(
        'DIGEST_MISMATCH',
        `${place}: manifest ${digest} has ${made.raw.byteLength} bytes, and index.json says ${size}`,
      )
    return made
  }
  /** Entries that are images: not what is kept for others, such as signatures. */
  const images = (): readonly IndexEntry[] => {
    const entries = files.index().entries.filter(entry => !isReferrersTag(entry.name))
    if (entries.length < 2) return entries
    const main = entries.filter(
      entry => entry.name !== undefined || manifest(entry.descriptor.digest)?.subject === undefined,
    )
    return main.length > 0 ? main : entries
  }
  return {
    name: place,
    manifest: async tagOrDigest => manifest(tagOrDigest),
    head: async tagOrDigest => {
      const found = isDigest(tagOrDigest) ? undefined : find(tagOrDigest)
      const made = manifest(found?.digest ?? tagOrDigest)
      return made && describe(made)
    },
    hasBlob: async ({ digest, size }) => files.size(digest) === size,
    blob: async (descriptor, options) => {
      const extent = files.open(descriptor.digest)
      if (extent === undefined)
        throw new ArchimageError('NOT_FOUND', `${place} has no blob ${descriptor.digest}`, {
          hint: 'it is not whole: copy it again from where it came from',
          details: { digest: descriptor.digest },
        })
      return streamExtent(extent, descriptor, place, options)
    },
    tags: async function* () {
      const names = new Set(files.index().entries.flatMap(entry => entry.name ?? []))
      yield* names
    },
    referrers: async function* (subject, { artifactType } = {}) {
      const tag = referrersTag(subject)
      const fallback = find(tag) === undefined ? undefined : manifest(tag)
      const listed = fallback?.kind === 'index' ? fallback.manifests : []
      const others = files.index().entries.map(entry => entry.descriptor)
      yield* referrersAmong([...listed, ...others], subject, artifactType, ({ digest, mediaType }) =>
        read(digest, mediaType),
      )
    },
    resolve: ({ name, digest }) => {
      if (digest !== undefined) {
        if (files.size(digest) !== undefined) return digest
        throw notFound(place, digest, files.index().entries)
      }
      if (name !== undefined) {
        if (find(name) !== undefined) return name
        throw notFound(place, name, files.index().entries)
      }
      const there = images()
      if (new Set(there.map(entry => entry.descriptor.digest)).size === 1)
        return there[0]!.name ?? there[0]!.descriptor.digest
      if (find('latest') !== undefined) return 'latest'
      if (there.length === 0) throw new ArchimageError('NOT_FOUND', `${place} holds no image`)
      throw new ArchimageError('NOT_FOUND', `${place} holds ${there.length} images, and none of them is named`, {
        hint: `choose one: ${listed(there)}`,
      })
    },
  }
}

function notFound(place: string, wanted: string, entries: readonly IndexEntry[]): ArchimageError {
  const words = entries.flatMap(entry => [entry.name ?? [], entry.tag ?? []].flat())
  const there = entries.length === 0 ? 'it holds no image' : `it holds ${listed(entries)}`
  return new ArchimageError('NOT_FOUND', `${place} has no image "${wanted}"`, {
    hint: didYouMean(wanted, words) ?? there,
  })
}

/** What there is, in the words in which it can be asked for. */
function listed(entries: readonly IndexEntry[]): string {
  const words = [...new Set(entries.map(entry => entry.name ?? entry.descriptor.digest))]
  const more = words.length - LISTED
  return `${words.slice(0, LISTED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}
