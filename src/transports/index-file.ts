import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { sha256 } from '../oci/digest.ts'
import { encodeJson, parseJsonObject } from '../oci/json.ts'
import { type Descriptor, parseManifest, sorted } from '../oci/manifest.ts'
import { OCI } from '../oci/media-types.ts'
import { formatReference, parseReference, withDefaultTag } from '../oci/reference.ts'

type Json = Readonly<Record<string, unknown>>

/** image-spec, annotations.md: a tag, or what its writer liked. */
const REF_NAME = 'org.opencontainers.image.ref.name'
/** The whole reference, as containerd and docker write it beside the tag. */
const IMAGE_NAME = 'io.containerd.image.name'

/** An entry of index.json: as it stands there, and what it says. */
export interface IndexEntry {
  readonly json: Json
  readonly descriptor: Descriptor
  /** The whole reference where there is one, else `tag`. Two entries of one layout do not share it. */
  readonly name: string | undefined
  /** What skopeo and podman call it. */
  readonly tag: string | undefined
}

/** index.json of an OCI layout (image-spec, image-layout.md). */
export interface IndexFile {
  /** Its fields but for `manifests`. */
  readonly rest: Json
  readonly entries: readonly IndexEntry[]
}

export const EMPTY_INDEX: IndexFile = { rest: { schemaVersion: 2, mediaType: OCI.index }, entries: [] }
export const LAYOUT_VERSION: Uint8Array = encodeJson({ imageLayoutVersion: '1.0.0' })

/** Nobody asks for that of index.json. */
const NO_DIGEST = sha256('')

/** Throws MANIFEST_INVALID, naming `what`. */
export function parseIndexFile(bytes: Uint8Array, what: string): IndexFile {
  const { manifests, ...rest } = parseJsonObject(bytes, what)
  const list = (manifests ?? []) as readonly Json[]
  // Go writes no entries as null
  const raw = manifests === list ? bytes : encodeJson({ ...rest, manifests: list })
  const index = parseManifest(raw, OCI.index, what, NO_DIGEST)
  if (index.kind !== 'index') throw new ArchimageError('MANIFEST_INVALID', `${what}: it is no index`)
  const entries = index.manifests.map((descriptor, i) => entryOf(list[i]!, descriptor))
  return { rest, entries }
}

/** Fields in the order of the spec; others behind them, as they were. */
export function encodeIndexFile({ rest, entries }: IndexFile): Buffer {
  const { schemaVersion, mediaType, ...more } = rest
  const manifests = entries.map(entry => entry.json)
  return encodeJson({ schemaVersion, mediaType: mediaType ?? OCI.index, manifests, ...more })
}

/** `json` is how the descriptor stands there, with all its fields. */
export function entryOf(json: Json, descriptor: Descriptor): IndexEntry {
  const text = (key: string): string | undefined => descriptor.annotations?.[key] || undefined
  const tag = text(REF_NAME)
  return { json, descriptor, tag, name: text(IMAGE_NAME) ?? tag }
}

/**
 * An entry for a manifest that goes by `name`: a tag, or a whole reference, which then stands in both annotations, since
 * skopeo compares one and docker reads the other.
 */
export function namedEntry(descriptor: Descriptor, name?: string): IndexEntry {
  const whole = name === undefined ? undefined : wholeName(name)
  const annotations = {
    ...descriptor.annotations,
    ...(name === undefined ? {} : { [REF_NAME]: name }),
    ...(whole === undefined ? {} : { [IMAGE_NAME]: whole }),
  }
  const { mediaType, digest, size, platform, urls, data, artifactType } = descriptor
  const json = {
    mediaType,
    digest,
    size,
    ...(urls === undefined ? {} : { urls }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations: sorted(annotations) }),
    ...(data === undefined ? {} : { data }),
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
  }
  return entryOf(json, { ...descriptor, annotations })
}

/** The whole reference that a name stands for; undefined for what is only a tag, like `1.0`. */
export function wholeName(name: string): string | undefined {
  if (!/[/:]/.test(name)) return undefined
  const known = wholes.get(name)
  if (known !== undefined) return known === '' ? undefined : known
  let whole = ''
  try {
    whole = formatReference(withDefaultTag(parseReference(name)))
  } catch (error) {
    if (!isArchimageError(error)) throw error
  }
  if (wholes.size >= MOST_WHOLES) wholes.clear()
  wholes.set(name, whole)
  return whole === '' ? undefined : whole
}

/** An index is searched once for each of its names: "" where a name is no reference. */
const wholes = new Map<string, string>()
const MOST_WHOLES = 20_000

/** With these entries in the place of those of the same names; one without a name only where its digest has no entry yet. */
export function withEntries(file: IndexFile, added: readonly IndexEntry[]): IndexFile {
  const entries = [...file.entries]
  for (const entry of added) {
    const { name, descriptor } = entry
    const same = entries.flatMap((one, i) =>
      (name === undefined ? one.descriptor.digest === descriptor.digest : one.name === name) ? [i] : [],
    )
    if (name === undefined) {
      if (same.length === 0) entries.push(entry)
      continue
    }
    for (const place of same.slice(1).reverse()) entries.splice(place, 1)
    // a name for what had none
    const bare = entries.findIndex(one => one.name === undefined && one.descriptor.digest === descriptor.digest)
    entries.splice(same[0] ?? (bare < 0 ? entries.length : bare), same.length === 0 && bare < 0 ? 0 : 1, entry)
  }
  return { ...file, entries }
}

/**
 * The entries that a name means, best first: those called exactly so, then the whole reference that it stands for, then the
 * tag of whole names.
 */
export function entriesCalled({ entries }: IndexFile, name: string): readonly IndexEntry[] {
  const whole = wholeName(name)
  const ways: readonly ((entry: IndexEntry) => boolean)[] = [
    entry => entry.name === name,
    entry =>
      whole !== undefined && (entry.name === whole || (entry.name !== undefined && wholeName(entry.name) === whole)),
    entry => entry.tag === name,
    entry => tagOf(entry.name) === name,
  ]
  for (const way of ways) {
    const found = entries.filter(way)
    if (found.length > 0) return found
  }
  return []
}

function tagOf(name: string | undefined): string | undefined {
  return name === undefined ? undefined : /:([^:/@]+)$/.exec(name)?.[1]
}

/** Names under which referrers of a subject are kept where nothing lists them (distribution-spec, referrers tag schema). */
export function isReferrersTag(name: string | undefined): boolean {
  return name !== undefined && /^sha(?:256|512)-[0-9a-f]{64,128}(?:\.[a-z]+)?$/.test(name)
}
