import { createHash } from 'node:crypto'
import type { Context } from '../context/context.ts'
import type { Entry } from '../layer/entry.ts'
import type { Digest } from '../oci/digest.ts'
import type { CopyOp } from './lowered.ts'
import { remoteId } from './remote.ts'
import type { SourceTree } from './source-tree.ts'
import { findMounted, findSources, type SourceMatch } from './sources.ts'

export interface Found {
  readonly matches: readonly SourceMatch[]
  /** Over everything that the files contribute to an image: names, types, modes, links, bytes; times only when they count. */
  readonly digest: string
}

export interface FolderOptions {
  /** `git` makes every mode 644 or 755. */
  readonly modes: 'context' | 'git'
  readonly name?: string
  /** Seconds: the time of everything, instead of the files' own. */
  readonly mtime?: number
  /** False for what is no folder of the user's: see SourceTree. */
  readonly transferred?: boolean
}

/** A folder as a tree that COPY takes from. */
export function folderTree(context: Context, options: FolderOptions): SourceTree {
  const { modes, name = 'the build context', mtime, transferred = true } = options
  return {
    name,
    transferred,
    list: path => context.list(path),
    digest: path => context.digest(path),
    lookup(path) {
      const entry = context.lookup(path)
      if (!entry) return undefined
      const type = entry.type
      if (type === 'other') return undefined
      const mode =
        modes === 'git' && type !== 'symlink' ? (type === 'dir' || entry.mode & 0o111 ? 0o755 : 0o644) : entry.mode
      return {
        type,
        mode: type === 'symlink' ? 0o777 : mode,
        uid: 0,
        gid: 0,
        mtime: mtime ?? Math.floor(entry.mtime),
        size: type === 'file' ? entry.size : 0,
        ...(type === 'file' ? { content: { kind: 'host', path: context.path(path) } as const } : {}),
        ...(entry.link === undefined ? {} : { link: entry.link }),
        ...(entry.major === undefined ? {} : { major: entry.major, minor: entry.minor ?? 0 }),
        ...(entry.inode === undefined ? {} : { inode: entry.inode }),
        ...(entry.xattrs === undefined ? {} : { xattrs: entry.xattrs }),
      }
    },
  }
}

/** A tree with one file in it, a download, with the mode that BuildKit gives it. `path` is where its bytes are. */
export function fileTree(
  title: string,
  name: string,
  file: { readonly path: string; readonly digest: Digest; readonly size: number; readonly mtime: number },
): SourceTree {
  const { path: host, digest, size, mtime } = file
  const common = { uid: 0, gid: 0, mtime }
  const root: Entry = { type: 'dir', mode: 0o755, ...common, size: 0 }
  const entry: Entry = { type: 'file', mode: 0o600, ...common, size, digest, content: { kind: 'host', path: host } }
  return {
    name: title,
    lookup: path => (path === '' ? root : path === name ? entry : undefined),
    list: path => (path === '' ? [name] : []),
    digest: () => digest,
  }
}

/**
 * What COPY takes from besides stages and images, shared by all platforms of a service: what one instruction finds is
 * looked up and hashed once. With `times` the files' own times count.
 */
export class ContextView implements SourceTree {
  readonly name: string
  readonly transferred: boolean
  private readonly tree: SourceTree
  private readonly times: boolean
  private readonly found = new Map<string, Found>()

  constructor(tree: SourceTree, options: { readonly times: boolean }) {
    this.tree = tree
    this.name = tree.name
    this.transferred = tree.transferred ?? false
    this.times = options.times
  }

  lookup(path: string): Entry | undefined {
    return this.tree.lookup(path)
  }

  list(path: string): readonly string[] {
    return this.tree.list(path)
  }

  digest(path: string): Digest {
    return this.tree.digest(path)
  }

  find(op: CopyOp): Found {
    const key = JSON.stringify([op.sources, op.excludes, op.parents])
    let found = this.found.get(key)
    if (!found) {
      const matches = findSources(op, this.tree)
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

/** What the files of an op's sources are looked up in. */
export interface OpFiles {
  readonly context: ContextView
  /** Named contexts by their `path`, remote sources by `remoteId`. */
  readonly directories: ReadonlyMap<string, ContextView>
}

/** What the sources of a COPY or ADD from a context find, in their order. Throws what `findSources` throws. */
export function findIn(op: CopyOp, { context, directories }: OpFiles): readonly Found[] {
  const local = op.from.kind === 'directory' ? directories.get(op.from.path)! : context
  if (op.remotes === undefined) return op.sources.length === 0 ? [] : [local.find(op)]
  return op.sources.map(word => {
    const remote = op.remotes!.find(one => one.word === word)?.from
    if (remote === undefined) return local.find({ ...op, sources: [word] })
    const whole = directories.get(remoteId(remote))!.find({
      ...op,
      sources: ['/'],
      parents: false,
      excludes: remote.kind === 'http' ? [] : op.excludes,
    })
    const matches = whole.matches.map(
      (match): SourceMatch => ({
        ...(remote.kind === 'http' ? fileOf(match) : { ...match, whole: true }),
        unpack: remote.kind === 'http' && remote.unpack,
      }),
    )
    return { matches, digest: whole.digest }
  })
}

/** The one file of a download. */
function fileOf({ below }: SourceMatch): SourceMatch {
  const { path, entry } = below[0]!
  return { name: path, path, entry, below: [] }
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
    const owner = entry.uid === 0 && entry.gid === 0 ? '' : ` ${entry.uid}:${entry.gid}`
    const device = entry.major === undefined ? '' : `${entry.major}:${entry.minor}`
    lines.push(
      `${JSON.stringify(path)} ${entry.type} ${entry.mode} ${entry.digest ?? ''} ${JSON.stringify(entry.link ?? '')} ${group} ${xattrs} ${device} ${time} ${parentOnly}${owner}\n`,
    )
  }
  for (const match of matches) {
    add(match.name, match.entry, false)
    for (const { path, entry, parentOnly } of match.below) add(`${match.name}/${path}`, entry, parentOnly)
    lines.push('\n')
  }
  return createHash('sha256').update(lines.join('')).digest('hex')
}
