import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  fchmodSync,
  futimesSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { cancelled } from '../errors/error.ts'
import type { LayerContent } from '../layer/content.ts'
import type { Entry } from '../layer/entry.ts'
import type { Tree } from '../layer/tree.ts'
import { makeNode, setTimes, writeXattr } from '../sys/ffi.ts'
import { removeFile, temporaryName, writeAll } from '../sys/files.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { fileError, outputFailed } from '../sys/target.ts'
import { decodePath, fsPath } from '../tar/path-bytes.ts'
import { TIME } from './archive.ts'
import { checked } from './checked.ts'
import type { Roots } from './rootfs.ts'

export interface LocalOptions {
  /** `delete` removes from the folder what is not in the image. */
  readonly mode: 'copy' | 'delete'
  readonly signal: AbortSignal
  readonly warn: (message: string) => void
}

const TURN = 20

/**
 * Writes root filesystems as files below `folder`, as BuildKit's local exporter does: owned by the caller, with modes, times, links
 * and attributes of the image. A folder that was not there appears by rename; into one that is there each file is renamed. No
 * link is ever followed. Throws OUTPUT_FAILED, NO_SPACE, PERMISSION, DIGEST_MISMATCH, CANCELLED.
 */
export async function writeFolder(folder: string, roots: Roots, options: LocalOptions): Promise<void> {
  try {
    const there = lstatSync(folder, { throwIfNoEntry: false })
    if (there !== undefined) {
      if (!there.isDirectory() && !lstatFollowed(folder)) throw outputFailed(`${folder} is not a folder`)
      return await new FolderWriter(folder, roots.content, options, false).write(roots)
    }
    mkdirSync(dirname(folder), { recursive: true })
    const temporary = join(dirname(folder), `.${basename(folder).slice(0, 100)}.${temporaryName()}`)
    try {
      // the mode that BuildKit gives it: the files may be setuid
      mkdirSync(temporary, { mode: 0o700 })
      await new FolderWriter(temporary, roots.content, options, true).write(roots)
      renameSync(temporary, folder)
    } catch (error) {
      try {
        removeTree(fsPath(temporary))
      } catch {}
      throw error
    }
  } catch (error) {
    throw fileError(error, `writing ${folder}`)
  }
}

/** A destination that is itself a link is the user's own wish. */
function lstatFollowed(folder: string): boolean {
  try {
    return lstatSync(`${folder}/.`).isDirectory()
  } catch {
    return false
  }
}

class FolderWriter {
  readonly #root: string
  readonly #content: LayerContent
  readonly #options: LocalOptions
  /** Nothing that others see: files are written in place. */
  readonly #fresh: boolean
  readonly #inodes = new Map<string, string>()
  #turn = performance.now()
  #devices = 0
  #attributes = 0

  constructor(root: string, content: LayerContent, options: LocalOptions, fresh: boolean) {
    this.#root = root
    this.#content = content
    this.#options = options
    this.#fresh = fresh
  }

  async write({ roots }: Roots): Promise<void> {
    const folders = roots.flatMap(({ folder }) => folder ?? [])
    if (folders.length > 0) this.#purge(this.#root, folders)
    for (const { folder, tree } of roots) {
      this.#inodes.clear()
      const place = folder === undefined ? this.#root : `${this.#root}/${folder}`
      if (folder !== undefined) this.#makeFolder(place)
      await this.#folder(tree, '', place)
      if (folder !== undefined) this.#finishFolder(place, { ...tree.root, mode: 0o755, mtime: TIME, xattrs: {} })
    }
    const { warn } = this.#options
    if (this.#devices > 0)
      warn(`devices of the image (${this.#devices}) were left out of ${this.#root}: only root on Linux can make them`)
    if (this.#attributes > 0)
      warn(
        `${this.#attributes} files in ${this.#root} lack extended attributes of the image (capabilities and the like): they could not be set`,
      )
  }

  /** Depth first and one folder after the other: no entry can change the way to a folder that is still written to. */
  async #folder(tree: Tree, path: string, place: string): Promise<void> {
    const names = tree.list(path)
    this.#purge(place, names)
    for (const name of names) {
      const inside = path === '' ? name : `${path}/${name}`
      const target = `${place}/${safeName(name)}`
      const entry = tree.lookup(inside)!
      if (entry.type === 'dir') {
        this.#makeFolder(target)
        await this.#folder(tree, inside, target)
        this.#finishFolder(target, entry)
      } else await this.#place(inside, entry, place, target)
      if (performance.now() - this.#turn > TURN) await this.#breathe()
    }
  }

  async #breathe(): Promise<void> {
    await setImmediate()
    const { signal } = this.#options
    if (signal.aborted) throw cancelled(signal.reason)
    this.#turn = performance.now()
  }

  /** mode=delete: first of all, so that on a disk that ignores case nothing new is taken for old. */
  #purge(place: string, names: readonly string[]): void {
    if (this.#fresh || this.#options.mode !== 'delete') return
    const keep = new Set(names)
    for (const bytes of readdirSync(fsPath(place), { encoding: 'buffer' })) {
      const name = decodePath(bytes)
      if (!keep.has(name)) removeTree(fsPath(`${place}/${name}`))
    }
  }

  /** With rights to write into it; the entry's mode comes at the end. */
  #makeFolder(place: string): void {
    const path = fsPath(place)
    try {
      mkdirSync(path, { mode: 0o700 })
      return
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    const there = lstatSync(path)
    if (there.isDirectory()) {
      if ((there.mode & 0o700) !== 0o700) chmodSync(path, 0o700)
      return
    }
    unlinkSync(path)
    mkdirSync(path, { mode: 0o700 })
  }

  #finishFolder(place: string, entry: Entry): void {
    this.#xattrs(place, entry)
    chmodSync(fsPath(place), entry.mode)
    this.#times(place, entry)
  }

  async #place(inside: string, entry: Entry, parent: string, target: string): Promise<void> {
    if (this.#fresh) {
      try {
        return await this.#make(inside, entry, target, target)
      } catch (error) {
        // a disk that ignores case, or forms of letters: the later one stays, as it does in an unpacked archive
        if (codeOf(error) !== 'EEXIST') throw error
      }
    }
    const temporary = `${parent}/.${randomBytes(6).toString('hex')}.tmp`
    try {
      await this.#make(inside, entry, temporary, target)
      const there = lstatSync(fsPath(temporary), { throwIfNoEntry: false })
      if (there === undefined) return
      if (lstatSync(fsPath(target), { throwIfNoEntry: false })?.isDirectory()) removeTree(fsPath(target))
      renameSync(fsPath(temporary), fsPath(target))
      // rename(2) of two links to one file does nothing
      if (there.nlink > 1) removeFile(temporary)
    } catch (error) {
      removeFile(temporary)
      throw error
    }
  }

  /** Makes the entry at `place`, where nothing is; `target` is where it will stand. */
  async #make(inside: string, entry: Entry, place: string, target: string): Promise<void> {
    const first = entry.inode === undefined ? undefined : this.#inodes.get(entry.inode)
    if (first !== undefined) return linkSync(fsPath(first), fsPath(place))
    if (entry.type === 'file') await this.#file(inside, entry, place)
    else if (entry.type === 'symlink') this.#symlink(entry, place)
    else if (!this.#node(entry, place)) return
    if (entry.inode !== undefined) this.#inodes.set(entry.inode, target)
  }

  async #file(inside: string, entry: Entry, place: string): Promise<void> {
    const fd = openSync(fsPath(place), 'wx', 0o600)
    try {
      for await (const chunk of checked(inside, entry, this.#content)) writeAll(fd, chunk)
      this.#xattrs(place, entry)
      fchmodSync(fd, entry.mode)
      if (entry.mtime >= 0) futimesSync(fd, entry.mtime, entry.mtime)
    } finally {
      closeSync(fd)
    }
    if (entry.mtime < 0) this.#times(place, entry)
  }

  #symlink(entry: Entry, place: string): void {
    symlinkSync(fsPath(entry.link!), fsPath(place))
    this.#times(place, entry)
  }

  /** False for a device that cannot be made here. */
  #node(entry: Entry, place: string): boolean {
    try {
      makeNode(fsPath(place), entry.type as 'char' | 'block' | 'fifo', 0o600, entry.major, entry.minor)
    } catch (error) {
      if (codeOf(error) === 'EEXIST') throw error
      this.#devices++
      return false
    }
    chmodSync(fsPath(place), entry.mode)
    this.#times(place, entry)
    return true
  }

  #times(place: string, { mtime }: Entry): void {
    if (mtime >= 0) lutimesSync(fsPath(place), mtime, mtime)
    else if (process.platform === 'linux') setTimes(fsPath(place), mtime)
  }

  /** What cannot be set is counted, not an error; overlay's and SELinux's attributes belong to the machine, not to the image. */
  #xattrs(place: string, { xattrs = {} }: Entry): void {
    let failed = false
    for (const [name, value] of Object.entries(xattrs)) {
      if (name.startsWith('trusted.') || name === 'security.selinux') continue
      try {
        writeXattr(fsPath(place), name, Buffer.from(value, 'base64'))
      } catch {
        failed = true
      }
    }
    if (failed) this.#attributes++
  }
}

/** On Windows a name of the image may say more than a name. */
function safeName(name: string): string {
  if (process.platform === 'win32' && /[\\:<>"|?*]|[. ]$/.test(name))
    throw outputFailed(`the image has a file named "${name}", which cannot exist on Windows`, 'use -o type=tar')
  return name
}

function codeOf(error: unknown): string | undefined {
  const { code, cause } = error as { code?: string; cause?: { code?: string } }
  return cause?.code ?? code
}
