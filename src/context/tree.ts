import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
} from 'node:fs'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { readXattrs } from '../sys/ffi.ts'
import { createHasher, hashHex } from '../sys/hash.ts'
import { comparePaths, decodePath, fsPath } from '../tar/path-bytes.ts'
import { type FileStamp, type HashMemory, HashTable } from './hash-memory.ts'

/** One entry of a context, as it was when it was first looked at in this run. Owners are always 0, as in BuildKit. */
export interface ContextEntry {
  /** `other`: sockets. */
  readonly type: 'file' | 'dir' | 'symlink' | 'fifo' | 'char' | 'block' | 'other'
  /** Permission bits, 07777. */
  readonly mode: number
  readonly uid: 0
  readonly gid: 0
  /** Bytes; 0 for everything but files. */
  readonly size: number
  /** Whole seconds since 1970, may be negative. */
  readonly mtime: number
  /** Of devices. */
  readonly major?: number | undefined
  readonly minor?: number | undefined
  /** Target of a symbolic link, as it stands there. Read when it is asked for. */
  readonly link?: string | undefined
  /** The same for all names of one file that has several. */
  readonly inode?: string | undefined
  /** `security.capability` and `user.*`, values in base64. Read when they are asked for. */
  readonly xattrs?: Readonly<Record<string, string>> | undefined
}

/** Times this near to the moment of hashing may hide a later change. */
const RACY = 2000
const CHUNK = 256 * 1024
let chunk: Buffer | undefined

/** The name of a file for messages: without bytes that are no text. */
const shown = (path: string): string => path.replace(/[\p{Cc}\ud800-\udfff]/gu, '?')

const TYPES = new Map<number | undefined, ContextEntry['type']>([
  [constants.S_IFREG, 'file'],
  [constants.S_IFDIR, 'dir'],
  [constants.S_IFLNK, 'symlink'],
  [constants.S_IFIFO, 'fifo'],
  [constants.S_IFCHR, 'char'],
  [constants.S_IFBLK, 'block'],
])

export class TreeEntry implements ContextEntry {
  readonly type: ContextEntry['type']
  readonly mode: number
  readonly size: number
  readonly mtime: number
  readonly stamp: FileStamp
  readonly #tree: Tree
  readonly #path: string
  readonly #names: number
  readonly #device: number

  constructor(tree: Tree, path: string, stat: Stats) {
    const kind = stat.mode & constants.S_IFMT
    this.#tree = tree
    this.#path = path
    this.#names = stat.nlink
    this.#device = stat.rdev
    this.type = TYPES.get(kind) ?? 'other'
    // Windows has no modes: everything can be executed there, as with BuildKit (fsutil, mkstat).
    const mode = stat.mode & 0o7777
    this.mode = this.type === 'symlink' ? 0o777 : process.platform === 'win32' ? (mode | 0o111) & 0o755 : mode
    this.size = this.type === 'file' ? stat.size : 0
    this.mtime = Math.floor(stat.mtimeMs / 1000)
    this.stamp = { ino: stat.ino, size: stat.size, mtimeMs: stat.mtimeMs, ctimeMs: stat.ctimeMs, mode: stat.mode }
  }

  get uid(): 0 {
    return 0
  }

  get gid(): 0 {
    return 0
  }

  get link(): string | undefined {
    return this.type === 'symlink' ? this.#tree.readLink(this.#path) : undefined
  }

  get inode(): string | undefined {
    return this.type === 'file' && this.#names > 1 ? this.#tree.inode(this.#path) : undefined
  }

  /** As Linux packs a device number into rdev: 12 bits of major, 20 of minor. */
  get major(): number | undefined {
    return this.#isDevice ? (this.#device >>> 8) & 0xfff : undefined
  }

  get minor(): number | undefined {
    return this.#isDevice ? (this.#device & 0xff) | ((this.#device >>> 12) & 0xfff00) : undefined
  }

  get #isDevice(): boolean {
    return this.type === 'char' || this.type === 'block'
  }

  get xattrs(): Readonly<Record<string, string>> | undefined {
    return this.type === 'other' ? undefined : this.#tree.xattrs(this.#path, this)
  }
}

/**
 * The files below one folder, read when they are asked for and then kept: one snapshot per run, whatever is ignored by
 * whom. Links are entries, never followed. Paths are relative to the root, "" is the root itself.
 */
export class Tree {
  readonly root: string
  readonly #entries = new Map<string, TreeEntry | undefined>()
  readonly #names = new Map<string, readonly string[]>()
  readonly #hashes: HashTable
  readonly #digests = new Map<string, Digest>()

  constructor(root: string, memory: HashMemory) {
    this.root = root
    this.#hashes = new HashTable(memory, root)
  }

  absolute(path: string): string {
    return path === '' ? this.root : this.root.endsWith('/') ? this.root + path : `${this.root}/${path}`
  }

  entry(path: string): TreeEntry | undefined {
    const known = this.#entries.get(path)
    if (known !== undefined || this.#entries.has(path)) return known
    let entry: TreeEntry | undefined
    const slash = path.lastIndexOf('/')
    if (path === '' || this.entry(slash < 0 ? '' : path.slice(0, slash))?.type === 'dir') {
      try {
        entry = new TreeEntry(this, path, lstatSync(fsPath(this.absolute(path))))
      } catch (error) {
        this.#absent(path, error)
      }
    }
    this.#entries.set(path, entry)
    return entry
  }

  /** The names in a directory, in the order of their bytes. */
  names(path: string): readonly string[] {
    const known = this.#names.get(path)
    if (known !== undefined) return known
    const folder = fsPath(this.absolute(path))
    let names = this.#call(path, () => readdirSync(folder)) ?? []
    // Names that are not UTF-8 come with replacement characters: then the bytes are needed.
    if (names.some(name => name.includes('\ufffd')))
      names = (this.#call(path, () => readdirSync(folder, { encoding: 'buffer' })) ?? []).map(name => decodePath(name))
    const sorted = names.some(name => /[\ud800-\uffff]/.test(name)) ? names.sort(comparePaths) : names.sort()
    this.#names.set(path, sorted)
    return sorted
  }

  readLink(path: string): string {
    const bytes = this.#call(path, () => readlinkSync(fsPath(this.absolute(path)), { encoding: 'buffer' }))
    if (bytes === undefined) throw this.#changed(path)
    return decodePath(bytes)
  }

  inode(path: string): string | undefined {
    const stat = this.#call(path, () => lstatSync(fsPath(this.absolute(path)), { bigint: true, throwIfNoEntry: false }))
    return stat && `${stat.dev}:${stat.ino}`
  }

  xattrs(path: string, entry: TreeEntry): Readonly<Record<string, string>> | undefined {
    const { stamp } = entry
    const remembered = entry.type === 'file' ? this.#hashes.get(path, stamp) : undefined
    if (remembered?.xattrs === false) return undefined
    const found = readXattrs(fsPath(this.absolute(path)))
    // A change of attributes moves ctime.
    if (remembered !== undefined && remembered.xattrs !== (found !== undefined) && !racy(stamp, Date.now()))
      this.#hashes.set(path, stamp, { digest: remembered.digest, xattrs: found !== undefined })
    if (found === undefined) return undefined
    const names = Object.keys(found).sort()
    return Object.fromEntries(names.map(name => [name, Buffer.from(found[name]!).toString('base64')]))
  }

  /** sha256 of a file's bytes: remembered, or read now. Throws CONTEXT_CHANGED when the file changes meanwhile. */
  digest(path: string, entry: TreeEntry): Digest {
    const remembered = this.#digests.get(path) ?? this.#hashes.get(path, entry.stamp)?.digest
    if (remembered !== undefined) return remembered
    const started = Date.now()
    const digest = this.#hash(path, entry.stamp)
    if (!racy(entry.stamp, started)) this.#hashes.set(path, entry.stamp, { digest })
    else this.#digests.set(path, digest)
    return digest
  }

  #hash(path: string, stamp: FileStamp): Digest {
    chunk ??= Buffer.allocUnsafe(CHUNK)
    const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)
    const fd = this.#call(path, () => openSync(fsPath(this.absolute(path)), flags))
    if (fd === undefined) throw this.#changed(path)
    try {
      let length = readSync(fd, chunk, 0, CHUNK, null)
      let hex: string
      if (length < CHUNK && length === stamp.size) hex = hashHex('sha256', chunk.subarray(0, length))
      else {
        const hasher = createHasher()
        for (; length > 0; length = readSync(fd, chunk, 0, CHUNK, null)) hasher.update(chunk.subarray(0, length))
        hex = hasher.hex()
      }
      // Asked after reading: the bytes belong to the entry as it was looked at.
      const now = fstatSync(fd)
      const same =
        now.ino === stamp.ino &&
        now.size === stamp.size &&
        now.mtimeMs === stamp.mtimeMs &&
        now.ctimeMs === stamp.ctimeMs &&
        now.mode === stamp.mode
      if (!same) throw this.#changed(path)
      return `sha256:${hex}`
    } catch (error) {
      throw systemError(error, `reading ${shown(path)}`)
    } finally {
      closeSync(fd)
    }
  }

  save(): void {
    this.#hashes.save()
  }

  #changed(path: string): ArchimageError {
    return new ArchimageError('CONTEXT_CHANGED', `${shown(path)} changed while it was being read`, {
      hint: 'run the build again when nothing writes to the context any more',
      place: { file: shown(this.absolute(path)) },
    })
  }

  /** The result of `work`, undefined when the path is not there. */
  #call<T>(path: string, work: () => T): T | undefined {
    try {
      return work()
    } catch (error) {
      return this.#absent(path, error)
    }
  }

  /** Returns for a path that is not there; throws CONTEXT_INVALID or a system error for what cannot be read. */
  #absent(path: string, error: unknown): undefined {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return undefined
    if (code === 'ELOOP') throw this.#changed(path)
    if (code === 'ENXIO' || code === 'EIO')
      throw new ArchimageError('CONTEXT_INVALID', `${shown(path)} cannot be read: ${code}`, { cause: error })
    throw systemError(error, `reading ${shown(this.absolute(path))}`)
  }
}

function racy(stamp: FileStamp, moment: number): boolean {
  return Math.abs(moment - stamp.mtimeMs) < RACY || Math.abs(moment - stamp.ctimeMs) < RACY
}
