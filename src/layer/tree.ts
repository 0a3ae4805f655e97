import { ArchimageError } from '../errors/error.ts'
import { comparePaths } from '../tar/path-bytes.ts'
import type { Entry } from './entry.ts'

const DEFAULT_DIR: Entry = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0, size: 0 }
const MAX_LINKS = 255
/** PATH_MAX of Linux. Through links of a hostile layer paths get longer than any name in its tar. */
const MAX_PATH = 4096

/** A directory: its own entry and its children by key. Only the tree whose token it carries may change it. */
class Dir {
  readonly owner: object
  entry: Entry
  readonly children: Map<string, Child>
  sorted: readonly string[] | undefined

  constructor(owner: object, entry: Entry, children?: ReadonlyMap<string, Child>) {
    this.owner = owner
    this.entry = entry
    this.children = new Map(children)
  }
}

/** A name as it stands in the image (its key may be folded) with a directory, or the entry of anything else. */
interface Child {
  readonly name: string
  readonly node: Dir | Entry
}

const entryOf = (node: Dir | Entry): Entry => (node instanceof Dir ? node.entry : node)

/** What `resolve` found: where the links led, and the entry there, if any. */
export interface Resolved {
  readonly path: string
  readonly entry?: Entry
}

/**
 * A root filesystem as a tree of entries (DESIGN §4). `fork` is O(1): directories are shared until one side changes
 * them. Paths have no leading "/"; "" is the root.
 */
export class Tree {
  readonly caseInsensitive: boolean
  #owner: object = {}
  #root: Dir
  /** The directory that was written to last: entries mostly come directory by directory. */
  #last: { readonly path: string; readonly dir: Dir } | undefined

  constructor(options: { readonly caseInsensitive?: boolean } = {}) {
    this.caseInsensitive = options.caseInsensitive ?? false
    this.#root = new Dir(this.#owner, DEFAULT_DIR)
  }

  /** A tree with the same content that goes its own way from here. */
  fork(): Tree {
    const copy = new Tree({ caseInsensitive: this.caseInsensitive })
    copy.#root = this.#root
    this.#owner = {}
    this.#last = undefined
    return copy
  }

  get root(): Entry {
    return this.#root.entry
  }

  /** The entry at `path`, without following any link. */
  lookup(path: string): Entry | undefined {
    const node = this.#find(path)
    return node && entryOf(node)
  }

  /** Names in the directory at `path` in the order of their bytes; empty when there is no directory. */
  list(path: string): readonly string[] {
    const node = this.#find(path)
    return node instanceof Dir ? sortedNames(node) : []
  }

  /**
   * Puts an entry, making missing parents (0755, root), and returns what was there. A directory put over a directory
   * keeps the children; anything else replaces what was there. Follows no links: throws STEP_FAILED when a parent is not
   * a directory, or the path is longer than any on Linux.
   */
  put(path: string, entry: Entry): Entry | undefined {
    if (path === '') {
      if (entry.type !== 'dir') throw notDirectory('', '')
      const before = this.#root.entry
      this.#own('').entry = entry
      return before
    }
    if (path.length > MAX_PATH)
      throw new ArchimageError('STEP_FAILED', `/${path.slice(0, 100)}… has more than ${MAX_PATH} characters`)
    const slash = path.lastIndexOf('/')
    const dir = this.#own(slash < 0 ? '' : path.slice(0, slash))
    const name = path.slice(slash + 1)
    const key = this.#key(name)
    const child = dir.children.get(key)
    const before = child?.node
    if (child === undefined) dir.sorted = undefined
    const kept = child?.name ?? name
    if (entry.type !== 'dir') {
      if (before instanceof Dir) this.#last = undefined
      dir.children.set(key, { name: kept, node: entry })
      return before && entryOf(before)
    }
    if (!(before instanceof Dir)) {
      dir.children.set(key, { name: kept, node: new Dir(this.#owner, entry) })
      return before
    }
    const old = before.entry
    if (before.owner === this.#owner) before.entry = entry
    else dir.children.set(key, { name: kept, node: new Dir(this.#owner, entry, before.children) })
    return old
  }

  /** Removes what is at `path` with everything below it; false when there was nothing. The root cannot be removed. */
  remove(path: string): boolean {
    if (path === '' || this.#find(path) === undefined) return false
    const slash = path.lastIndexOf('/')
    const dir = this.#own(slash < 0 ? '' : path.slice(0, slash))
    dir.sorted = undefined
    this.#last = undefined
    return dir.children.delete(this.#key(path.slice(slash + 1)))
  }

  /**
   * Follows symbolic links as the kernel does in a chroot: absolute targets begin at the root, ".." stops there. From a
   * missing component on, the rest stays as it is named. `followLast` (default true) also follows a link at the very end.
   * Throws NOT_FOUND after 255 links.
   */
  resolve(path: string, options: { readonly followLast?: boolean } = {}): Resolved {
    const todo = path.split('/').reverse()
    const names: string[] = []
    const nodes: (Dir | Entry | undefined)[] = [this.#root]
    let links = 0
    while (todo.length > 0) {
      const part = todo.pop()!
      if (part === '' || part === '.') continue
      if (part === '..') {
        if (names.pop() !== undefined) nodes.pop()
        continue
      }
      const above = nodes[nodes.length - 1]
      const child = above instanceof Dir ? above.children.get(this.#key(part)) : undefined
      const node = child?.node
      // "link/" asks for the directory behind the link (path_resolution(7)); todo is then not empty
      const follow = todo.length > 0 || (options.followLast ?? true)
      if (node !== undefined && !(node instanceof Dir) && node.type === 'symlink' && follow) {
        if (++links > MAX_LINKS)
          throw new ArchimageError('NOT_FOUND', `/${path}: too many levels of symbolic links`, {
            hint: 'a link in the image leads back to itself',
          })
        const target = this.caseInsensitive ? node.link!.replaceAll('\\', '/').replace(/^[a-z]:/i, '') : node.link!
        if (target.startsWith('/')) {
          names.length = 0
          nodes.length = 1
        }
        for (const rest of target.split('/').reverse()) todo.push(rest)
        continue
      }
      names.push(child?.name ?? part)
      nodes.push(node)
    }
    const node = nodes[nodes.length - 1]
    return node === undefined ? { path: names.join('/') } : { path: names.join('/'), entry: entryOf(node) }
  }

  /** `path` and everything below it in the byte order of whole paths (`comparePaths`), so parents come first. */
  *walk(path = ''): Generator<{ readonly path: string; readonly entry: Entry }> {
    const node = this.#find(path)
    if (node === undefined) return
    yield { path, entry: entryOf(node) }
    if (node instanceof Dir) yield* walkDir(node, path === '' ? '' : `${path}/`)
  }

  #key(name: string): string {
    return this.caseInsensitive ? name.toLowerCase() : name
  }

  #find(path: string): Dir | Entry | undefined {
    let node: Dir | Entry | undefined = this.#root
    for (const part of split(path)) {
      if (!(node instanceof Dir)) return undefined
      node = node.children.get(this.#key(part))?.node
    }
    return node
  }

  /** The directory at `path` as this tree's own, copied or made where it is not. */
  #own(path: string): Dir {
    if (this.#last?.path === path) return this.#last.dir
    if (this.#root.owner !== this.#owner) this.#root = new Dir(this.#owner, this.#root.entry, this.#root.children)
    let dir = this.#root
    for (const part of split(path)) {
      const key = this.#key(part)
      const child = dir.children.get(key)
      let next = child?.node
      if (next === undefined) {
        next = new Dir(this.#owner, DEFAULT_DIR)
        dir.children.set(key, { name: part, node: next })
        dir.sorted = undefined
      } else if (!(next instanceof Dir)) throw notDirectory(path, part)
      else if (next.owner !== this.#owner) {
        next = new Dir(this.#owner, next.entry, next.children)
        dir.children.set(key, { name: child!.name, node: next })
      }
      dir = next
    }
    this.#last = { path, dir }
    return dir
  }
}

const split = (path: string): string[] => (path === '' ? [] : path.split('/'))

function notDirectory(path: string, part: string): ArchimageError {
  return new ArchimageError(
    'STEP_FAILED',
    `cannot write into /${path}: "${part || '/'}" is not a directory in the image`,
  )
}

function sortedNames(dir: Dir): readonly string[] {
  dir.sorted ??= Array.from(dir.children.values(), child => child.name).sort(comparePaths)
  return dir.sorted
}

/** Children and their contents: "a-b" comes between "a" and "a/b", so contents are sorted as if named "a/". */
function* walkDir(dir: Dir, prefix: string): Generator<{ readonly path: string; readonly entry: Entry }> {
  const items: { key: string; name: string; node: Dir | Entry; inside: boolean }[] = []
  for (const { name, node } of dir.children.values()) {
    items.push({ key: name, name, node, inside: false })
    if (node instanceof Dir && node.children.size > 0) items.push({ key: `${name}/`, name, node, inside: true })
  }
  items.sort((a, b) => comparePaths(a.key, b.key))
  for (const { name, node, inside } of items) {
    if (inside) yield* walkDir(node as Dir, `${prefix}${name}/`)
    else yield { path: prefix + name, entry: entryOf(node) }
  }
}
