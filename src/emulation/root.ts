import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Bytes } from '../executable/bytes.ts'
import { fileBytes } from './qemu.ts'

/** One thing in a root filesystem. */
export type RootNode =
  | { readonly kind: 'file'; readonly executable: boolean; use<T>(work: (bytes: Bytes) => T): T }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory' }

/** Looks at one absolute path of a root; no directory on the way to it is a link. */
export type RootReader = (path: string) => RootNode | undefined

/** Linux's own limit (MAXSYMLINKS). */
const MAX_LINKS = 40

/** What a path leads to, links followed inside the root; undefined when there is nothing. */
export function follow(
  root: RootReader,
  path: string,
  cwd = '/',
): { readonly path: string; readonly node: RootNode } | undefined {
  const at: string[] = []
  let node: RootNode = { kind: 'directory' }
  const left = (path.startsWith('/') ? path : `${cwd}/${path}`).split('/')
  let links = 0
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    if (part === '' || part === '.') continue
    if (node.kind !== 'directory') return undefined
    if (part === '..') {
      at.pop()
      continue
    }
    const next = root(`/${[...at, part].join('/')}`)
    if (next === undefined) return undefined
    if (next.kind === 'link') {
      if (++links > MAX_LINKS || next.target.length > 4096) return undefined
      if (next.target.startsWith('/')) at.length = 0
      left.unshift(...next.target.split('/'))
    } else {
      at.push(part)
      node = next
    }
  }
  return { path: `/${at.join('/')}`, node }
}

/**
 * A root that lies in directories of this machine, the uppermost first: the upper directory of an overlay and its lower ones.
 * Whiteouts hide what is below; that a directory is opaque is not looked at.
 */
export function directoriesRoot(directories: readonly string[]): RootReader {
  return path => {
    for (const directory of directories) {
      const node = nodeAt(directory, path)
      if (node === 'whiteout') return undefined
      if (node !== undefined) return node
    }
    return undefined
  }
}

function nodeAt(directory: string, path: string): RootNode | 'whiteout' | undefined {
  const parts = path.split('/').filter(Boolean)
  let at = directory
  for (const [i, part] of parts.entries()) {
    at = join(at, part)
    const stat = lstatSync(at, { throwIfNoEntry: false })
    if (stat === undefined) return undefined
    if (stat.isCharacterDevice()) return stat.rdev === 0 ? 'whiteout' : undefined
    const last = i === parts.length - 1
    if (stat.isDirectory() && !last) continue
    if (stat.isDirectory()) return { kind: 'directory' }
    // A file or a link hides the directory that a lower one has there.
    if (!last) return 'whiteout'
    if (stat.isSymbolicLink()) return { kind: 'link', target: readlinkSync(at) }
    if (!stat.isFile()) return undefined
    const file = at
    return { kind: 'file', executable: (stat.mode & 0o111) !== 0, use: work => withFile(file, work) }
  }
  return { kind: 'directory' }
}

function withFile<T>(path: string, work: (bytes: Bytes) => T): T {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    return work(fileBytes(fd, fstatSync(fd).size))
  } finally {
    closeSync(fd)
  }
}
