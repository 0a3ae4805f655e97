import { createHash } from 'node:crypto'
import type { Context } from '../context/context.ts'
import type { Entry } from '../layer/entry.ts'
import type { Digest } from '../oci/digest.ts'
import type { CopyOp } from './lowered.ts'
import type { SourceTree } from './source-tree.ts'
import { findMounted, findSources, type SourceMatch } from './sources.ts'

export interface Found {
  readonly matches: readonly SourceMatch[]
  /** Over everything that the files contribute to an image: names, types, modes, links, bytes; times only when they count. */
  readonly digest: string
}

/**
 * The build context as a tree that COPY takes from, shared by all platforms of a service: what one instruction finds is
 * looked up and hashed once. `modes: git` makes every mode 644 or 755; with `times` the files' own times count.
 */
export class ContextView implements SourceTree {
  readonly name = 'the build context'
  readonly transferred = true
  readonly context: Context
  private readonly modes: 'context' | 'git'
  private readonly times: boolean
  private readonly found = new Map<string, Found>()

  constructor(context: Context, options: { readonly modes: 'context' | 'git'; readonly times: boolean }) {
    this.context = context
    this.modes = options.modes
    this.times = options.times
  }

  lookup(path: string): Entry | undefined {
    const entry = this.context.lookup(path)
    if (!entry) return undefined
    const type = entry.type
    if (type === 'other') return undefined
    const mode =
      this.modes === 'git' && type !== 'symlink' ? (type === 'dir' || entry.mode & 0o111 ? 0o755 : 0o644) : entry.mode
    return {
      type,
      mode: type === 'symlink' ? 0o777 : mode,
      uid: 0,
      gid: 0,
      mtime: Math.floor(entry.mtime),
      size: type === 'file' ? entry.size : 0,
      ...(type === 'file' ? { content: { kind: 'host', path: this.context.path(path) } as const } : {}),
      ...(entry.link === undefined ? {} : { link: entry.link }),
      ...(entry.major === undefined ? {} : { major: entry.major, minor: entry.minor ?? 0 }),
      ...(entry.inode === undefined ? {} : { inode: entry.inode }),
      ...(entry.xattrs === undefined ? {} : { xattrs: entry.xattrs }),
    }
  }

  list(path: string): readonly string[] {
    return this.context.list(path)
  }

  digest(path: string): Digest {
    return this.context.digest(path)
  }

  find(op: CopyOp): Found {
    const key = JSON.stringify([op.sources, op.excludes, op.parents])
    let found = this.found.get(key)
    if (!found) {
      const matches = findSources(op, this)
      found = { matches, digest: digestOf(matches, this.times) }
      this.found.set(key, found)
    }
    return found
  }

  /** What a mount of `path` shows. Its times never count: what a step makes of them is its own business. */
  mounted(path: string): Found {
    let found = this.found.get(path)
    if (!found) {
      const matches = [findMounted(path, this)]
      found = { matches, digest: digestOf(matches, false) }
      this.found.set(path, found)
    }
    return found
  }
}

function digestOf(matches: readonly SourceMatch[], times: boolean): string {
  // One update for all lines: a call for each costs more than the hashing.
  const lines: string[] = []
  const inodes = new Map<string, number>()
  const add = (path: string, entry: Entry, parentOnly: boolean): void => {
    let group = ''
    if (entry.inode !== undefined) {
      if (!inodes.has(entry.inode)) inodes.set(entry.inode, inodes.size)
      group = String(inodes.get(entry.inode))
    }
    const xattrs = entry.xattrs ? JSON.stringify(Object.entries(entry.xattrs).sort()) : ''
    const time = times ? entry.mtime : ''
    const device = entry.major === undefined ? '' : `${entry.major}:${entry.minor}`
    lines.push(
      `${JSON.stringify(path)} ${entry.type} ${entry.mode} ${entry.digest ?? ''} ${JSON.stringify(entry.link ?? '')} ${group} ${xattrs} ${device} ${time} ${parentOnly}\n`,
    )
  }
  for (const match of matches) {
    add(match.name, match.entry, false)
    for (const { path, entry, parentOnly } of match.below) add(`${match.name}/${path}`, entry, parentOnly)
    lines.push('\n')
  }
  return createHash('sha256').update(lines.join('')).digest('hex')
}
