import { setImmediate } from 'node:timers/promises'
import { cancelled, systemError } from '../errors/error.ts'
import {
  closeFd,
  copyFd,
  createFileAt,
  getXattr,
  getXattrAt,
  linkAt,
  listFd,
  listXattrs,
  listXattrsAt,
  makeDirAt,
  makeNodeAt,
  openDirAt,
  openFileAt,
  readLinkAt,
  removeXattr,
  type Stat,
  setMode,
  setModeAt,
  setOwner,
  setOwnerAt,
  setTimesAt,
  setTimesFd,
  setXattr,
  setXattrAt,
  statAt,
  symlinkAt,
} from '../sys/at.ts'
import { removeAt } from '../sys/remove-tree.ts'
import { decodePath, fsPath } from '../tar/path-bytes.ts'
import { type Marks, OPAQUE, opaqueAttribute, WHITEOUT } from './marks.ts'
import { OpenDirectories } from './open-directories.ts'

export interface CopyOptions {
  /** How `lowers` say what is not there. */
  readonly marks: Marks
  readonly signal?: AbortSignal
}

/** A root that was copied; for `whole` of upperChanges. */
export interface CopiedRoot {
  /** Whether a file is as it was copied, by inode and time of change. */
  untouched(path: string, stat: Stat): boolean
}

const TURN = 10
const OPAQUE_NAME = Buffer.from(OPAQUE)

/**
 * What an overlay of `lowers` (the lowest first) would show, copied into `target`, an empty directory: for where overlays are
 * not to be had. Bytes are shared on the disk where the file system can. Devices that may not be made here are left out. Throws
 * NO_SPACE, PERMISSION, CANCELLED.
 */
export async function copyRoot(lowers: readonly string[], target: string, options: CopyOptions): Promise<CopiedRoot> {
  const to = new OpenDirectories(target)
  try {
    for (const lower of lowers) {
      const from = new OpenDirectories(lower)
      try {
        await new LayerCopier(from, to, options).directory('')
      } finally {
        from.close()
      }
    }
    const known = new Map<string, string>()
    remember(to, '', known)
    return { untouched: (path, stat) => known.get(path) === signature(stat) }
  } catch (error) {
    throw systemError(error, `copying a root into ${target}`)
  } finally {
    to.close()
  }
}

const signature = ({ ino, ctime, size }: Stat): string => `${ino} ${ctime} ${size}`

function remember(dirs: OpenDirectories, path: string, known: Map<string, string>): void {
  for (const { name, type } of listFd(dirs.at(path))) {
    const at = join(path, decodePath(name))
    if (type === 'dir') remember(dirs, at, known)
    else known.set(at, signature(statAt(dirs.at(path), name)!))
  }
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}/${name}`)

/** Lays one layer over what is in `to`. */
class LayerCopier {
  readonly #from: OpenDirectories
  readonly #to: OpenDirectories
  readonly #options: CopyOptions
  /** The first names of files that have several. */
  readonly #links = new Map<bigint, string>()
  #turn = performance.now()

  constructor(from: OpenDirectories, to: OpenDirectories, options: CopyOptions) {
    this.#from = from
    this.#to = to
    this.#options = options
  }

  async directory(path: string): Promise<void> {
    const names = this.#options.marks === 'names'
    for (const { name } of listFd(this.#from.at(path))) {
      if (performance.now() - this.#turn > TURN) await this.#breathe()
      const at = join(path, decodePath(name))
      const stat = statAt(this.#from.at(path), name)!
      if (stat.type === 'dir') await this.#subdirectory(path, name, at, stat)
      else if (names && name.toString('latin1').startsWith(WHITEOUT)) {
        const hidden = name.subarray(WHITEOUT.length)
        if (!name.equals(OPAQUE_NAME)) this.#clear(path, hidden, join(path, decodePath(hidden)))
      } else {
        this.#clear(path, name, at)
        const whiteout = stat.type === 'char' && stat.major === 0 && stat.minor === 0
        if (!whiteout) this.#other(path, name, at, stat)
      }
    }
  }

  /** Makes room in the target. */
  #clear(path: string, name: Buffer, at: string): void {
    const dir = this.#to.at(path)
    if (statAt(dir, name) === undefined) return
    this.#to.forget(at)
    removeAt(dir, name)
  }

  async #subdirectory(path: string, name: Buffer, at: string, stat: Stat): Promise<void> {
    const from = openDirAt(this.#from.at(path), name)
    const xattrs = readAll(from)
    const attribute = opaqueAttribute(this.#options.marks)
    const opaque = attribute ? getXattr(from, attribute) !== undefined : statAt(from, OPAQUE_NAME) !== undefined
    closeFd(from)
    if (opaque || statAt(this.#to.at(path), name)?.type !== 'dir') {
      this.#clear(path, name, at)
      makeDirAt(this.#to.at(path), name, 0o700)
    }
    await this.directory(at)
    const to = openDirAt(this.#to.at(path), name)
    try {
      for (const old of listXattrs(to)) if (!xattrs.has(old) && old.startsWith('user.')) removeXattr(to, old)
      finish(to, stat, xattrs)
    } finally {
      closeFd(to)
    }
  }

  #other(path: string, name: Buffer, at: string, stat: Stat): void {
    const [from, to] = [this.#from.at(path), this.#to.at(path)]
    const first = stat.nlink > 1 ? this.#links.get(stat.ino) : undefined
    if (first !== undefined) {
      const slash = first.lastIndexOf('/')
      linkAt(this.#to.at(first.slice(0, Math.max(0, slash))), fsPath(first.slice(slash + 1)), this.#to.at(path), name)
      return
    }
    if (stat.nlink > 1) this.#links.set(stat.ino, at)
    if (stat.type === 'file') {
      copyFile(from, to, name, stat)
      return
    }
    if (stat.type === 'socket') return
    if (stat.type === 'symlink') symlinkAt(readLinkAt(from, name), to, name)
    else if (!makeNode(to, name, stat)) return
    setOwnerAt(to, name, stat.uid, stat.gid)
    for (const key of listXattrsAt(from, name)) {
      const value = getXattrAt(from, name, key)
      if (value !== undefined) tolerant(key, () => setXattrAt(to, name, key, value))
    }
    if (stat.type !== 'symlink') setModeAt(to, name, stat.mode)
    setTimesAt(to, name, stat.mtime)
  }

  async #breathe(): Promise<void> {
    await setImmediate()
    const { signal } = this.#options
    if (signal?.aborted) throw cancelled(signal.reason)
    this.#turn = performance.now()
  }
}

function copyFile(from: number, to: number, name: Buffer, stat: Stat): void {
  const source = openFileAt(from, name)
  try {
    const copy = createFileAt(to, name, 0o600)
    try {
      copyFd(source, copy, stat.size)
      finish(copy, stat, readAll(source))
    } finally {
      closeFd(copy)
    }
  } finally {
    closeFd(source)
  }
}

/** False for a device that may not be made here. */
function makeNode(dir: number, name: Buffer, { type, major, minor }: Stat): boolean {
  try {
    makeNodeAt(dir, name, type as 'char' | 'block' | 'fifo', 0, major, minor)
    return true
  } catch (error) {
    if (type === 'fifo' || (error as { code?: string }).code !== 'EPERM') throw error
    return false
  }
}

function readAll(fd: number): Map<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const name of listXattrs(fd)) {
    const value = /^(?:trusted|user)\.overlay\./.test(name) ? undefined : getXattr(fd, name)
    if (value !== undefined) found.set(name, value)
  }
  return found
}

function finish(fd: number, { uid, gid, mode, mtime }: Stat, xattrs: ReadonlyMap<string, Buffer>): void {
  setOwner(fd, uid, gid)
  for (const [name, value] of xattrs) tolerant(name, () => setXattr(fd, name, value))
  setMode(fd, mode)
  setTimesFd(fd, mtime)
}

/** What the machine's root alone may set is left out, as everything is where the file system has no attributes. */
function tolerant(name: string, set: () => void): void {
  try {
    set()
  } catch (error) {
    const { code } = error as { code?: string }
    if (code !== 'ENOTSUP' && !(code === 'EPERM' && !name.startsWith('user.'))) throw error
  }
}
