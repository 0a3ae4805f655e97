import { mkdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemError } from '../errors/error.ts'
import { isRecord } from '../oci/json.ts'
import { closeFd, listFd, openDir, openDirAt, statAt } from '../sys/at.ts'
import { makeDir, temporaryName, writeFileAtomic } from '../sys/files.ts'
import { hashHex } from '../sys/hash.ts'
import { removeTree } from '../sys/remove-tree.ts'
import { listFiles } from './binaries.ts'
import { NAMES } from './home.ts'

const DAY = 86_400_000
/** What a snapshot's directory holds: the directory itself, and what is known of it. */
const FILES = 'fs'
const ABOUT = 'about.json'

/** A real directory that was made from layers or by a step, on the disk; for pruning. */
export interface SnapshotFile {
  readonly key: string
  readonly path: string
  readonly bytes: number
  /** Milliseconds since 1970, to the day. */
  readonly used: number
}

function place(root: string, key: string): string {
  // short: hundreds of them stand in the options of one mount
  return join(root, NAMES.snapshots, hashHex('sha256', Buffer.from(key)).slice(0, 32))
}

/** Where the directory of a snapshot is, or would be. */
export function snapshotPath(root: string, key: string): string {
  return join(place(root, key), FILES)
}

/** How much is in a directory. */
export interface Extent {
  /** On the disk, about. */
  readonly bytes: number
  /** Names in it and below, and bytes of all its files, of one with several names each time: counted again after a power failure. */
  readonly names?: number
  readonly content?: number
}

interface About extends Extent {
  readonly key: string
  /** When it was last known to be whole: the kernel's boot. */
  readonly boot: string
}

/**
 * The directory that was kept under `key`, if there is one. Nothing is synced to the disk (decision 0005): at the first use after
 * a boot its names and sizes are counted, and what a power failure cut is removed.
 */
export function findSnapshot(root: string, key: string): string | undefined {
  const path = place(root, key)
  const file = join(path, ABOUT)
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  const about = readAbout(path)
  const boot = bootId()
  if (about === undefined || (about.boot !== boot && !isWhole(join(path, FILES), about))) {
    removeSnapshot(root, path)
    return undefined
  }
  const now = Date.now()
  try {
    if (about.boot !== boot) writeFileAtomic(file, JSON.stringify({ ...about, boot }), 0o600, join(root, NAMES.tmp))
    else if (now - stat.mtimeMs > DAY) utimesSync(file, now / 1000, now / 1000)
  } catch {}
  return join(path, FILES)
}

function isWhole(path: string, { names, content }: Extent): boolean {
  if (names === undefined) return true
  try {
    const found = { names: 0, content: 0 }
    const fd = openDir(path)
    try {
      count(fd, found)
    } finally {
      closeFd(fd)
    }
    return found.names === names && found.content === content
  } catch {
    return false
  }
}

function count(dir: number, found: { names: number; content: number }): void {
  for (const { name, type } of listFd(dir)) {
    found.names++
    if (type === 'file') found.content += statAt(dir, name)!.size
    else if (type === 'dir') {
      const fd = openDirAt(dir, name)
      try {
        count(fd, found)
      } finally {
        closeFd(fd)
      }
    }
  }
}

let boot: string | undefined
function bootId(): string {
  try {
    boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    boot = ''
  }
  return boot
}

/** An empty directory (mode 0700) on the file system of the snapshots, named so that leavings are found. */
export function scratchDirectory(root: string): string {
  const path = join(root, NAMES.tmp, temporaryName())
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    throw systemError(error, `making ${path}`)
  }
  return path
}

/**
 * Keeps `dir`, which lies on the file system of the store, under `key`: it appears by rename, whole. When another process was
 * first, its directory counts and `dir` is removed.
 */
export function keepSnapshot(root: string, key: string, dir: string, extent: Extent): string {
  const outer = scratchDirectory(root)
  const final = place(root, key)
  try {
    writeFileSync(join(outer, ABOUT), JSON.stringify({ key, ...extent, boot: bootId() } satisfies About))
    renameSync(dir, join(outer, FILES))
    makeDir(join(root, NAMES.snapshots), 0o700)
    renameSync(outer, final)
  } catch (error) {
    removeTree(outer)
    const { code } = error as { code?: string }
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw systemError(error, `keeping ${final}`)
  }
  return join(final, FILES)
}

/** Says anew what a snapshot takes on the disk, for those that grow. */
export function weighSnapshot(root: string, key: string, bytes: number): void {
  writeFileAtomic(join(place(root, key), ABOUT), JSON.stringify({ key, bytes, boot: bootId() } satisfies About))
}

/** False when it was not there, or could not be removed; nothing half removed stays under its name. */
export function removeSnapshot(root: string, path: string): boolean {
  const aside = join(root, NAMES.tmp, temporaryName())
  try {
    renameSync(path, aside)
    return removeTree(aside)
  } catch {
    return false
  }
}

export function listSnapshots(root: string): SnapshotFile[] {
  return listFiles(join(root, NAMES.snapshots)).map(({ path, stat }) => {
    const about = statSync(join(path, ABOUT), { throwIfNoEntry: false })
    const known = about && readAbout(path)
    return { key: known?.key ?? '', path, bytes: known?.bytes ?? 0, used: about?.mtimeMs ?? stat.mtimeMs }
  })
}

function readAbout(path: string): About | undefined {
  try {
    const about: unknown = JSON.parse(readFileSync(join(path, ABOUT), 'utf8'))
    if (!isRecord(about) || typeof about['key'] !== 'string' || typeof about['boot'] !== 'string') return undefined
    return typeof about['bytes'] === 'number' ? (about as unknown as About) : undefined
  } catch {
    return undefined
  }
}

/** A file or a directory that a killed process left behind; false when it cannot be removed. */
export function removeTemporary(path: string): boolean {
  try {
    return removeTree(path)
  } catch {
    return false
  }
}
