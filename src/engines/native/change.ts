import { ArchimageError } from '../../errors/error.ts'
import type { Entry } from '../../layer/entry.ts'
import type { Tree } from '../../layer/tree.ts'
import { resolveLinks } from '../../plan/source-tree.ts'
import { comparePaths } from '../../tar/path-bytes.ts'
import type { Owner } from './owner.ts'

export const ROOT: Owner = { uid: 0, gid: 0 }

/** A tree being changed by one instruction: remembers what was written, which becomes the layer. */
export class Change {
  readonly written = new Map<string, Entry>()
  readonly tree: Tree

  constructor(tree: Tree) {
    this.tree = tree
  }

  lookup(path: string): Entry | undefined {
    return path === '' ? this.tree.root : this.tree.lookup(path)
  }

  /** Writes an entry; what is below a directory that gives way to something else is gone. */
  put(path: string, entry: Entry): void {
    const before = this.lookup(path)
    if (before?.type === 'dir' && entry.type !== 'dir') this.forget(path)
    this.tree.put(path, entry)
    this.written.set(path, entry)
  }

  private forget(path: string): void {
    for (const other of this.written.keys()) if (other.startsWith(`${path}/`)) this.written.delete(other)
  }

  /** Follows links in `path` inside the root; parts that do not exist stay. */
  resolve(path: string, followLast = true): string {
    return resolveLinks(this, path, { followLast }).path
  }

  /**
   * mkdir -p: every directory that is missing gets mode and owner, and from a parent with the set-group-ID bit that bit and,
   * without an owner, its group (mkdir(2)). `path` must have its links followed.
   */
  makeDirectories(path: string, mode: number, owner: Owner | undefined): void {
    if (this.lookup(path)?.type === 'dir') return
    const parts = path.split('/').filter(Boolean)
    let above = this.tree.root
    for (let i = 1; i <= parts.length; i++) {
      const dir = parts.slice(0, i).join('/')
      const { path: real, entry } = resolveLinks(this, dir)
      if (entry?.type === 'dir') {
        above = entry
        continue
      }
      if (entry) throw new ArchimageError('STEP_FAILED', `/${dir} is not a directory, so nothing can be put below it`)
      const group = above.mode & 0o2000
      const made = { ...(owner ?? { uid: 0, gid: group === 0 ? 0 : above.gid }), mode: mode | group }
      above = { type: 'dir', ...made, size: 0, mtime: 0 }
      this.put(real, above)
    }
  }

  /**
   * The layer: everything written and, because docker and podman unpack each layer alone, each parent directory with what
   * the tree says of it (DESIGN §4). Sorted by the bytes of the paths, parents first. The root itself is left out.
   */
  entries(): { readonly path: string; readonly entry: Entry; readonly written: boolean }[] {
    const paths = new Set<string>()
    for (const path of this.written.keys()) {
      for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1))
        paths.add(path.slice(0, slash))
      if (path !== '') paths.add(path)
    }
    return [...paths].sort(comparePaths).map(path => {
      const own = this.written.get(path)
      return { path, entry: own ?? this.tree.lookup(path)!, written: own !== undefined }
    })
  }
}
