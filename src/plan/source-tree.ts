import { ArchimageError } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import type { Tree } from '../layer/tree.ts'
import type { Digest } from '../oci/digest.ts'

/**
 * What files are copied from: the build context, or the root filesystem of a stage or image. Paths have no leading slash,
 * the root is ''. Lookups do not follow links.
 */
export interface SourceTree {
  lookup(path: string): Entry | undefined
  /** Names in a directory, in byte order. */
  list(path: string): readonly string[]
  /** sha256 of a file's bytes, when the entry does not carry it. */
  digest(path: string): Digest
  /** "the build context", "stage build": for messages. */
  readonly name: string
  /** A folder that BuildKit would have to transfer: it sends what the patterns of sources match. */
  readonly transferred?: boolean
}

/** A tree of entries, of an image or an archive, as something to copy from; its files carry their digests. */
export function treeSource(tree: Tree, name: string): SourceTree {
  return {
    name,
    lookup: path => (path === '' ? tree.root : tree.lookup(path)),
    list: path => tree.list(path),
    digest: path => {
      throw new Error(`/${path} in ${name} has no digest`)
    },
  }
}

const MAX_LINKS = 255

/**
 * Follows links as a kernel would in a chroot at `root`: absolute ones start at the root, `..` stops there. Parts that do
 * not exist stay as they are named. Throws CONTEXT_INVALID on a circle of links.
 */
export function resolveLinks(
  tree: Pick<SourceTree, 'lookup'>,
  path: string,
  options: { readonly followLast?: boolean; readonly root?: string } = {},
): { readonly path: string; readonly entry: Entry | undefined } {
  const root = options.root ? options.root.split('/').filter(Boolean) : []
  const pending = path.split('/').filter(part => part !== '' && part !== '.')
  let at: string[] = [...root]
  let links = 0
  let entry = tree.lookup(at.join('/'))
  while (pending.length > 0) {
    const part = pending.shift()!
    if (part === '..') {
      if (at.length > root.length) at.pop()
      entry = tree.lookup(at.join('/'))
      continue
    }
    const next = [...at, part]
    entry = tree.lookup(next.join('/'))
    if (entry?.type === 'symlink' && (pending.length > 0 || options.followLast !== false)) {
      if (++links > MAX_LINKS)
        throw new ArchimageError('CONTEXT_INVALID', `/${path}: too many links, they lead in a circle`)
      const target = entry.link ?? ''
      if (target.startsWith('/')) at = [...root]
      pending.unshift(...target.split('/').filter(piece => piece !== '' && piece !== '.'))
      entry = tree.lookup(at.join('/'))
      continue
    }
    at = next
  }
  return { path: at.join('/'), entry }
}
