import { isImage } from '../copy/convert.ts'
import type { CopyTools, Place } from '../copy/request.ts'
import { ArchimageError } from '../errors/error.ts'
import { suggest } from '../errors/suggest.ts'
import { configPlatform, parseImageConfig } from '../oci/config.ts'
import { algorithmOf, type Digest, isDigest } from '../oci/digest.ts'
import { encodeJson, isRecord, parseJsonObject } from '../oci/json.ts'
import {
  type Descriptor,
  describe,
  type ImageIndex,
  type ImageManifest,
  isAttestation,
  type Manifest,
  parseManifest,
  sorted,
} from '../oci/manifest.ts'
import { DOCKER, isIndexType } from '../oci/media-types.ts'
import { formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts'
import { familiarReference, formatReference, parseReference, withDefaultTag } from '../oci/reference.ts'
import { rememberSource } from '../store/sources.ts'
import type { Store } from '../store/store.ts'
import type { Origin } from '../store/types.ts'
import type { Annotation } from './annotations.ts'
import {
  addEntries,
  annotateEntries,
  annotateIndex,
  changeIndex,
  type EntryChange,
  type Existing,
  entryKey,
  isFor,
  platformName,
  redirectEntries,
  removeEntries,
} from './edit.ts'
import { agrees, type Member } from './members.ts'

/** Annotation of a name in the store: which entries a name was added for, as JSON. It never leaves the store. */
const NAMES = 'dev.archimage.members'

/** An index that is being put together. */
export interface List {
  /** Whole reference. */
  readonly name: string
  readonly index: ImageIndex
  /** Keys of entries (see `entryKey`) by the whole reference that they were added by. */
  readonly names: Readonly<Record<string, readonly string[]>>
  /** Of its entry in an OCI layout. */
  readonly annotations: Readonly<Record<string, string>>
}

/** The name of a list as it is kept: with its registry and a tag. Throws REFERENCE_INVALID. */
export function listName(text: string): string {
  const reference = withDefaultTag(parseReference(text))
  if (reference.tag === undefined)
    throw new ArchimageError('REFERENCE_INVALID', `"${text}": a list has a tag, not a digest`)
  return formatReference(reference)
}

/** A list of the store, or an image there that is an index; undefined when there is none of that name. */
export function findList(store: Store, text: string): (List & { readonly origin: Origin }) | undefined {
  const ref = store.ref(listName(text))
  if (ref === undefined || !isIndexType(ref.descriptor.mediaType)) return undefined
  const index = store.manifest(ref.descriptor.digest, ref.descriptor.mediaType)
  if (index.kind !== 'index') return undefined
  const { [NAMES]: names, ...annotations } = ref.descriptor.annotations ?? {}
  return { name: ref.name, index, names: readNames(names), annotations, origin: ref.origin }
}

/** The same, or NOT_FOUND with a suggestion. */
export function mustFindList(store: Store, text: string): List & { readonly origin: Origin } {
  const found = findList(store, text)
  if (found !== undefined) return found
  const names = store.refs().flatMap(({ name, descriptor }) => {
    const familiar = familiarReference(parseReference(name))
    return isIndexType(descriptor.mediaType) ? [familiar, familiar.replace(/:[^:/]*$/, '')] : []
  })
  const meant = suggest(text, names)
  throw new ArchimageError('NOT_FOUND', `No such manifest: ${familiarReference(parseReference(listName(text)))}`, {
    hint:
      meant === undefined ? 'archimage manifest ls lists them; manifest create makes one' : `did you mean "${meant}"?`,
  })
}

function readNames(text: string | undefined): List['names'] {
  if (text === undefined) return {}
  const json = parseJsonObject(Buffer.from(text), 'names of a list')
  return Object.fromEntries(
    Object.entries(json).flatMap(([name, keys]) => (Array.isArray(keys) ? [[name, keys.map(String)]] : [])),
  )
}

/** Writes a list under its name. */
export function saveList(store: Store, { name, index, names, annotations }: List): void {
  store.put(index.raw)
  const keys = new Set(index.manifests.map(entryKey))
  const left = Object.entries(names).flatMap(([of, list]) => {
    const there = list.filter(key => keys.has(key))
    return there.length === 0 ? [] : [[of, there] as const]
  })
  const own = left.length === 0 ? {} : { [NAMES]: encodeJson(Object.fromEntries(left)).toString() }
  store.tag(name, { ...describe(index), annotations: sorted({ ...annotations, ...own }) }, 'list')
}

/**
 * Adds what a name leads to. Where the name was added before and now leads to another image for a platform, that takes the place
 * of the former one; what is the same digest keeps what was said of it, unless `label` says it anew. With `fresh`, what the name
 * does not lead to any more goes. Throws PLATFORM_TAKEN.
 */
export function addMembers(
  list: List,
  reference: string,
  members: readonly Member[],
  options: { readonly existing?: Existing; readonly label?: EntryChange; readonly fresh?: boolean } = {},
): List {
  const before = list.index.manifests.filter(entry => list.names[reference]?.includes(entryKey(entry)))
  const others = new Set(Object.entries(list.names).flatMap(([of, keys]) => (of === reference ? [] : keys)))
  const entries = members.map(({ entry }) =>
    options.label === undefined ? (before.find(one => one.digest === entry.digest) ?? entry) : entry,
  )
  const now = new Set(entries.map(entryKey))
  const own = before.filter(entry => !others.has(entryKey(entry)) && !now.has(entryKey(entry)))
  const successors = new Map(
    own.flatMap(old => {
      const next = entries.find(entry => !isAttestation(entry) && platformName(entry) === platformName(old))
      return next === undefined ? [] : [[entryKey(old), next] as const]
    }),
  )
  const moved = list.index.manifests.map(entry => successors.get(entryKey(entry)) ?? entry)
  const gone = new Set(options.fresh === true ? own.map(entryKey) : [])
  let index = removeEntries(changeIndex(list.index, { manifests: moved }), entry => gone.has(entryKey(entry)))
  try {
    index = addEntries(index, entries, options.existing)
  } catch (error) {
    throw explained(error, list, reference)
  }
  const there = new Set(index.manifests.map(entryKey))
  const keys = new Set([...before.map(entryKey).filter(key => there.has(key)), ...now])
  return { ...list, index, names: { ...list.names, [reference]: [...keys] } }
}

/** Says which names the two images of one platform have. */
function explained(error: unknown, list: List, reference: string): unknown {
  if (!(error instanceof ArchimageError) || error.code !== 'PLATFORM_TAKEN') return error
  const { platform, there } = error.details
  const [name] = Object.entries(list.names).find(([, keys]) => keys.some(key => key.startsWith(`${there} `))) ?? []
  const short = (text: string): string => (isName(text) ? familiarReference(parseReference(text)) : text)
  return new ArchimageError(
    'PLATFORM_TAKEN',
    `${short(reference)} is an image for ${platform}, and the list has one already: ${name === undefined ? there : short(name)}`,
    {
      hint: `--replace puts it in the place of the other, --os and --arch say another platform, --allow-duplicates keeps both`,
      details: error.details,
      cause: error,
    },
  )
}

function isName(text: string): boolean {
  return (
    !/^(?:oci|ocidir|oci-archive|docker-archive|docker-daemon|podman|containers-storage):/.test(text) &&
    !/^[./]/.test(text)
  )
}

/** Which entries of a list a word means: a name that they were added by, a digest or its beginning, a platform. */
export interface Choice {
  readonly entries: readonly Descriptor[]
  /** The name among the list's. */
  readonly name?: string
}

/** Throws NOT_FOUND with a suggestion, USAGE when several digests begin so. */
export function chooseEntries(list: List, text: string): Choice {
  const { index, names } = list
  const whole = wholeName(text)
  for (const name of [text, whole])
    if (name !== undefined && Object.hasOwn(names, name)) {
      const keys = new Set(names[name])
      return { entries: index.manifests.filter(entry => keys.has(entryKey(entry))), name }
    }
  const hex = /(?:^|@)(?:sha(?:256|512):)?([0-9a-f]{4,128})$/.exec(text)?.[1]
  if (hex !== undefined) {
    const found = index.manifests.filter(entry => entry.digest.slice(7).startsWith(hex))
    if (new Set(found.map(({ digest }) => digest)).size > 1)
      throw new ArchimageError('USAGE', `several images of ${list.name} have a digest that begins with "${hex}"`, {
        hint: `write more of it: ${found.map(({ digest }) => digest).join(', ')}`,
      })
    if (found.length > 0) return { entries: found }
  }
  const platform = asPlatform(text)
  const entries = platform === undefined ? [] : index.manifests.filter(entry => isFor(entry, platform))
  if (entries.length > 0) return { entries }
  const known = [
    ...Object.keys(names).map(name => (isName(name) ? familiarReference(parseReference(name)) : name)),
    ...index.manifests.filter(entry => !isAttestation(entry)).map(platformName),
  ]
  const meant = suggest(text, known)
  throw new ArchimageError('NOT_FOUND', `manifest for image ${text} does not exist in ${list.name}`, {
    hint: meant === undefined ? `it has ${known.join(', ') || 'no image'}` : `did you mean "${meant}"?`,
  })
}

function asPlatform(text: string): Platform | undefined {
  try {
    return parsePlatform(text)
  } catch {
    return undefined
  }
}

function wholeName(text: string): string | undefined {
  try {
    return formatReference(withDefaultTag(parseReference(text)))
  } catch {
    return undefined
  }
}

/**
 * Changes what a list says of some entries. A name that shares its entry with another name gets one of its own: two names of one
 * digest can so become two platforms.
 */
export function annotateList(
  list: List,
  { entries, name }: Choice,
  change: EntryChange,
): { readonly list: List; readonly entries: readonly Descriptor[] } {
  const picked = new Set(entries.map(entryKey))
  const shared = (key: string): boolean =>
    name !== undefined && Object.entries(list.names).some(([of, keys]) => of !== name && keys.includes(key))
  const relabels = change.os ?? change.architecture ?? change.variant ?? change.osVersion ?? change.osFeatures
  const copies = relabels === undefined ? [] : entries.filter(entry => shared(entryKey(entry)))
  const changed = (index: ImageIndex): ImageIndex =>
    annotateEntries(index, entry => picked.has(entryKey(entry)), change)
  const moved = new Map(
    entries.map(entry => {
      const [now] = changed(changeIndex(list.index, { manifests: [entry] })).manifests
      return [entryKey(entry), entryKey(now!)]
    }),
  )
  const index =
    copies.length > 0
      ? addEntries(list.index, changed(changeIndex(list.index, { manifests: copies })).manifests)
      : changed(list.index)
  const names = Object.fromEntries(
    Object.entries(list.names).map(([of, keys]) => [
      of,
      copies.length > 0 && of !== name ? keys : keys.map(key => moved.get(key) ?? key),
    ]),
  )
  const keys = new Set(moved.values())
  return { list: { ...list, index, names }, entries: index.manifests.filter(entry => keys.has(entryKey(entry))) }
}

/** What an image is by its config, where that contradicts what the list says of it. */
export function contradiction(store: Store, { digest, mediaType, platform }: Descriptor): Platform | undefined {
  if (platform === undefined || !store.has(digest)) return undefined
  const manifest = store.manifest(digest, mediaType)
  if (manifest.kind !== 'image' || !isImage(manifest) || !store.has(manifest.config.digest)) return undefined
  const config = parseImageConfig(store.read(manifest.config.digest), `config of ${digest}`)
  return agrees(platform, config) ? undefined : configPlatform(config)
}

/** Images of a list get annotations in their own manifests: `now` has the new ones by the digests before. Throws UNSUPPORTED for Docker's. */
export function annotateManifests(
  list: List,
  entries: readonly Descriptor[],
  annotations: Readonly<Record<string, string>>,
  read: (entry: Descriptor) => Manifest,
): { readonly list: List; readonly now: ReadonlyMap<Digest, ImageManifest> } {
  const now = new Map<Digest, ImageManifest>()
  for (const entry of entries)
    if (!now.has(entry.digest)) now.set(entry.digest, annotateManifest(read(entry), annotations))
  const rename = (key: string): string => {
    const [digest, platform] = key.split(' ')
    return `${now.get(digest as Digest)?.digest ?? digest} ${platform}`
  }
  const names = Object.fromEntries(Object.entries(list.names).map(([of, keys]) => [of, keys.map(rename)]))
  const moved = new Map([...now].map(([digest, manifest]) => [digest, describe(manifest)]))
  return { list: { ...list, index: redirectEntries(list.index, moved), names }, now }
}

function annotateManifest(manifest: Manifest, annotations: Readonly<Record<string, string>>): ImageManifest {
  if (manifest.mediaType === DOCKER.manifest)
    throw new ArchimageError(
      'UNSUPPORTED',
      `${manifest.digest} is an image in Docker's format, which has no annotations`,
      { hint: 'manifest-descriptor: puts them into the index instead' },
    )
  const json = parseJsonObject(manifest.raw, 'manifest')
  const before = isRecord(json['annotations']) ? (json['annotations'] as Record<string, string>) : {}
  const raw = encodeJson({ ...json, annotations: sorted({ ...before, ...annotations }) })
  return parseManifest(raw, manifest.mediaType) as ImageManifest
}

/**
 * Keeps what a list needs of its members in the store: manifests and configs. Blobs that are in a registry stay there, and where
 * is remembered; of files and daemons everything is copied, as they may be gone tomorrow.
 */
export async function keepMembers(
  store: Store,
  members: readonly Member[],
  here: Place,
  tools: CopyTools,
): Promise<void> {
  for (const { manifest, config, place } of members) {
    if (place.site !== undefined) {
      const { registry, repository } = place.site
      store.put(manifest.raw, algorithmOf(manifest.digest))
      if (config !== undefined) store.put(config, algorithmOf(manifest.config.digest))
      rememberSource(store, [describe(manifest), manifest.config, ...manifest.layers], `${registry}/${repository}`)
    } else if (place.siteOf === undefined) {
      const image = { source: place, name: manifest.digest, target: here, tags: [], options: {} }
      const { copy } = await import('../copy/copy.ts')
      const { images } = await copy([image], tools)
      if (images[0]!.error !== undefined) throw images[0]!.error
    }
  }
}

/** The whole reference of a name that a member was asked for by; what is no reference stays as it is. */
export function memberName(text: string): string {
  return isDigest(text) || !isName(text) ? text : (wholeName(text.replace(/^store:/, '')) ?? text)
}

/**
 * Writes annotations where they say that they belong; `chosen` are the entries that those of images are for, else all images.
 * `now` has the manifests that changed, by the digests before. Throws NOT_FOUND for a platform that the list does not have.
 */
export function applyAnnotations(
  list: List,
  annotations: readonly Annotation[],
  read: (entry: Descriptor) => Manifest,
  chosen?: readonly Descriptor[],
): { readonly list: List; readonly now: ReadonlyMap<Digest, ImageManifest> } {
  const now = new Map<Digest, ImageManifest>()
  const first = new Map<Digest, Digest>()
  const chosenKeys = chosen && new Set(chosen.map(entryKey))
  let result = list
  for (const { level, platform, key, value } of annotations) {
    const pair = { [key]: value }
    if (level === 'index') result = { ...result, index: annotateIndex(result.index, pair) }
    if (level === 'index-descriptor') result = { ...result, annotations: { ...result.annotations, ...pair } }
    if (level !== 'manifest' && level !== 'manifest-descriptor') continue
    const meant = (entry: Descriptor): boolean =>
      !isAttestation(entry) &&
      (platform === undefined ? (chosenKeys?.has(entryKey(entry)) ?? true) : isFor(entry, platform))
    const entries = result.index.manifests.filter(meant)
    if (platform !== undefined && entries.length === 0) chooseEntries(result, formatPlatform(platform))
    if (level === 'manifest-descriptor')
      result = { ...result, index: annotateEntries(result.index, meant, { annotations: pair }) }
    else {
      const current = (entry: Descriptor): Manifest => now.get(first.get(entry.digest) ?? entry.digest) ?? read(entry)
      const changed = annotateManifests(result, entries, pair, current)
      for (const [before, manifest] of changed.now) {
        const original = first.get(before) ?? before
        first.set(manifest.digest, original)
        now.set(original, manifest)
      }
      result = changed.list
    }
  }
  return { list: result, now }
}
