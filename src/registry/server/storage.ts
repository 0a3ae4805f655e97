import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { algorithmOf, type Digest, hexOf, isDigest } from '../../oci/digest.ts'
import { tagFile, tagOf } from './tag-file.ts'

export interface StoredManifest {
  readonly mediaType: string
  readonly digest: Digest
  readonly bytes: Uint8Array
}

/**
 * What a registry keeps in its directory:
 *
 *     blobs/ALG/HEX                                one copy of each blob
 *     repositories/NAME/_blobs/ALG/HEX             the same file (a hard link) for each repository that has it
 *     repositories/NAME/_manifests/ALG/HEX         media type, a line feed, the manifest's bytes
 *     repositories/NAME/_tags/TAG                  a digest
 *     repositories/NAME/_referrers/ALG/HEX/ALG-HEX the descriptor of a manifest whose subject is ALG:HEX
 *     uploads/                                     what is being written
 *
 * Files appear by rename or link when they are whole, so a kill at any moment leaves nothing half-written, and two
 * processes may serve one directory. There is no state in memory.
 */
export class Storage {
  readonly dir: string
  readonly uploads: string

  constructor(dir: string) {
    this.dir = dir
    this.uploads = join(dir, 'uploads')
  }

  /** The path and size of a blob that `repository` has. */
  blob(repository: string, digest: Digest): { readonly path: string; readonly size: number } | undefined {
    const path = this.#blobLink(repository, digest)
    const stat = statSync(path, { throwIfNoEntry: false })
    return stat?.isFile() ? { path, size: stat.size } : undefined
  }

  /** Takes a finished file, whose digest the caller has checked, out of `uploads`. */
  addBlob(repository: string, digest: Digest, file: string): void {
    const link = this.#blobLink(repository, digest)
    const shared = this.#blobFile(digest)
    mkdirSync(dirname(link), { recursive: true })
    const size = statSync(file).size
    // A file of another size was cut by a power failure: what just arrived replaces it.
    if (statSync(shared, { throwIfNoEntry: false })?.size === size && this.#link(shared, link)) {
      rmSync(file, { force: true })
      return
    }
    renameSync(file, link)
    mkdirSync(dirname(shared), { recursive: true })
    this.#link(link, shared, false)
  }

  /** Makes a blob of another repository (without `from`: of any) one of `repository`. False when there is none. */
  mountBlob(repository: string, digest: Digest, from: string | undefined): boolean {
    const source = from === undefined ? this.#blobFile(digest) : this.#blobLink(from, digest)
    const link = this.#blobLink(repository, digest)
    if (source === link) return this.blob(repository, digest) !== undefined
    if (!statSync(source, { throwIfNoEntry: false })?.isFile()) return false
    mkdirSync(dirname(link), { recursive: true })
    return this.#link(source, link)
  }

  deleteBlob(repository: string, digest: Digest): boolean {
    if (!remove(this.#blobLink(repository, digest))) return false
    const shared = this.#blobFile(digest)
    // The number of hard links counts the repositories that still have it.
    if (statSync(shared, { throwIfNoEntry: false })?.nlink === 1) rmSync(shared, { force: true })
    return true
  }

  hasManifest(repository: string, digest: Digest): boolean {
    return statSync(this.#manifestFile(repository, digest), { throwIfNoEntry: false }) !== undefined
  }

  manifest(repository: string, digest: Digest): StoredManifest | undefined {
    const file = read(this.#manifestFile(repository, digest))
    const end = file?.indexOf(10) ?? -1
    if (file === undefined || end < 0) return undefined
    return { mediaType: file.toString('latin1', 0, end), digest, bytes: file.subarray(end + 1) }
  }

  putManifest(repository: string, { mediaType, digest, bytes }: StoredManifest): void {
    this.#write(this.#manifestFile(repository, digest), Buffer.concat([Buffer.from(`${mediaType}\n`), bytes]))
  }

  /** Also takes away the tags that point to it. */
  deleteManifest(repository: string, digest: Digest): boolean {
    if (!remove(this.#manifestFile(repository, digest))) return false
    for (const tag of this.tags(repository) ?? [])
      if (this.tag(repository, tag) === digest) this.deleteTag(repository, tag)
    return true
  }

  tag(repository: string, tag: string): Digest | undefined {
    const text = read(this.#path(repository, '_tags', tagFile(tag)))?.toString('latin1')
    return isDigest(text) ? text : undefined
  }

  putTag(repository: string, tag: string, digest: Digest): void {
    this.#write(this.#path(repository, '_tags', tagFile(tag)), digest)
  }

  deleteTag(repository: string, tag: string): boolean {
    return remove(this.#path(repository, '_tags', tagFile(tag)))
  }

  /** In ASCII order; undefined when there is no such repository. */
  tags(repository: string): readonly string[] | undefined {
    const names = list(this.#path(repository, '_tags'))
    if (names) return names.flatMap(name => tagOf(name) ?? []).sort()
    return isRepositoryDir(list(this.#path(repository)) ?? []) ? [] : undefined
  }

  /** Remembers that the manifest `from` has `subject`; `descriptor` is what the referrers API shows of it. */
  putReferrer(repository: string, subject: Digest, from: Digest, descriptor: object): void {
    this.#write(this.#referrerFile(repository, subject, from), JSON.stringify(descriptor))
  }

  deleteReferrer(repository: string, subject: Digest, from: Digest): void {
    remove(this.#referrerFile(repository, subject, from))
  }

  /** Digests in ASCII order, each with a function that reads its descriptor. */
  referrers(repository: string, subject: Digest): readonly { readonly digest: Digest; read(): object | undefined }[] {
    const dir = this.#path(repository, '_referrers', algorithmOf(subject), hexOf(subject))
    return (list(dir) ?? [])
      .sort()
      .map(name => ({ name, digest: name.replace('-', ':') }))
      .filter((entry): entry is { name: string; digest: Digest } => isDigest(entry.digest))
      .filter(({ digest }) => this.hasManifest(repository, digest))
      .map(({ name, digest }) => ({ digest, read: () => json(read(join(dir, name))) }))
  }

  /** The names of all repositories, in ASCII order. */
  repositories(): readonly string[] {
    const found: string[] = []
    const walk = (name: string): void => {
      const entries = list(join(this.dir, 'repositories', name)) ?? []
      if (isRepositoryDir(entries)) found.push(name)
      for (const entry of entries) if (!entry.startsWith('_')) walk(name === '' ? entry : `${name}/${entry}`)
    }
    walk('')
    return found.sort()
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
    mkdirSync(dirname(path), { recursive: true })
    renameSync(temp, path)
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

function isMissing(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === 'ENOENT' || code === 'ENOTDIR'
}

function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function list(path: string): string[] | undefined {
  try {
    return readdirSync(path)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function remove(path: string): boolean {
  try {
    rmSync(path)
    return true
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

function json(bytes: Buffer | undefined): object | undefined {
  try {
    return bytes && JSON.parse(bytes.toString())
  } catch {
    return undefined
  }
}
