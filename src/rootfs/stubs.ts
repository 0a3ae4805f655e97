import { ArchimageError } from '../errors/error.ts'
import {
  closeFd,
  createFileAt,
  listFd,
  makeDirAt,
  openDirAt,
  readLinkAt,
  setMode,
  setTimesFd,
  statAt,
  statFd,
  unlinkAt,
} from '../sys/at.ts'
import { decodePath, fsPath } from '../tar/path-bytes.ts'
import { OpenDirectories } from './open-directories.ts'

/** Something that was made for a mount to stand on, by its real path in the root. */
export interface Stub {
  readonly path: string
  readonly type: 'dir' | 'file'
}

const MAX_LINKS = 255

/**
 * Makes what is missing of the places where a step's mounts go, below `root` (the mounted overlay or the copied root): directories 0755, files
 * 0644, both root's. Links in `targets` (absolute) are followed inside the root as the kernel does in a chroot; the times of the
 * directories above stay as they were, so that a step does not see that something was made. A target where something of
 * another type stands is the mount's own trouble. Returns what was made, for `removeStubs` after the step; call it before
 * anything is mounted there. Throws STEP_FAILED for too many links or a file on the way.
 */
export function makeStubs(
  root: string,
  targets: readonly { readonly path: string; readonly type: 'dir' | 'file' }[],
): Stub[] {
  const dirs = new OpenDirectories(root)
  const made: Stub[] = []
  try {
    for (const { path, type } of targets) makeStub(dirs, path, type, made)
    return made
  } finally {
    dirs.close()
  }
}

function makeStub(dirs: OpenDirectories, target: string, type: 'dir' | 'file', made: Stub[]): void {
  const todo = target.split('/').reverse()
  const at: string[] = []
  let links = 0
  while (todo.length > 0) {
    const name = todo.pop()!
    if (name === '' || name === '.') continue
    if (name === '..') {
      at.pop()
      continue
    }
    const parent = dirs.at(at.join('/'))
    const last = !todo.some(rest => rest !== '' && rest !== '.')
    const stat = statAt(parent, fsPath(name))
    if (stat?.type === 'symlink') {
      if (++links > MAX_LINKS) throw unmountable(target, 'too many levels of symbolic links')
      const to = decodePath(readLinkAt(parent, fsPath(name)))
      if (to.startsWith('/')) at.length = 0
      todo.push(...to.split('/').reverse())
      continue
    }
    if (stat === undefined) made.push(make(parent, [...at, name].join('/'), name, last ? type : 'dir'))
    else if (stat.type !== 'dir' && !last) throw unmountable(target, `/${[...at, name].join('/')} is not a directory`)
    if (last) return
    at.push(name)
  }
}

function make(parent: number, path: string, name: string, type: 'dir' | 'file'): Stub {
  const { mtime } = statFd(parent)
  if (type === 'dir') makeDirAt(parent, fsPath(name), 0o755)
  const fd = type === 'dir' ? openDirAt(parent, fsPath(name)) : createFileAt(parent, fsPath(name), 0o644)
  try {
    setMode(fd, type === 'dir' ? 0o755 : 0o644)
    setTimesFd(parent, mtime)
    return { path, type }
  } finally {
    closeFd(fd)
  }
}

/**
 * Removes the stubs that are as they were made, after the step and without its mounts: an empty directory, an empty file. What the step put
 * something into, replaced or removed is its own. Follows no link, and the directories above keep their times. `root` is the mounted overlay, or the
 * upper directory itself.
 */
export function removeStubs(root: string, stubs: readonly Stub[]): void {
  const dirs = new OpenDirectories(root)
  try {
    for (const stub of stubs.toReversed()) removeStub(dirs, stub)
  } finally {
    dirs.close()
  }
}

function removeStub(dirs: OpenDirectories, { path, type }: Stub): void {
  const slash = path.lastIndexOf('/')
  const name = fsPath(path.slice(slash + 1))
  try {
    const parent = dirs.at(path.slice(0, Math.max(0, slash)))
    const stat = statAt(parent, name)
    if (stat?.type !== type || (type === 'file' && (stat.size > 0 || stat.nlink > 1))) return
    if (type === 'dir') {
      const fd = openDirAt(parent, name)
      const empty = listFd(fd).length === 0
      closeFd(fd)
      if (!empty) return
    }
    const { mtime } = statFd(parent)
    unlinkAt(parent, name, type)
    setTimesFd(parent, mtime)
  } catch (error) {
    const { code } = error as { code?: string }
    // a directory on the way is gone, or is a link now
    if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'ELOOP') throw error
  }
}

function unmountable(target: string, reason: string): ArchimageError {
  return new ArchimageError('STEP_FAILED', `nothing can be mounted at ${target}: ${reason}`)
}
