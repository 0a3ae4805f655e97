import { randomBytes } from 'node:crypto'
import { copyFileSync, linkSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { algorithmOf, type Digest, hexOf, isDigest } from '../../oci/digest.ts'
import { makeDirsInside } from '../../sys/files.ts'
import { lockFile } from '../../sys/locks.ts'
import { isMissing, listFolder, listFolders, readFile, removeIfThere, statFile, touch } from './absence.ts'
import type { StorageReader, StoredBlob, StoredManifest, StoredReferrer } from './storage-reader.ts'
import { tagFile, tagOf } from './tag-file.ts'

/** Milliseconds; whoever holds the lock holds it for moments only. */
const LOCK_WAIT = 10_000

/**
 * What a registry keeps in its directory:
 *
 *     blobs/ALG/HEX                                one copy of each blob
 *     repositories/NAME/_blobs/ALG/HEX             the same file (a hard link) for each repository that has it
 *     repositories/NAME/_manifests/ALG/HEX         media type, a line feed, the manifest's bytes
 *     repositories/NAME/_tags/TAG                  a digest
 *     repositories/NAME/_referrers/ALG/HEX/ALG-HEX the descriptor of a manifest whose subject is ALG:HEX
 *     uploads/                                     what is being written
 *     lock                                         held while content becomes needed, or is found not to be
 *
 * Files appear by rename or link when they are whole, so a kill at any moment leaves nothing half-written, and two
 * processes may serve one directory. There is no state in memory. A file's time says when it was last needed.
 */
export class Storage implements StorageReader {
  readonly dir: string
  readonly uploads: string

  constructor(dir: string) {
    this.dir = dir
    this.uploads = join(dir, 'uploads')
  }

  blob(repository: string, digest: Digest): StoredBlob | undefined {
    const path = this.#blobLink(repository, digest)
    const size = statFile(path)?.size
    return size === undefined ? undefined : { path, size }
  }

  /** A blob that somebody is about to rely on: garbage collection spares it from now on for its delay. */
  keepBlob(repository: string, digest: Digest): StoredBlob | undefined {
    return touch(this.#blobLink(repository, digest)) ? this.blob(repository, digest) : undefined
  }

  /** Takes a finished file, whose digest the caller has checked, out of `uploads`. */
  addBlob(repository: string, digest: Digest, file: string): void {
    const link = this.#blobLink(repository, digest)
    const shared = this.#blobFile(digest)
    this.#makeFolder(link)
    this.steady(() => {
      const size = statSync(file).size
      // A file of another size was cut by a power failure: what just arrived replaces it.
      if (statFile(shared)?.size === size && this.#link(shared, link)) rmSync(file, { force: true })
      else {
        renameSync(file, link)
        this.#makeFolder(shared)
        this.#link(link, shared, false)
      }
      touch(link)
    })
  }

  /** Makes a blob of another repository (without `from`: of any) one of `repository`. False when there is none. */
  mountBlob(repository: string, digest: Digest, from: string | undefined): boolean {
    const source = from === undefined ? this.#blobFile(digest) : this.#blobLink(from, digest)
    const link = this.#blobLink(repository, digest)
    return this.steady(() => {
      if (!touch(source)) return false
      if (source === link) return true
      this.#makeFolder(link)
      return this.#link(source, link) && touch(link)
    })
  }

  deleteBlob(repository: string, digest: Digest): boolean {
    if (!removeIfThere(this.#blobLink(repository, digest))) return false
    const shared = this.#blobFile(digest)
    // The number of hard links counts the repositories that still have it.
    if (statFile(shared)?.nlink === 1) rmSync(shared, { force: true })
    return true
  }

  manifest(repository: string, digest: Digest): StoredManifest | undefined {
    const file = readFile(this.#manifestFile(repository, digest))
    const end = file?.indexOf(10) ?? -1
    if (file === undefined || end < 0) return undefined
    return { mediaType: file.toString('latin1', 0, end), digest, bytes: file.subarray(end + 1) }
  }

  /** Whether there is such a manifest, which somebody is about to rely on: as keepBlob. */
  keepManifest(repository: string, digest: Digest): boolean {
    return touch(this.#manifestFile(repository, digest))
  }

  putManifest(repository: string, { mediaType, digest, bytes }: StoredManifest): void {
    this.#write(this.#manifestFile(repository, digest), Buffer.concat([Buffer.from(`${mediaType}\n`), bytes]))
  }

  /** Also takes away the tags that point to it. */
  deleteManifest(repository: string, digest: Digest): boolean {
    if (!removeIfThere(this.#manifestFile(repository, digest))) return false
    for (const tag of this.tags(repository) ?? [])
      if (this.tag(repository, tag) === digest) this.deleteTag(repository, tag)
    return true
  }

  tag(repository: string, tag: string): Digest | undefined {
    const text = readFile(this.#path(repository, '_tags', tagFile(tag)))?.toString('latin1')
    return isDigest(text) ? text : undefined
  }

  putTag(repository: string, tag: string, digest: Digest): void {
    const former = this.tag(repository, tag)
    this.#write(this.#path(repository, '_tags', tagFile(tag)), digest)
    if (former !== undefined && former !== digest) this.keepManifest(repository, former)
  }

  deleteTag(repository: string, tag: string): boolean {
    const former = this.tag(repository, tag)
    if (!removeIfThere(this.#path(repository, '_tags', tagFile(tag)))) return false
    // The time of a manifest without a tag begins when it lost the last one.
    if (former !== undefined) this.keepManifest(repository, former)
    return true
  }

  tags(repository: string): readonly string[] | undefined {
    const names = listFolder(this.#path(repository, '_tags'))
    if (names) return names.flatMap(name => tagOf(name) ?? []).sort()
    return isRepositoryDir(listFolder(this.#path(repository)) ?? []) ? [] : undefined
  }

  /** Remembers that the manifest `from` has `subject`; `descriptor` is what the referrers API shows of it. */
  putReferrer(repository: string, subject: Digest, from: Digest, descriptor: object): void {
    this.#write(this.#referrerFile(repository, subject, from), JSON.stringify(descriptor))
  }

  deleteReferrer(repository: string, subject: Digest, from: Digest): void {
    removeIfThere(this.#referrerFile(repository, subject, from))
  }

  referrers(repository: string, subject: Digest): readonly StoredReferrer[] {
    const dir = this.#path(repository, '_referrers', algorithmOf(subject), hexOf(subject))
    return (listFolder(dir) ?? [])
      .sort()
      .map(name => ({ name, digest: name.replace('-', ':') }))
      .filter((entry): entry is { name: string; digest: Digest } => isDigest(entry.digest))
      .filter(({ digest }) => statFile(this.#manifestFile(repository, digest)) !== undefined)
      .map(({ name, digest }) => ({ digest, read: () => json(readFile(join(dir, name))) }))
  }

  repositories(): readonly string[] {
    const found: string[] = []
    const walk = (name: string): void => {
      const entries = listFolders(join(this.dir, 'repositories', name))
      if (isRepositoryDir(entries)) found.push(name)
      for (const entry of entries) if (!entry.startsWith('_')) walk(name === '' ? entry : `${name}/${entry}`)
    }
    walk('')
    return found.sort()
  }

  /** What a repository has of a kind, whether needed or not, with the files: for garbage collection. */
  content(repository: string, kind: 'blobs' | 'manifests'): { readonly digest: Digest; readonly path: string }[] {
    return listDigests(this.#path(repository, `_${kind}`))
  }

  /** The files of all blobs, whether a repository has them or not. */
  allBlobs(): { readonly digest: Digest; readonly path: string }[] {
    return listDigests(join(this.dir, 'blobs'))
  }

  /** The files that remember referrers, with the digests of the manifests that they speak of. */
  allReferrers(repository: string): { readonly from: Digest; readonly path: string }[] {
    return listDigests(this.#path(repository, '_referrers')).flatMap(({ path }) =>
      (listFolder(path) ?? []).flatMap(name => {
        const from = name.replace('-', ':')
        return isDigest(from) ? [{ from, path: join(path, name) }] : []
      }),
    )
  }

  /** While `work` runs, no collector in any process decides that something is not needed. Must not be nested. */
  steady<T>(work: () => T): T {
    return this.#locked('shared', work)
  }

  /** While `work` runs, nothing becomes needed in any process. */
  alone<T>(work: () => T): T {
    return this.#locked('exclusive', work)
  }

  #locked<T>(mode: 'shared' | 'exclusive', work: () => T): T {
    const lock = lockFile(join(this.dir, 'lock'), mode, LOCK_WAIT)
    if (lock === undefined) throw new Error(`${join(this.dir, 'lock')} is held by a process that does not go on`)
    try {
      return work()
    } finally {
      lock.release()
    }
  }

  #path(repository: string, ...rest: readonly string[]): string {
    return join(this.dir, 'repositories', repository, ...rest)
  }

  #blobFile(digest: Digest): string {
    return join(this.dir, 'blobs', algorithmOf(digest), hexOf(digest))
  }

  #blobLink(repository: string, digest: Digest): string {
    return this.#path(repository, '_blobs', algorithmOf(digest), hexOf(digest))
  }

  #manifestFile(repository: string, digest: Digest): string {
    return this.#path(repository, '_manifests', algorithmOf(digest), hexOf(digest))
  }

  #referrerFile(repository: string, subject: Digest, from: Digest): string {
    const name = `${algorithmOf(from)}-${hexOf(from)}`
    return this.#path(repository, '_referrers', algorithmOf(subject), hexOf(subject), name)
  }

  #write(path: string, data: Uint8Array | string): void {
    const temp = this.#temp()
    writeFileSync(temp, data)
    this.#makeFolder(path)
    renameSync(temp, path)
  }

  /** The folder of a file; never through a link that somebody planted. */
  #makeFolder(file: string): void {
    makeDirsInside(this.dir, dirname(file))
  }

  #temp(): string {
    return join(this.uploads, `new-${randomBytes(12).toString('hex')}`)
  }

  /** A second name for a file; where the file system has no hard links, or no more of them, a copy if that is wanted. */
  #link(from: string, to: string, copy = true): boolean {
    const temp = this.#temp()
    try {
      linkSync(from, temp)
    } catch (error) {
      if (isMissing(error) || !copy) return false
      copyFileSync(from, temp)
    }
    renameSync(temp, to)
    // rename(2) between two names of one file does nothing and leaves both.
    rmSync(temp, { force: true })
    return true
  }
}

function isRepositoryDir(entries: readonly string[]): boolean {
  return entries.includes('_manifests') || entries.includes('_blobs')
}

/** The entries of a folder ALG/HEX. */
function listDigests(dir: string): { readonly digest: Digest; readonly path: string }[] {
  return (listFolder(dir) ?? []).flatMap(algorithm =>
    (listFolder(join(dir, algorithm)) ?? []).flatMap(hex => {
      const digest = `${algorithm}:${hex}`
      return isDigest(digest) ? [{ digest, path: join(dir, algorithm, hex) }] : []
    }),
  )
}

function json(bytes: Buffer | undefined): object | undefined {
  try {
    return bytes && JSON.parse(bytes.toString())
  } catch {
    return undefined
  }
}
