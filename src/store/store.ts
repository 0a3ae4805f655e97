import { closeSync, fstatSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import { type Descriptor, type Manifest, parseManifest } from '../oci/manifest.ts'
import { hashHex } from '../sys/hash.ts'
import { type Lock, lockFile } from '../sys/locks.ts'
import { listFiles } from './binaries.ts'
import { blobPath, blobSize, markUsed, openBlobFile, readBlob, streamBlob } from './blobs.ts'
import { type Environment, NAMES, prepareHome, storeHome } from './home.ts'
import { type Image, listImages, removeImage } from './images.ts'
import { storeLimit } from './limit.ts'
import { collect, type Parts, type Pruned, type PruneOptions, prune, type Usage, usage } from './prune.ts'
import { Records } from './records.ts'
import { type Naming, Refs } from './refs.ts'
import {
  type Extent,
  findSnapshot,
  keepSnapshot,
  removeTemporary,
  scratchDirectory,
  snapshotPath,
  weighSnapshot,
} from './snapshots.ts'
import type { BlobFile, BlobWriter, Origin, Ref } from './types.ts'
import { FileWriter } from './writer.ts'

export interface StoreOptions {
  /** The directory; else what the environment says (see storeHome). */
  readonly home?: string
  readonly env?: Environment
  /** Gets what costs speed and nothing else; the default says it on stderr. */
  readonly warn?: (message: string) => void
}

/**
 * Opens the store, making it when there is none. From here to `close` this process has a lease: no other process collects
 * garbage. Throws STORE_OWNER, STORE_BROKEN, STORE_BUSY, PERMISSION, NO_SPACE,
 * USAGE for a limit that is no size.
 */
export function openStore(options: StoreOptions = {}): Store {
  const root = options.home ?? storeHome(options.env)
  prepareHome(root)
  return new Store(root, options.warn ?? (message => console.error(`warning: ${message}`)), storeLimit(options.env))
}

/** Content by digest, names, records (DESIGN §5). An OCI image layout that other tools may read in place. */
export class Store {
  readonly root: string
  readonly records: Records
  /** Bytes that it is to keep beside its images, if that is limited; see keepLimit. */
  readonly limit: number | undefined
  readonly #parts: Parts
  readonly #refs: Refs
  #lease: Lock | undefined
  #writing = 0

  constructor(root: string, warn: (message: string) => void, limit?: number) {
    this.root = root
    this.limit = limit
    this.records = new Records(root, warn)
    this.#refs = new Refs(root)
    this.#parts = { root, refs: this.#refs, records: this.records }
    this.#tidy()
    this.#lease = this.#share()
  }

  /** Where a blob lies, or would lie. */
  blobPath(digest: Digest): string {
    return blobPath(this.root, digest)
  }

  /** Whether the blob is there, and has this size when one is given. */
  has(digest: Digest, size?: number): boolean {
    const found = blobSize(this.root, digest)
    return found !== undefined && (size === undefined || size === found)
  }

  /** Size in bytes of a blob, undefined when it is not there. */
  size(digest: Digest): number | undefined {
    return blobSize(this.root, digest)
  }

  /** All of a blob, checked. Throws NOT_FOUND, DIGEST_MISMATCH; MANIFEST_INVALID beyond `limit` bytes (8 MiB). */
  read(digest: Digest, limit = MAX_JSON): Buffer {
    return readBlob(this.root, digest, limit)
  }

  /** A manifest or index with its raw bytes, checked. `mediaType` is what named it, for documents that do not say it. */
  manifest(digest: Digest, mediaType?: string): Manifest {
    return parseManifest(this.read(digest), mediaType, `manifest ${digest}`, digest)
  }

  /** A blob as a stream from byte `start`; the last bytes come only when the whole is right (DIGEST_MISMATCH). */
  open(descriptor: Pick<Descriptor, 'digest' | 'size'>, options: { readonly start?: number } = {}) {
    return streamBlob(this.root, descriptor, options.start)
  }

  /** For reading anywhere in a blob, unchecked. Throws NOT_FOUND. */
  openFile(digest: Digest): BlobFile {
    return openBlobFile(this.root, digest)
  }

  /** Keeps `bytes`, unless they are there. Throws NO_SPACE, PERMISSION. */
  put(bytes: Uint8Array, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
    const digest = `${algorithm}:${hashHex(algorithm, bytes)}` as Digest
    if (this.has(digest, bytes.length)) return digest
    const writer = this.create(algorithm)
    writer.write(bytes)
    return writer.commit().digest
  }

  /**
   * A blob that is written bit by bit. The caller ends it, by `commit` or `abort`. `known`: the caller checks that the bytes have
   * this digest, and they are not hashed again.
   */
  create(algorithm: 'sha256' | 'sha512' = 'sha256', known?: Digest): BlobWriter {
    return this.#writer(digest => blobPath(this.root, digest), algorithm, known)
  }

  /** Path of the uncompressed tar of a layer, if there is one. */
  tar(diffId: Digest): string | undefined {
    const path = this.tarPath(diffId)
    try {
      const fd = openSync(path, 'r')
      markUsed(fd, fstatSync(fd))
      closeSync(fd)
      return path
    } catch {
      return undefined
    }
  }

  /** Writes the uncompressed tar of a layer; its digest is the diff ID. Tars are the first thing that pruning takes. */
  createTar(): BlobWriter {
    return this.#writer(digest => this.tarPath(digest), 'sha256')
  }

  /** The real directory that was kept under `key` (a snapshot), if there is one. */
  snapshot(key: string): string | undefined {
    return findSnapshot(this.root, key)
  }

  /** Where a snapshot is, or would be. */
  snapshotPath(key: string): string {
    return snapshotPath(this.root, key)
  }

  /** An empty directory of one's own on the file system of the snapshots; what is left of it goes when the store is next opened alone. */
  scratch(): string {
    return scratchDirectory(this.root)
  }

  /**
   * Keeps `dir`, made below `scratch()`, under `key` and says where it is now: it appears whole, by rename. When another process was first, its
   * directory counts and `dir` is gone.
   */
  keep(key: string, dir: string, extent: Extent): string {
    return keepSnapshot(this.root, key, dir, extent)
  }

  /** Says anew what a snapshot takes on the disk. */
  weigh(key: string, bytes: number): void {
    weighSnapshot(this.root, key, bytes)
  }

  /** A file for ssh: the keys of hosts that were met here. */
  knownHosts(): string {
    return join(this.root, NAMES.knownHosts)
  }

  refs(): Ref[] {
    return this.#refs.all()
  }

  /** By whole reference, or what it stands for: `nginx` finds `docker.io/library/nginx:latest`. */
  ref(name: string): Ref | undefined {
    return this.#refs.get(name)
  }

  /** Names a manifest that is in the store. Throws NOT_FOUND when it is not, REFERENCE_INVALID. */
  tag(name: string, descriptor: Descriptor, origin: Origin): void {
    this.tagAll([{ name, descriptor, origin }])
  }

  /** All names at once: other processes see none of them or all. */
  tagAll(list: readonly Naming[]): void {
    for (const { name, descriptor } of list)
      if (!this.has(descriptor.digest, descriptor.size))
        throw new ArchimageError(
          'NOT_FOUND',
          `${name} cannot be named: manifest ${descriptor.digest} is not in the store`,
          {
            hint: 'build or pull it again',
          },
        )
    this.#refs.set(list)
  }

  /** Takes a name away; the content stays until garbage collection. False when there was no such name. */
  untag(name: string): boolean {
    return this.#refs.unset([name]).length > 0
  }

  /** For `archimage ls`. */
  list(): Image[] {
    return listImages(this.#parts)
  }

  /** For `archimage rm`: a name, or the beginning of a digest. Throws NOT_FOUND with a suggestion, USAGE. */
  remove(what: string): Ref[] {
    return removeImage(this.#parts, what)
  }

  /** Removes blobs that no name and no record keeps, leavings of killed processes, tars and snapshots not used for a week. Throws STORE_BUSY. */
  gc(options: { readonly dryRun?: boolean; readonly wait?: number } = {}): Pruned {
    if (options.dryRun) return collect(this.#parts, true)
    return this.#alone(options.wait, () => collect(this.#parts))
  }

  /** Forgets part of the cache and removes what is then unused (see PruneOptions). Throws STORE_BUSY. */
  prune(options: PruneOptions = {}): Pruned {
    if (options.dryRun) return prune(this.#parts, options)
    return this.#alone(options.wait, () => prune(this.#parts, options))
  }

  /** What lies in the store and what of it could go, for `cache du`. */
  usage(): Usage {
    return usage(this.#parts)
  }

  /** Writes pending records and gives the lease back. */
  close(): void {
    this.records.close()
    this.#lease?.release()
    this.#lease = undefined
  }

  [Symbol.dispose](): void {
    this.close()
  }

  tarPath(diffId: Digest): string {
    return join(this.root, NAMES.tars, algorithmOf(diffId), hexOf(diffId))
  }

  #writer(place: (digest: Digest) => string, algorithm: 'sha256' | 'sha512', known?: Digest): BlobWriter {
    this.#writing++
    return new FileWriter(this.root, place, algorithm, () => this.#writing--, known)
  }

  /** When nobody else is here, temporary files are those of killed processes. */
  #tidy(): void {
    const lock = lockFile(join(this.root, NAMES.lease), 'exclusive')
    for (const { path } of lock === undefined ? [] : listFiles(join(this.root, NAMES.tmp))) removeTemporary(path)
    lock?.release()
  }

  #share(): Lock {
    return lockFile(join(this.root, NAMES.lease), 'shared', 60_000) ?? this.#busy()
  }

  #alone<T>(wait = 5000, work: () => T): T {
    if (this.#writing > 0) return this.#busy()
    this.records.flush()
    this.#lease?.release()
    const lock = lockFile(join(this.root, NAMES.lease), 'exclusive', wait)
    try {
      return lock === undefined ? this.#busy() : work()
    } finally {
      lock?.release()
      this.#lease = this.#share()
    }
  }

  #busy(): never {
    throw new ArchimageError('STORE_BUSY', `another run of archimage is using the store ${this.root}`, {
      hint: 'wait until it has ended and try again; fuser -v on its file "lock" shows which process it is',
    })
  }
}
