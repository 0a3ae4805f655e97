import { chmodSync, lstatSync, readdirSync, rmSync } from 'node:fs'
import {
  clearImmutable,
  closeFd,
  listFd,
  openDir,
  openDirAt,
  openFileAt,
  renameAt,
  setMode,
  setModeAt,
  statFd,
  unlinkAt,
} from './at.ts'
import { builtin } from './builtin.ts'
import { callError, type NativePath } from './ffi.ts'

/** Directories that are open at one time; what is deeper is brought up first. */
const MAX_DEPTH = 100
const EBUSY = 16

/**
 * Removes what is at `path` with everything below it: of any depth, with modes that forbid it, made immutable, owned by other
 * users of this user's namespace. Follows no link and enters no mount (EBUSY). False when there was nothing. Throws errors as
 * those of node:fs.
 */
export function removeTree(path: string | Buffer): boolean {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return false
  if (process.platform !== 'linux') {
    removePortably(path)
    return true
  }
  try {
    removeHere(path)
  } catch (error) {
    const { code } = error as { code?: string }
    if ((code !== 'EPERM' && code !== 'EACCES') || process.geteuid?.() === 0) throw error
    // sub-uids own it: it can be removed in a namespace that has them
    const args = ['--user', '--map-root-user', '--map-auto', 'rm', '-rf', '--one-file-system', '--', String(path)]
    const { status } = builtin.childProcess.spawnSync('unshare', args, { stdio: 'ignore' })
    if (status !== 0 || lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw error
  }
  return true
}

function removeHere(path: string | Buffer): void {
  const bytes = Buffer.from(path as string)
  const name = bytes.lastIndexOf('/') + 1
  // the folder that it stands in may be reached through links, those in it are not followed
  const parent = openDir(Buffer.concat([bytes.subarray(0, name), Buffer.from('.')]))
  try {
    removeAt(parent, bytes.subarray(name))
  } finally {
    closeFd(parent)
  }
}

/** What `removeTree` does, to a name in an open directory, which is there. Linux only. */
export function removeAt(parent: number, name: NativePath): void {
  if (unlink(parent, name)) return
  const top = openAnyhow(parent, name)
  try {
    const { mount } = statFd(top)
    if (mount !== statFd(parent).mount) throw callError('unlink', name, EBUSY)
    let moved = 0
    const liftUp = (dir: number, child: NativePath): void => {
      for (;;)
        try {
          renameAt(dir, child, top, `.deep-${moved++}`)
          return
        } catch (error) {
          if ((error as { code?: string }).code !== 'EEXIST') throw error
        }
    }
    do {
      moved = 0
      empty(top, mount, 0, liftUp)
    } while (moved > 0)
  } finally {
    closeFd(top)
  }
  unlink(parent, name, 'dir')
}

function empty(dir: number, mount: string, depth: number, liftUp: (dir: number, child: NativePath) => void): void {
  for (const { name, type } of listFd(dir)) {
    if (type !== 'dir' && unlink(dir, name)) continue
    if (depth === MAX_DEPTH) {
      liftUp(dir, name)
      continue
    }
    const child = openAnyhow(dir, name)
    try {
      if (statFd(child).mount !== mount) throw callError('unlink', name, EBUSY)
      empty(child, mount, depth + 1, liftUp)
    } finally {
      closeFd(child)
    }
    unlink(dir, name, 'dir')
  }
}

/** False for a directory where a file was meant. */
function unlink(dir: number, name: NativePath, what: 'file' | 'dir' = 'file'): boolean {
  for (let again = true; ; again = false)
    try {
      unlinkAt(dir, name, what)
      return true
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === 'EISDIR') return false
      if ((code !== 'EPERM' && code !== 'EACCES') || !again) throw error
      open(dir)
      clearImmutableAt(dir, name)
    }
}

function open(dir: number): void {
  clearImmutable(dir)
  try {
    setMode(dir, 0o700)
  } catch {}
}

function clearImmutableAt(dir: number, name: NativePath): void {
  try {
    const fd = openFileAt(dir, name)
    clearImmutable(fd)
    closeFd(fd)
  } catch {}
}

/** Opens a directory that may be removed but not read or written to. */
function openAnyhow(dir: number, name: NativePath): number {
  let fd: number
  try {
    fd = openDirAt(dir, name)
  } catch (error) {
    if ((error as { code?: string }).code !== 'EACCES') throw error
    setModeAt(dir, name, 0o700)
    fd = openDirAt(dir, name)
  }
  if (process.geteuid?.() !== 0) open(fd)
  return fd
}

function removePortably(path: string | Buffer): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch {
    allow(path)
    rmSync(path, { recursive: true, force: true })
  }
}

function allow(folder: string | Buffer): void {
  if (!lstatSync(folder).isDirectory()) return
  chmodSync(folder, 0o700)
  for (const name of readdirSync(folder, { encoding: 'buffer' }))
    allow(Buffer.concat([Buffer.from(folder as string), Buffer.from('/'), name]))
}
