import { setImmediate } from 'node:timers/promises'
import { ArchimageError, cancelled, systemError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import { HostFile } from '../layer/host-file.ts'
import type { FileBytes, LayerItem } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import {
  closeFd,
  createFileAt,
  linkAt,
  makeDirAt,
  makeNodeAt,
  openDirAt,
  setMode,
  setModeAt,
  setOwner,
  setOwnerAt,
  setTimesAt,
  setTimesFd,
  setXattr,
  setXattrAt,
  symlinkAt,
  writeFd,
} from '../sys/at.ts'
import { createHasher, hashHex } from '../sys/hash.ts'
import { fsPath } from '../tar/path-bytes.ts'
import { OpenDirectories } from './open-directories.ts'

export interface DirectoryOptions {
  /** Opaque directories are marked `user.overlay.opaque` instead of `trusted.overlay.opaque`. */
  readonly userxattr: boolean
  /** The layer whose uncompressed bytes come with `stream`; files of other layers come from `open`. */
  readonly layer?: { readonly diffId: Digest; readonly stream: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array> }
  readonly open: (entry: Entry) => FileBytes | Promise<FileBytes>
  readonly signal?: AbortSignal
  /** Told now and then how many bytes of files are written. */
  readonly progress?: (bytes: number) => void
}

export interface WrittenDirectory {
  /** On the disk, about. */
  readonly bytes: number
  readonly files: number
  /** Devices that only root of the machine may make; left out, as podman and BuildKit do in a user namespace. */
  readonly devices: number
  /** Attributes that could not be set here: `trusted.*` in a user namespace, any on a file system that has none. */
  readonly attributes: number
}

/** Milliseconds after which the event loop gets a turn. */
const TURN = 10
const BLOCK = 4096
/** Bytes of a file of this machine or of another layer that are read at once. */
const PIECE = 1 << 20

/**
 * Fills `root`, an empty directory, with `items` (parents first, every parent among them) as an overlay's directory has
 * them: whiteouts as character devices 0:0, opaque directories marked. Owners, modes, attributes, times and hard links are those of the entries; attributes of
 * overlays are dropped and devices 0:0 refused (TAR_INVALID), so that a layer can hide or redirect nothing. No link is ever followed: each directory is opened by
 * its name in the one above. Bytes are checked (DIGEST_MISMATCH, CONTEXT_CHANGED). Throws also PERMISSION, where an owner does not exist in the user
 * namespace, NO_SPACE, CANCELLED; what is written by then is the caller's to remove.
 */
export async function writeDirectory(
  root: string,
  items: readonly LayerItem[],
  options: DirectoryOptions,
): Promise<WrittenDirectory> {
  const writer = new DirectoryWriter(root, options)
  try {
    return await writer.write(items)
  } finally {
    writer.close()
  }
}

interface FileItem {
  readonly path: string
  readonly entry: Entry
  readonly offset: number
}

class DirectoryWriter {
  readonly #options: DirectoryOptions
  readonly #dirs: OpenDirectories
  readonly #uid = process.geteuid?.() ?? 0
  readonly #gid = process.getegid?.() ?? 0
  readonly #umask = process.umask()
  #turn = performance.now()
  #written = 0
  #bytes = 0
  #files = 0
  #devices = 0
  #attributes = 0

  constructor(root: string, options: DirectoryOptions) {
    this.#dirs = new OpenDirectories(root)
    this.#options = options
  }

  close(): void {
    this.#dirs.close()
  }

  async write(items: readonly LayerItem[]): Promise<WrittenDirectory> {
    const { layer } = this.#options
    const opaque = new Set<string>()
    const dirs: { path: string; entry: Entry }[] = []
    const streamed: FileItem[] = []
    const read: FileItem[] = []
    const links: { path: string; first: string }[] = []
    const inodes = new Map<string, string>()
    for (const { path, kind = 'entry', entry } of items) {
      if (this.#due()) await this.#breathe()
      if (kind === 'opaque') opaque.add(path)
      else if (kind === 'whiteout') this.#at(path, (dir, name) => makeNodeAt(dir, name, 'char', 0))
      else if (path !== '' && entry !== undefined) {
        this.#bytes += entry.type === 'file' ? Math.ceil(entry.size / BLOCK) * BLOCK : entry.type === 'dir' ? BLOCK : 0
        const first = entry.inode === undefined || entry.type === 'dir' ? undefined : inodes.get(entry.inode)
        if (first !== undefined) links.push({ path, first })
        else {
          if (entry.inode !== undefined) inodes.set(entry.inode, path)
          const { content } = entry
          if (entry.type === 'dir') dirs.push({ path, entry })
          if (entry.type !== 'file') this.#make(path, entry)
          else if (entry.size > 0 && content?.kind === 'layer' && content.diffId === layer?.diffId)
            streamed.push({ path, entry, offset: content.offset })
          else read.push({ path, entry, offset: 0 })
        }
        this.#files++
      }
    }
    if (streamed.length > 0) await this.#stream(streamed.sort((a, b) => a.offset - b.offset))
    for (const { path, entry } of read) await this.#file(path, entry)
    for (const { path, first } of links) this.#link(path, first)
    for (const { path, entry } of dirs.reverse()) {
      if (this.#due()) await this.#breathe()
      this.#finishDirectory(path, entry, opaque.has(path))
    }
    return { bytes: this.#bytes, files: this.#files, devices: this.#devices, attributes: this.#attributes }
  }

  #due(): boolean {
    return performance.now() - this.#turn > TURN
  }

  async #breathe(): Promise<void> {
    const { signal, progress } = this.#options
    progress?.(this.#written)
    await setImmediate()
    if (signal?.aborted) throw cancelled(signal.reason)
    this.#turn = performance.now()
  }

  /** Does something with a name in its directory, and says of what fails where it was. */
  #at<T>(path: string, act: (dir: number, name: string | Buffer) => T): T {
    const slash = path.lastIndexOf('/')
    const name = path.slice(slash + 1)
    if (name === '' || name === '.' || name === '..' || name.includes('\0')) throw refused(path, 'that is no name')
    try {
      return act(this.#dirs.at(path.slice(0, Math.max(0, slash))), fsPath(name))
    } catch (error) {
      throw placed(error, path)
    }
  }

  /** Everything but the content of files; a directory gets its mode and time at the end. */
  #make(path: string, entry: Entry): void {
    const { type } = entry
    this.#at(path, (dir, name) => {
      if (type === 'dir') return makeDirAt(dir, name, 0o700)
      if (type === 'symlink') symlinkAt(fsPath(entry.link ?? ''), dir, name)
      else if (!this.#node(path, entry, dir, name)) return
      if (this.#foreign(entry)) setOwnerAt(dir, name, entry.uid, entry.gid)
      this.#xattrs(path, entry, (key, value) => setXattrAt(dir, name, key, value))
      if (type !== 'symlink') setModeAt(dir, name, entry.mode)
      setTimesAt(dir, name, { seconds: entry.mtime, nanoseconds: 0 })
    })
  }

  #node(path: string, { type, major = 0, minor = 0 }: Entry, dir: number, name: string | Buffer): boolean {
    if (type === 'char' && major === 0 && minor === 0)
      throw refused(path, 'a character device 0:0 is how overlays mark what is deleted')
    try {
      makeNodeAt(dir, name, type as 'char' | 'block' | 'fifo', 0, major, minor)
      return true
    } catch (error) {
      if (type === 'fifo' || (error as { code?: string }).code !== 'EPERM') throw error
      this.#devices++
      return false
    }
  }

  #foreign({ uid, gid }: Entry): boolean {
    return uid !== this.#uid || gid !== this.#gid
  }

  /** A new file, open for writing, with its owner. */
  #create(path: string, entry: Entry): number {
    return this.#at(path, (dir, name) => createFileAt(dir, name, entry.mode & 0o777 & ~this.#umask))
  }

  /** Owner first: chown(2) takes set-user-ID and capabilities away. */
  #finishFile(path: string, entry: Entry, fd: number): void {
    try {
      const foreign = this.#foreign(entry)
      if (foreign) setOwner(fd, entry.uid, entry.gid)
      this.#xattrs(path, entry, (key, value) => setXattr(fd, key, value))
      if ((entry.mode & (0o7000 | this.#umask)) !== 0) setMode(fd, entry.mode)
      setTimesFd(fd, { seconds: entry.mtime, nanoseconds: 0 })
    } catch (error) {
      throw placed(error, path)
    }
  }

  #finishDirectory(path: string, entry: Entry, opaque: boolean): void {
    const fd = this.#at(path, openDirAt)
    try {
      if (this.#foreign(entry)) setOwner(fd, entry.uid, entry.gid)
      this.#xattrs(path, entry, (key, value) => setXattr(fd, key, value))
      if (opaque) setXattr(fd, `${this.#options.userxattr ? 'user' : 'trusted'}.overlay.opaque`, Buffer.from('y'))
      setMode(fd, entry.mode)
      setTimesFd(fd, { seconds: entry.mtime, nanoseconds: 0 })
    } catch (error) {
      throw placed(error, path)
    } finally {
      closeFd(fd)
    }
  }

  #xattrs(path: string, { type, xattrs }: Entry, set: (name: string, value: Buffer) => void): void {
    if (xattrs === undefined) return
    for (const [name, value] of Object.entries(xattrs)) {
      if (/^(?:trusted|user)\.overlay\./.test(name)) continue
      try {
        set(name, Buffer.from(value, 'base64'))
      } catch (error) {
        const { code } = error as { code?: string }
        // user.* exists on files and directories only; trusted.* and labels belong to the machine's root
        const odd = code === 'EPERM' && !(name.startsWith('user.') && (type === 'file' || type === 'dir'))
        if (code !== 'ENOTSUP' && !odd) throw placed(error, path)
        this.#attributes++
      }
    }
  }

  #link(path: string, first: string): void {
    this.#at(first, (from, old) => this.#at(path, (dir, name) => linkAt(from, old, dir, name)))
  }

  /** Files of one layer in the order of its tar, from one pass over its bytes, which must be those of the diff ID. */
  async #stream(files: readonly FileItem[]): Promise<void> {
    const { diffId, stream } = this.#options.layer!
    const whole = createHasher()
    let at = 0
    let next = 0
    let fd = -1
    let done = 0
    try {
      for await (const chunk of stream()) {
        whole.update(chunk)
        const end = at + chunk.length
        while (next < files.length) {
          const { path, entry, offset } = files[next]!
          if (offset + done >= end) break
          if (fd < 0) fd = this.#create(path, entry)
          const piece = chunk.subarray(offset + done - at, offset + entry.size - at)
          this.#put(path, fd, piece)
          done += piece.length
          if (done < entry.size) break
          this.#finishFile(path, entry, fd)
          closeFd(fd)
          fd = -1
          done = 0
          next++
          if (this.#due()) await this.#breathe()
        }
        at = end
        if (this.#due()) await this.#breathe()
      }
    } finally {
      if (fd >= 0) closeFd(fd)
    }
    if (`sha256:${whole.hex()}` !== diffId || next < files.length)
      throw new ArchimageError('DIGEST_MISMATCH', `a layer should have diff ID ${diffId}, its content is another`, {
        hint: 'remove it with "archimage cache prune" and build again',
      })
  }

  #put(path: string, fd: number, bytes: Uint8Array): void {
    try {
      writeFd(fd, bytes)
    } catch (error) {
      throw placed(error, path)
    }
    this.#written += bytes.length
  }

  async #file(path: string, entry: Entry): Promise<void> {
    const { content, size } = entry
    const fd = this.#create(path, entry)
    try {
      if (content?.kind === 'host') await this.#host(path, entry, fd, content.path)
      else if (size > 0) {
        const bytes = content?.kind === 'bytes' ? content.bytes : await this.#options.open(entry)
        const hasher = createHasher()
        let left = size
        for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
          left -= chunk.length
          if (left < 0) break
          hasher.update(chunk)
          this.#put(path, fd, chunk)
          if (this.#due()) await this.#breathe()
        }
        if (left !== 0 || (entry.digest !== undefined && entry.digest !== `sha256:${hasher.hex()}`))
          throw changed(path, entry)
      }
      this.#finishFile(path, entry, fd)
    } finally {
      closeFd(fd)
    }
    if (this.#due()) await this.#breathe()
  }

  async #host(path: string, entry: Entry, fd: number, from: string | Buffer): Promise<void> {
    const file = HostFile.open(from)
    try {
      const buffer = Buffer.allocUnsafe(Math.min(entry.size + 1, PIECE))
      const hasher = entry.size >= buffer.length ? createHasher() : undefined
      let size = 0
      let digest = ''
      for (let count = buffer.length; count === buffer.length; ) {
        count = file.read(buffer, buffer.length)
        size += count
        if (size > entry.size) throw changed(path, entry)
        const piece = buffer.subarray(0, count)
        if (hasher === undefined) digest = hashHex('sha256', piece)
        else hasher.update(piece)
        this.#put(path, fd, piece)
        if (this.#due()) await this.#breathe()
      }
      digest = hasher?.hex() ?? digest
      if (size !== entry.size || (entry.digest !== undefined && entry.digest !== `sha256:${digest}`))
        throw changed(path, entry)
    } finally {
      file.close()
    }
  }
}

function refused(path: string, reason: string): ArchimageError {
  return new ArchimageError('TAR_INVALID', `"${path.slice(0, 200)}" cannot be unpacked: ${reason}`)
}

function changed(path: string, { content }: Entry): ArchimageError {
  return content?.kind === 'host'
    ? new ArchimageError('CONTEXT_CHANGED', `${content.path} changed while it was being built`, {
        hint: 'build again when nothing writes there; files that change all the time belong into .dockerignore',
      })
    : new ArchimageError('DIGEST_MISMATCH', `"${path}" is not what the index of its layer says`, {
        hint: 'the stored layer is damaged; remove it with "archimage cache prune" and build again',
      })
}

/** What the kernel refused, in our terms. */
function placed(error: unknown, path: string): unknown {
  const { code, syscall } = error as { code?: string; syscall?: string }
  if (syscall === 'chown' && (code === 'EINVAL' || code === 'EPERM'))
    return new ArchimageError('PERMISSION', `/${path} belongs to a user or group that does not exist for this user`, {
      hint: 'give the user a range of IDs in /etc/subuid and /etc/subgid (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME), or run archimage as root',
      cause: error,
    })
  if (code === 'ENAMETOOLONG' || code === 'ELOOP' || code === 'ENOTDIR' || code === 'EEXIST' || code === 'ENOENT')
    return refused(path, (error as Error).message)
  try {
    return systemError(error, `unpacking ${path}`)
  } catch {
    return error
  }
}
