import { ArchimageError } from '../errors/error.ts'
import { encodeJson } from '../oci/json.ts'
import { type Descriptor, describe, type Manifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { formatPlatform } from '../oci/platform.ts'
import { formatReference } from '../oci/reference.ts'
import { blobPath, dockerListing } from '../transports/docker-listing.ts'
import {
  EMPTY_INDEX,
  encodeIndexFile,
  entryOf,
  type IndexFile,
  LAYOUT_VERSION,
  withEntries,
} from '../transports/index-file.ts'
import { nameOf, type OutputImage, type OutputMember, type OutputTools, taggedNames } from './image.ts'

/** A file of a layout: its bytes, or the blob of the store that it is. */
export type Part =
  | { readonly path: string; readonly bytes: Uint8Array }
  | { readonly path: string; readonly blob: Descriptor }

type LayoutTools = Pick<OutputTools, 'store' | 'fetch' | 'emit'>

/** An image layout (image-spec, image-layout.md): what index.json lists, and the other files in their order. */
export interface Layout {
  readonly entries: readonly Descriptor[]
  readonly parts: readonly Part[]
}

export const LAYOUT_FILE: Part = { path: 'oci-layout', bytes: LAYOUT_VERSION }

/** index.json of a layout that is alone in its place. */
export function indexFile(entries: readonly Descriptor[]): Part {
  return { path: 'index.json', bytes: encodeIndexFile(withImages(EMPTY_INDEX, entries)) }
}

/** The index of a layout with these images in addition; entries of the same names are replaced. */
export function withImages(file: IndexFile, entries: readonly Descriptor[]): IndexFile {
  return withEntries(
    file,
    entries.map(entry => entryOf({ ...entry }, entry)),
  )
}

/** All platforms of an image. Foreign layers that are not at hand stay where their urls say. */
export async function ociLayout(image: OutputImage, tools: LayoutTools): Promise<Layout> {
  const parts = new Parts()
  parts.manifest(image.index)
  for (const { manifest } of image.members) await addImage(parts, manifest, tools)
  return { entries: named(image, describe(image.index)), parts: parts.list }
}

/**
 * One platform as docker and podman load it: manifest.json beside an image layout of the same blobs. Throws UNSUPPORTED for
 * layers that a daemon could not get.
 */
export async function dockerLayout(image: OutputImage, member: OutputMember, tools: LayoutTools): Promise<Layout> {
  const { manifest, platform } = member
  const parts = new Parts()
  parts.manifest(manifest)
  await addImage(parts, manifest, tools)
  for (const layer of manifest.layers)
    if (isForeignLayer(layer.mediaType) && !tools.store.has(layer.digest, layer.size))
      throw new ArchimageError(
        'UNSUPPORTED',
        `${nameOf(image)}, ${formatPlatform(platform)}: layer ${layer.digest} lies outside of any registry, and an archive for docker must hold every layer`,
        { hint: 'write it with -o type=oci, or push it: both keep the address of such layers' },
      )
  const listing = dockerListing([{ manifest, names: taggedNames(image).map(formatReference) }])
  const top: Part = { path: 'manifest.json', bytes: encodeJson(listing) }
  return { entries: named(image, describe(manifest, platform)), parts: [top, ...parts.list] }
}

/** One entry per name, as containerd and docker read them; one without a name when there is none. */
function named(image: OutputImage, descriptor: Descriptor): Descriptor[] {
  const names = taggedNames(image)
  if (names.length === 0) return [descriptor]
  return names.map(name => ({
    ...descriptor,
    annotations: {
      'io.containerd.image.name': formatReference(name),
      'org.opencontainers.image.ref.name': name.tag!,
    },
  }))
}

async function addImage(parts: Parts, manifest: OutputMember['manifest'], tools: LayoutTools): Promise<void> {
  parts.manifest(manifest)
  const { store } = tools
  const wanted = [manifest.config, ...manifest.layers].filter(
    blob => !isForeignLayer(blob.mediaType) || store.has(blob.digest, blob.size),
  )
  await Promise.all(wanted.map(blob => tools.fetch(blob)))
  for (const blob of wanted) parts.blob(blob)
}

/** Files in the order in which they came, each once. */
class Parts {
  readonly list: Part[] = []
  readonly #seen = new Set<string>()

  manifest(manifest: Manifest): void {
    this.#add({ path: blobPath(manifest.digest), bytes: manifest.raw })
  }

  blob(blob: Descriptor): void {
    this.#add({ path: blobPath(blob.digest), blob })
  }

  #add(part: Part): void {
    if (this.#seen.has(part.path)) return
    this.#seen.add(part.path)
    this.list.push(part)
  }
}
