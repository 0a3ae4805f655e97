import { ArchimageError, systemError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
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
import { umask } from '../sys/umask.ts'
import { fsPath } from '../tar/path-bytes.ts'
import { type Marks, OPAQUE, opaqueAttribute, WHITEOUT } from './marks.ts'
import { OpenDirectories } from './open-directories.ts'

/** What an entry says besides its bytes. */
export type Node = Pick<Entry, 'type' | 'mode' | 'uid' | 'gid' | 'mtime' | 'xattrs'>

/**
 * Makes single entries below `root`, following no link. Throws TAR_INVALID for what cannot be there, PERMISSION where an owner
 * does not exist in the user namespace, NO_SPACE.
 */
export class EntryWriter {
  /** Devices that were left out: only root of the machine may make them. */
  devices = 0
  /** Attributes that were left out. */
  attributes = 0
  readonly #dirs: OpenDirectories
  readonly #uid = process.geteuid?.() ?? 0
  readonly #gid = process.getegid?.() ?? 0
  readonly #umask = umask()

  constructor(root: string) {
    this.#dirs = new OpenDirectories(root)
  }

  close(): void {
    this.#dirs.close()
  }

  /** Everything but files; a directory gets all that it has by `finishDirectory`, when nothing more comes into it. */
  make(path: string, entry: Entry): void {
    const { type } = entry
    this.#at(path, (dir, name) => {
      if (type === 'dir') return makeDirAt(dir, name, 0o700)
      if (type === 'symlink') symlinkAt(fsPath(entry.link ?? ''), dir, name)
      else if (!this.#node(path, entry, dir, name)) return
      if (this.#foreign(entry)) setOwnerAt(dir, name, entry.uid, entry.gid)
      this.#xattrs(entry, (key, value) => setXattrAt(dir, name, key, value))
      if (type !== 'symlink') setModeAt(dir, name, entry.mode)
      setTimesAt(dir, name, { seconds: entry.mtime, nanoseconds: 0 })
    })
  }

  /** The mark that there is nothing. */
  whiteout(path: string, marks: Marks): void {
    const slash = path.lastIndexOf('/') + 1
    if (marks === 'names') this.#emptyFile(`${path.slice(0, slash)}${WHITEOUT}${path.slice(slash)}`)
    else this.#at(path, (dir, name) => makeNodeAt(dir, name, 'char', 0))
  }

  #emptyFile(path: string): void {
    closeFd(this.#at(path, (dir, name) => createFileAt(dir, name, 0o600)))
  }

  /** Another name for a file that is there. */
  link(path: string, first: string): void {
    this.#at(first, (from, old) => this.#at(path, (dir, name) => linkAt(from, old, dir, name)))
  }

  /** A new file, open for writing; `finish` gives it all but its bytes. */
  create(path: string, { mode }: Node): number {
    return this.#at(path, (dir, name) => createFileAt(dir, name, mode & 0o777 & ~this.#umask))
  }

  put(path: string, fd: number, bytes: Uint8Array): void {
    try {
      writeFd(fd, bytes)
    } catch (error) {
      throw placed(error, path)
    }
  }

  finish(path: string, node: Node, fd: number): void {
    try {
      this.#common(node, fd)
      if ((node.mode & (0o7000 | this.#umask)) !== 0) setMode(fd, node.mode)
      setTimesFd(fd, { seconds: node.mtime, nanoseconds: 0 })
    } catch (error) {
      throw placed(error, path)
    }
  }

  /** A file whose bytes are at hand. */
  file(path: string, node: Node, bytes: Uint8Array): void {
    const fd = this.create(path, node)
    try {
      this.put(path, fd, bytes)
      this.finish(path, node, fd)
    } finally {
      closeFd(fd)
    }
  }

  /** `opaque`: marked so that nothing below is seen in it. */
  finishDirectory(path: string, node: Node, opaque?: Marks): void {
    const attribute = opaque && opaqueAttribute(opaque)
    if (opaque === 'names') this.#emptyFile(path === '' ? OPAQUE : `${path}/${OPAQUE}`)
    const fd = this.#at(path, openDirAt)
    try {
      this.#common(node, fd)
      if (attribute !== undefined) setXattr(fd, attribute, Buffer.from('y'))
      setMode(fd, node.mode)
      setTimesFd(fd, { seconds: node.mtime, nanoseconds: 0 })
    } catch (error) {
      throw placed(error, path)
    } finally {
      closeFd(fd)
    }
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

  #node(path: string, { type, major = 0, minor = 0 }: Entry, dir: number, name: string | Buffer): boolean {
    if (type === 'char' && major === 0 && minor === 0)
      throw refused(path, 'a character device 0:0 is how overlays mark what is deleted')
    try {
      makeNodeAt(dir, name, type as 'char' | 'block' | 'fifo', 0, major, minor)
      return true
    } catch (error) {
      if (type === 'fifo' || (error as { code?: string }).code !== 'EPERM') throw error
      this.devices++
      return false
    }
  }

  #foreign({ uid, gid }: Node): boolean {
    return uid !== this.#uid || gid !== this.#gid
  }

  /** Owner first: chown(2) takes set-user-ID and capabilities away. */
  #common(node: Node, fd: number): void {
    if (this.#foreign(node)) setOwner(fd, node.uid, node.gid)
    this.#xattrs(node, (key, value) => setXattr(fd, key, value))
  }

  #xattrs({ type, xattrs }: Node, set: (name: string, value: Buffer) => void): void {
    if (xattrs === undefined) return
    for (const [name, value] of Object.entries(xattrs)) {
      if (/^(?:trusted|user)\.overlay\./.test(name)) continue
      try {
        set(name, Buffer.from(value, 'base64'))
      } catch (error) {
        const { code } = error as { code?: string }
        // user.* exists on files and directories only; trusted.* and labels belong to the machine's root
        const odd = code === 'EPERM' && !(name.startsWith('user.') && (type === 'file' || type === 'dir'))
        if (code !== 'ENOTSUP' && !odd) throw error
        this.attributes++
      }
    }
  }
}

function refused(path: string, reason: string): ArchimageError {
  return new ArchimageError('TAR_INVALID', `"${path.slice(0, 200)}" cannot be unpacked: ${reason}`)
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
