import { closeFd, openDir, openDirAt } from '../sys/at.ts'
import { fsPath } from '../tar/path-bytes.ts'

/** Most directories that are open at one time. */
const MAX_OPEN = 64

/**
 * The directories below `root`, open: each is opened by its name in the one above and has to be a directory, so that no link
 * leads anywhere else, and of any depth. Throws errors as those of node:fs.
 */
export class OpenDirectories {
  readonly #root: number
  /** The one used longest ago first, as far as that matters. */
  readonly #open = new Map<string, number>()

  constructor(root: string) {
    this.#root = openDir(root)
  }

  /** Open until another one is asked for. */
  at(path: string): number {
    if (path === '') return this.#root
    const known = this.#open.get(path)
    if (known !== undefined) {
      if (this.#open.size > MAX_OPEN / 2) {
        this.#open.delete(path)
        this.#open.set(path, known)
      }
      return known
    }
    const slash = path.lastIndexOf('/')
    const parent = this.at(path.slice(0, Math.max(0, slash)))
    const fd = openDirAt(parent, fsPath(path.slice(slash + 1)))
    this.#open.set(path, fd)
    if (this.#open.size > MAX_OPEN) {
      const [oldest, old] = this.#open.entries().next().value!
      this.#open.delete(oldest)
      closeFd(old)
    }
    return fd
  }

  /** What is at `path` now is another directory, or none. */
  forget(path: string): void {
    for (const [open, fd] of this.#open)
      if (open === path || open.startsWith(`${path}/`)) {
        this.#open.delete(open)
        closeFd(fd)
      }
  }

  close(): void {
    for (const fd of this.#open.values()) closeFd(fd)
    this.#open.clear()
    closeFd(this.#root)
  }
}
