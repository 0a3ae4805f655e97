import { readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ArchimageError, cancelled, systemError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import type { Tree } from '../layer/tree.ts'
import type { LayerItem } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import type { Extent } from '../store/snapshots.ts'
import {
  closeFd,
  getXattr,
  getXattrAt,
  listFd,
  listXattrs,
  openDirAt,
  openFileAt,
  readLinkAt,
  type Stat,
  statAt,
} from '../sys/at.ts'
import { createHasher, hashHex } from '../sys/hash.ts'
import { comparePaths, decodePath, encodePath, fsPath } from '../tar/path-bytes.ts'
import { parentOf } from './items.ts'
import { type Marks, opaqueAttribute, WHITEOUT } from './marks.ts'
import { OpenDirectories } from './open-directories.ts'

export interface ChangesOptions {
  /** How the overlay marks opaque directories. */
  readonly marks: Marks
  /** Where the directory will be when its files are read; where it is now unless given. */
  readonly place?: string
  /** Sets the hard links of these items apart from those that the tree has already. */
  readonly group: string
  /** Latest time, in seconds since 1970: later ones become it (SOURCE_DATE_EPOCH). */
  readonly latest?: number
  readonly signal?: AbortSignal
  /**
   * The directory is a whole root, not an overlay's upper directory: everything in it is compared, what is missing is deleted. Files
   * that `untouched` says yes to are taken for what the tree has.
   */
  readonly whole?: { readonly untouched: (path: string, stat: Stat) => boolean; readonly devices: boolean }
}

export interface Changes extends Required<Extent> {
  /** What a layer has to hold, parents first: for writeLayer and applyItems. Empty when nothing changed. */
  readonly items: readonly LayerItem[]
}

/** Milliseconds after which the event loop gets a turn. */
const TURN = 10
const PIECE = 1 << 20
const MAX_PATH = 4096
const CAPABILITY = 'security.capability'
const EMPTY_SHA256: Digest = `sha256:${hashHex('sha256', new Uint8Array())}`

interface Found {
  readonly path: string
  readonly kind: 'entry' | 'whiteout' | 'opaque'
  readonly entry?: Entry
  changed: boolean
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * What a step changed, from the upper directory of its overlay and the tree that it stood on: exactly what differs from the
 * tree in type, mode, owner, attributes (security.capability and user.*), bytes, target, device or, but for directories, time to the second. What was copied up and
 * is the same is no change; time alone is none for a directory (as in BuildKit). A deleted and recreated directory is opaque where nothing in it
 * is as it was, else what is gone from it has whiteouts. Hard links to a changed file are written with it; sockets and attributes of overlays are left out. Walks the
 * upper directory only. Throws STEP_FAILED for a name that a layer cannot hold, CANCELLED, PERMISSION.
 */
export async function upperChanges(upper: string, below: Tree, options: ChangesOptions): Promise<Changes> {
  const finder = new Finder(upper, below, options)
  try {
    return await finder.find()
  } finally {
    finder.close()
  }
}

class Finder {
  readonly #place: string
  readonly #below: Tree
  readonly #options: ChangesOptions
  readonly #dirs: OpenDirectories
  /** Files with several names, by inode. */
  readonly #linked = new Map<bigint, Found[]>()
  readonly #buffer = Buffer.allocUnsafe(PIECE)
  #turn = performance.now()
  #bytes = 0
  #names = 0
  #sizes = 0

  constructor(upper: string, below: Tree, options: ChangesOptions) {
    this.#place = options.place ?? upper
    this.#below = below
    this.#options = options
    this.#dirs = new OpenDirectories(upper)
  }

  close(): void {
    this.#dirs.close()
  }

  async find(): Promise<Changes> {
    const found: Found[] = []
    await this.#directory('', this.#options.whole !== undefined, found)
    for (const names of this.#linked.values())
      if (names.length === 1) delete (names[0]!.entry as Writable<Entry>).inode
      else if (names.some(({ changed }) => changed)) for (const name of names) name.changed = true
    const parents = new Set<string>()
    for (const { path, changed } of found)
      if (changed) for (let at = parentOf(path); at !== '' && !parents.has(at); at = parentOf(at)) parents.add(at)
    const items = found
      .filter(({ path, kind, changed }) => changed || (kind === 'entry' && parents.has(path)))
      .map(({ path, kind, entry }): LayerItem => ({ path, kind, ...(entry && { entry }) }))
    items.sort((a, b) => comparePaths(a.path, b.path))
    return { items, bytes: this.#bytes, names: this.#names, content: this.#sizes }
  }

  /** Adds what is in a directory to `found`. `pure`: nothing from below is seen in it. */
  async #directory(path: string, pure: boolean, found: Found[]): Promise<void> {
    const prefix = path === '' ? '' : `${path}/`
    const names = this.#guard(path, () => listFd(this.#dirs.at(path))).map(({ name }) => decodePath(name))
    const gone = pure ? new Set(this.#below.list(path)) : undefined
    for (const name of names) {
      const turn = this.#pause()
      if (turn !== undefined) await turn
      const at = prefix + name
      const stat = this.#guard(at, () => statAt(this.#dirs.at(path), fsPath(name)))
      if (stat === undefined) continue
      this.#names++
      if (stat.type === 'file') this.#sizes += stat.size
      this.#bytes += stat.allocated / (stat.type === 'dir' ? 1 : stat.nlink)
      if (stat.type === 'socket') continue
      const was = this.#below.lookup(at)
      if (stat.type === 'char' && stat.major === 0 && stat.minor === 0) {
        if (!pure && was !== undefined) found.push({ path: at, kind: 'whiteout', changed: true })
        continue
      }
      if (name.startsWith(WHITEOUT)) throw unwritable(at, 'names that begin with ".wh." mean deletions in a layer')
      if (encodePath(at).length > MAX_PATH) throw unwritable(at, `the path has more than ${MAX_PATH} bytes`)
      gone?.delete(name)
      if (stat.type === 'dir') await this.#subdirectory(path, name, stat, pure, found)
      else found.push(await this.#other(path, name, at, stat, was))
    }
    for (const name of gone ?? []) {
      const { whole } = this.#options
      const type = this.#below.lookup(prefix + name)!.type
      // a device that could not be made here was never there to be deleted
      if (whole?.devices === false && (type === 'char' || type === 'block')) continue
      found.push({ path: prefix + name, kind: 'whiteout', changed: true })
    }
  }

  async #subdirectory(parent: string, name: string, stat: Stat, pure: boolean, found: Found[]): Promise<void> {
    const path = parent === '' ? name : `${parent}/${name}`
    const was = this.#below.lookup(path)
    const { xattrs, opaque } = this.#guard(path, () => {
      const fd = openDirAt(this.#dirs.at(parent), fsPath(name))
      try {
        const attribute = opaqueAttribute(this.#options.marks)
        const mark = attribute === undefined ? undefined : getXattr(fd, attribute)
        return { xattrs: readXattrs(fd), opaque: mark?.toString('latin1') === 'y' }
      } finally {
        closeFd(fd)
      }
    })
    const entry: Entry = { type: 'dir', ...this.#common(stat), size: 0, ...(xattrs && { xattrs }) }
    const start = found.push({ path, kind: 'entry', entry, changed: was === undefined || !sameNode(entry, was) }) - 1
    await this.#directory(path, pure || opaque || was?.type !== 'dir', found)
    if (pure || !opaque || was?.type !== 'dir') return
    // deleted and recreated: all of it goes into the layer, unless something in it is as it was
    const inside = found.slice(start + 1)
    const deleted = inside.some(({ kind }) => kind === 'whiteout')
    const kept = inside.some(({ kind, entry, changed }) => kind === 'entry' && entry?.type !== 'dir' && !changed)
    if (!deleted || kept) return
    found.length = start + 1
    found.push({ path, kind: 'opaque', changed: true })
    for (const one of inside) if (one.kind === 'entry') found.push(one)
    for (let i = start; i < found.length; i++) found[i]!.changed = true
  }

  async #other(parent: string, name: string, path: string, stat: Stat, was: Entry | undefined): Promise<Found> {
    const { type } = stat
    let entry: Writable<Entry> = { type: type as Entry['type'], ...this.#common(stat), size: 0 }
    if (type === 'symlink') {
      entry.mode = 0o777
      entry.link = this.#guard(path, () => decodePath(readLinkAt(this.#dirs.at(parent), fsPath(name))))
    } else if (type === 'char' || type === 'block') entry = { ...entry, major: stat.major, minor: stat.minor }
    if (type !== 'file') {
      const capability = this.#guard(path, () => getXattrAt(this.#dirs.at(parent), fsPath(name), CAPABILITY))
      if (capability !== undefined) entry.xattrs = { [CAPABILITY]: capability.toString('base64') }
    } else {
      entry.size = stat.size
      entry.content = { kind: 'host', path: fsPath(`${this.#place}/${path}`) }
      if (this.#options.whole?.untouched(path, stat) === true && was !== undefined)
        return { path, kind: 'entry', entry: was, changed: false }
      await this.#contents(parent, name, path, entry)
    }
    const changed =
      was === undefined ||
      !sameNode(entry, was) ||
      stat.mtime.seconds !== was.mtime ||
      (type === 'file' && (entry.size !== was.size || entry.digest !== digestOf(was)))
    const found: Found = { path, kind: 'entry', entry, changed }
    if (stat.nlink > 1) {
      entry.inode = `${this.#options.group}:${stat.ino}`
      const names = this.#linked.get(stat.ino)
      if (names === undefined) this.#linked.set(stat.ino, [found])
      else names.push(found)
    }
    return found
  }

  #common({ mode, uid, gid, mtime }: Stat): Pick<Entry, 'mode' | 'uid' | 'gid' | 'mtime'> {
    const { latest = Number.POSITIVE_INFINITY } = this.#options
    return { mode, uid, gid, mtime: Math.min(mtime.seconds, latest) }
  }

  async #contents(parent: string, name: string, path: string, entry: Writable<Entry>): Promise<void> {
    const fd = this.#guard(path, () => openFileAt(this.#dirs.at(parent), fsPath(name)))
    try {
      const xattrs = this.#guard(path, () => readXattrs(fd))
      if (xattrs !== undefined) entry.xattrs = xattrs
      entry.digest = await this.#hash(fd, entry.size, path)
    } finally {
      closeFd(fd)
    }
  }

  async #hash(fd: number, size: number, path: string): Promise<Digest> {
    if (size === 0) return EMPTY_SHA256
    const piece = this.#guard(path, () => readSome(fd, this.#buffer))
    if (piece.length >= size) return `sha256:${hashHex('sha256', piece)}`
    const hasher = createHasher()
    for (let chunk = piece; chunk.length > 0; chunk = this.#guard(path, () => readSome(fd, this.#buffer))) {
      hasher.update(chunk)
      const turn = this.#pause()
      if (turn !== undefined) await turn
    }
    return `sha256:${hasher.hex()}`
  }

  #pause(): Promise<void> | undefined {
    return performance.now() - this.#turn > TURN ? this.#breathe() : undefined
  }

  async #breathe(): Promise<void> {
    await setImmediate()
    const { signal } = this.#options
    if (signal?.aborted) throw cancelled(signal.reason)
    this.#turn = performance.now()
  }

  #guard<T>(path: string, act: () => T): T {
    try {
      return act()
    } catch (error) {
      throw systemError(error, `reading what the step left at /${path}`)
    }
  }
}

/** The attributes that layers keep (DESIGN §4), in base64; undefined when there are none. */
function readXattrs(fd: number): Record<string, string> | undefined {
  const found: Record<string, string> = {}
  let any = false
  for (const name of listXattrs(fd).sort()) {
    const value = isKept(name) ? getXattr(fd, name) : undefined
    if (value === undefined) continue
    found[name] = value.toString('base64')
    any = true
  }
  return any ? found : undefined
}

const isKept = (name: string): boolean =>
  name === CAPABILITY || (name.startsWith('user.') && !name.startsWith('user.overlay.'))

/** All but bytes and times. */
function sameNode(a: Entry, b: Entry): boolean {
  return (
    a.type === b.type &&
    (a.mode === b.mode || a.type === 'symlink') &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.link === b.link &&
    (a.major ?? 0) === (b.major ?? 0) &&
    (a.minor ?? 0) === (b.minor ?? 0) &&
    sameXattrs(a.xattrs ?? {}, b.xattrs ?? {})
  )
}

function sameXattrs(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)].filter(isKept))
  return [...names].every(name => a[name] === b[name])
}

function digestOf({ digest, content }: Entry): Digest | undefined {
  return digest ?? (content?.kind === 'bytes' ? `sha256:${hashHex('sha256', content.bytes)}` : undefined)
}

function readSome(fd: number, into: Buffer): Buffer {
  return into.subarray(0, readSync(fd, into, 0, into.length, null))
}

function unwritable(path: string, reason: string): ArchimageError {
  return new ArchimageError('STEP_FAILED', `the step left /${path.slice(0, 200)}, which no layer can hold: ${reason}`, {
    hint: 'remove it in the same RUN',
  })
}
