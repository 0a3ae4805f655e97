import { closeSync, lstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { ArchimageError, isArchimageError, systemError } from '../errors/error.ts'
import { algorithmOf, type Digest, digestLike, hexOf } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Manifest, parseManifest } from '../oci/manifest.ts'
import { isTag, parseReference } from '../oci/reference.ts'
import { referrerOf } from '../registry/server/manifest-handlers.ts'
import { isRepository } from '../registry/server/route.ts'
import type { StorageReader, StoredBlob, StoredManifest } from '../registry/server/storage-reader.ts'
import { openArchiveFile } from './archive-file.ts'
import { archiveFiles } from './archive-reading.ts'
import { fileExtent } from './extent.ts'
import { type IndexEntry, type IndexFile, isReferrersTag, parseIndexFile } from './index-file.ts'

/** Images in a layout or an archive, for a registry that serves them. */
export interface Served extends StorageReader {
  close(): void
}

/** What a layout is to `serve`. */
interface Files {
  readonly place: string
  /** The repository of images that have a tag only. */
  readonly repository: string
  /** Another object when it changed. */
  index(): IndexFile
  locate(digest: Digest): StoredBlob | undefined
}

interface Repository {
  readonly tags: Map<string, Digest>
  readonly entries: IndexEntry[]
}

interface Catalog {
  readonly index: IndexFile
  readonly repositories: ReadonlyMap<string, Repository>
  /** Of repositories that were asked for: all manifests that they have, and their tags. */
  readonly manifests: Map<string, ReadonlyMap<Digest, Manifest>>
  readonly tags: Map<string, ReadonlyMap<string, Digest>>
}

/** What clients can pull from a layout in a folder: what is added to it while it is served is served too. */
export function serveLayout(folder: string, place = `layout ${folder}`): Served {
  const file = join(folder, 'index.json')
  let seen: { readonly stamp: string; readonly index: IndexFile } | undefined
  const index = (): IndexFile => {
    const stat = statSync(file, { bigint: true, throwIfNoEntry: false })
    if (stat === undefined)
      throw new ArchimageError('NOT_FOUND', `there is no layout in ${folder}`, { hint: 'index.json is missing' })
    const stamp = `${stat.ino} ${stat.size} ${stat.mtimeNs}`
    if (seen?.stamp !== stamp) {
      if (stat.size > MAX_JSON) throw new ArchimageError('MANIFEST_INVALID', `${file} has ${stat.size} bytes`)
      try {
        seen = { stamp, index: parseIndexFile(readFileSync(file), file) }
      } catch (error) {
        throw systemError(error, `reading ${file}`)
      }
    }
    return seen.index
  }
  const locate = (digest: Digest): StoredBlob | undefined => {
    const path = join(folder, 'blobs', algorithmOf(digest), hexOf(digest))
    // A link could publish any file of this machine.
    const stat = lstatSync(path, { throwIfNoEntry: false })
    return stat?.isFile() ? { path, size: stat.size } : undefined
  }
  return { ...serving({ place, repository: repositoryOf(folder), index, locate }), close: () => {} }
}

/**
 * What clients can pull from an archive, OCI's or docker's, without unpacking it; what is compressed is decompressed once, into
 * a temporary file without a name. Throws NOT_FOUND, TAR_INVALID, MANIFEST_INVALID, NO_SPACE.
 */
export async function serveArchive(path: string, signal?: AbortSignal): Promise<Served> {
  const place = `archive ${path}`
  const file = await openArchiveFile(path, place, signal)
  try {
    const files = await archiveFiles(file, place, signal)
    const index = files.index()
    const locate = (digest: Digest): StoredBlob | undefined => {
      const extent = files.open(digest)
      if (extent === undefined) return undefined
      const { size, source } = extent
      extent.release()
      if ('bytes' in source) return { size, bytes: source.bytes }
      // Through the open file: it stays what it was, whatever happens to the name.
      const from = process.platform === 'linux' ? `/proc/self/fd/${source.fd}` : path
      return { size, path: from, start: source.offset }
    }
    if (process.platform !== 'linux' && statSync(path).size !== file.size)
      throw new ArchimageError('UNSUPPORTED', `${place} is compressed`, { hint: 'decompress it first' })
    const served = serving({ place, repository: repositoryOf(path), index: () => index, locate })
    return { ...served, close: () => file.close() }
  } catch (error) {
    file.close()
    throw error
  }
}

function serving(files: Files): StorageReader {
  let catalog: Catalog | undefined
  const current = (): Catalog => {
    const index = files.index()
    if (catalog?.index !== index)
      catalog = { index, repositories: sortNames(index.entries, files), manifests: new Map(), tags: new Map() }
    return catalog
  }
  /** `app` is what docker calls library/app. */
  const known = (name: string): string | undefined => {
    const { repositories } = current()
    return [name, `library/${name}`].find(each => repositories.has(each))
  }
  const manifestsOf = (name: string): ReadonlyMap<Digest, Manifest> => {
    const { repositories, manifests, index } = current()
    const found = manifests.get(name) ?? reach(files, repositories.get(name)!, index)
    manifests.set(name, found)
    return found
  }
  const tagsOf = (name: string): ReadonlyMap<string, Digest> => {
    const { repositories, index, tags } = current()
    const found = tags.get(name)
    if (found !== undefined) return found
    const made = new Map(repositories.get(name)!.tags)
    // Signatures and the like, where their subjects are.
    for (const { name: tag, descriptor } of index.entries)
      if (isReferrersTag(tag) && isTag(tag!) && manifestsOf(name).has(descriptor.digest))
        made.set(tag!, descriptor.digest)
    tags.set(name, made)
    return made
  }
  const inside = <T>(repository: string, work: (name: string) => T): T | undefined => {
    const name = known(repository)
    return name === undefined ? undefined : work(name)
  }
  return {
    blob: (repository, digest) => inside(repository, () => files.locate(digest)),
    manifest: (repository, digest): StoredManifest | undefined =>
      inside(repository, name => {
        const found = manifestsOf(name).get(digest)
        return found && { mediaType: found.mediaType, digest, bytes: found.raw }
      }),
    tag: (repository, tag) => inside(repository, name => tagsOf(name).get(tag)),
    tags: repository => inside(repository, name => [...tagsOf(name).keys()].sort()),
    referrers: (repository, subject) =>
      inside(repository, name =>
        [...manifestsOf(name).values()]
          .filter(manifest => manifest.subject?.digest === subject)
          .sort((a, b) => (a.digest < b.digest ? -1 : 1))
          .map(manifest => ({
            digest: manifest.digest,
            read: () => referrerOf(manifest, manifest.mediaType, manifest.raw.byteLength),
          })),
      ) ?? [],
    repositories: () => [...current().repositories.keys()].sort(),
  }
}

/**
 * Which repositories and tags the names of a layout are: `registry.example.com/team/app:1.0` is the tag 1.0 of team/app, or, where
 * another image has that already, of registry.example.com/team/app. An image that is the only one without any name is
 * `latest`.
 */
function sortNames(entries: readonly IndexEntry[], files: Files): ReadonlyMap<string, Repository> {
  const repositories = new Map<string, Repository>()
  const at = (name: string): Repository => {
    const found = repositories.get(name) ?? { tags: new Map(), entries: [] }
    repositories.set(name, found)
    return found
  }
  const { repository: own } = files
  const nameless: IndexEntry[] = []
  for (const entry of entries) {
    if (isReferrersTag(entry.name)) continue
    if (entry.name === undefined) {
      // What has a subject is where that is.
      if (!read(files, entry.descriptor.digest, entry.descriptor.mediaType)?.subject) nameless.push(entry)
      continue
    }
    const { digest } = entry.descriptor
    const { names, tag } = meaning(entry.name, own)
    const free = names
      .filter(isRepository)
      .find(name => [undefined, digest].includes(repositories.get(name)?.tags.get(tag)))
    if (free === undefined) continue
    at(free).tags.set(tag, digest)
    at(free).entries.push(entry)
  }
  if (nameless.length > 0) {
    const { tags, entries: list } = at(own)
    list.push(...nameless)
    const [only] = nameless
    if (nameless.length === 1 && !tags.has('latest')) tags.set('latest', only!.descriptor.digest)
  }
  return repositories
}

/** The repositories that a name could go to, best first. */
function meaning(name: string, own: string): { readonly names: readonly string[]; readonly tag: string } {
  if (!/[/:]/.test(name) && isTag(name)) return { names: [own], tag: name }
  try {
    const { registry, repository, tag = 'latest' } = parseReference(name)
    return { names: [repository, `${registry.replace(/:\d+$/, '')}/${repository}`], tag }
  } catch (error) {
    if (isArchimageError(error)) return { names: [], tag: '' }
    throw error
  }
}

/** All manifests that the entries of a repository lead to, and what has one of them as its subject. */
function reach(files: Files, { entries }: Repository, index: IndexFile): ReadonlyMap<Digest, Manifest> {
  const found = new Map<Digest, Manifest>()
  const queue: { readonly digest: Digest; readonly mediaType: string }[] = entries.map(({ descriptor }) => descriptor)
  const walk = (): void => {
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (found.has(next.digest)) continue
      const manifest = read(files, next.digest, next.mediaType)
      if (manifest === undefined) continue
      found.set(next.digest, manifest)
      if (manifest.kind === 'index') queue.push(...manifest.manifests)
    }
  }
  walk()
  const others = index.entries.filter(({ name }) => name === undefined || isReferrersTag(name))
  for (let before = -1; before !== found.size; ) {
    before = found.size
    for (const { name, descriptor } of others) {
      if (found.has(descriptor.digest)) continue
      const [, algorithm, hex] = /^(sha256|sha512)-([0-9a-f]+)/.exec(name ?? '') ?? []
      const subject =
        hex === undefined
          ? read(files, descriptor.digest, descriptor.mediaType)?.subject?.digest
          : `${algorithm}:${hex}`
      if (subject !== undefined && found.has(subject as Digest)) queue.push(descriptor)
    }
    walk()
  }
  return found
}

/** Undefined for what is not there (in a sparse index), or is no manifest, or damaged. */
function read(files: Files, digest: Digest, mediaType: string): Manifest | undefined {
  const blob = files.locate(digest)
  if (blob === undefined || blob.size > MAX_JSON) return undefined
  try {
    const bytes = 'bytes' in blob ? blob.bytes : readPart(blob.path, blob.start ?? 0, blob.size)
    if (digestLike(digest, bytes) !== digest) return undefined
    return parseManifest(bytes, mediaType, `${files.place}: ${digest}`, digest)
  } catch (error) {
    if (isArchimageError(error)) return undefined
    throw error
  }
}

function readPart(path: string, start: number, size: number): Buffer {
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.allocUnsafeSlow(size)
    return bytes.subarray(0, fileExtent(fd, start, size).read(bytes, 0))
  } finally {
    closeSync(fd)
  }
}

/** What a file or folder is called, as the name of a repository. */
function repositoryOf(path: string): string {
  const name = basename(resolve(path))
    .toLowerCase()
    .replace(/(?:\.(?:oci|docker|tar|tgz|gz|zst|zstd|xz|bz2))+$/, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return isRepository(name) ? name : 'image'
}
