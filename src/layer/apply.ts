import { ArchimageError } from '../errors/error.ts'
import type { Entry } from './entry.ts'
import type { LayerIndex, LayerRecord } from './index.ts'
import type { Tree } from './tree.ts'
import type { LayerItem } from './write.ts'

/** The file that hard links share, as the header of the newest one says. */
function linked(target: Entry, id: string, header: LayerRecord['inode']): Entry {
  if (header === undefined) return { ...target, inode: id }
  const { mode, uid, gid, mtime, xattrs } = header
  return {
    ...target,
    inode: id,
    mode: target.type === 'symlink' ? target.mode : mode,
    uid,
    gid,
    mtime,
    ...(xattrs && { xattrs: { ...target.xattrs, ...xattrs } }),
  }
}

/**
 * Changes `tree` as unpacking the layer over it would (image-spec, layer.md, applying changesets; details as containerd):
 * directories on the way are followed through links inside the root, directories merge, anything else is replaced,
 * whiteouts hide only what lower layers brought, the root's own entry is ignored. Throws TAR_INVALID for a hard link to
 * nothing or an entry below a file. `touched` gets the path of everything that was put or removed, also where another record
 * undid it.
 */
export function applyLayer(tree: Tree, index: LayerIndex, touched?: Set<string>): void {
  // what this layer brought, with the parents: whiteouts spare it, in whatever order they come
  const own = index.entries.some(record => record.kind !== 'entry') ? new Set<string>() : undefined
  const key = (path: string) => (tree.caseInsensitive ? path.toLowerCase() : path)
  const parents = new Map<string, string>()
  /** The names of each file that has several, as far as this layer made them. */
  const names = new Map<string, Set<string>>()
  const bad = (path: string, reason: string) =>
    new ArchimageError('TAR_INVALID', `layer ${index.diffId}: "${path}" ${reason}`)

  const placed = (path: string): string => {
    const slash = path.lastIndexOf('/')
    if (slash < 0) return path
    const dir = path.slice(0, slash)
    let found = parents.get(dir)
    if (found === undefined) {
      const { path: real, entry } = tree.resolve(dir)
      if (entry !== undefined && entry.type !== 'dir') throw bad(path, 'is below something that is not a directory')
      found = real
      parents.set(dir, found)
    }
    return found === '' ? path.slice(slash + 1) : found + path.slice(slash)
  }

  const put = (path: string, entry: Entry): void => {
    const before = tree.put(path, entry)
    touched?.add(path)
    // the way to places below may be another one now
    if (before !== undefined ? before.type !== entry.type : entry.type === 'symlink') parents.clear()
    if (own === undefined) return
    for (let at = key(path); at !== '' && !own.has(at); at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) own.add(at)
  }

  const hide = (path: string): void => {
    if (own?.has(key(path))) hideInside(path)
    else if (tree.remove(path)) touched?.add(path)
  }
  const hideInside = (path: string): void => {
    for (const name of tree.list(path)) hide(path === '' ? name : `${path}/${name}`)
  }

  for (const [number, { path, kind, entry, link, inode }] of index.entries.entries()) {
    if (kind === 'opaque') {
      hideInside(tree.resolve(path).path)
      parents.clear()
    } else if (kind === 'whiteout') {
      hide(placed(path))
      parents.clear()
    } else if (link !== undefined) {
      const from = placed(path)
      const to = placed(link)
      const target = tree.lookup(to)
      if (target === undefined) throw bad(path, `is a hard link to "${link}", which does not exist`)
      if (target.type === 'dir') throw bad(path, `is a hard link to the directory "${link}"`)
      const id = target.inode ?? `${index.diffId.slice(7, 23)}:${number}`
      const shared = linked(target, id, inode)
      const group = names.get(id) ?? new Set()
      names.set(id, group.add(to))
      for (const name of group)
        if (name === to || tree.lookup(name)?.inode === id) {
          tree.put(name, shared)
          touched?.add(name)
        }
      group.add(from)
      if (from !== to) put(from, shared)
    } else if (path !== '') {
      // a file may be called "constructor"
      const bytes = index.files && Object.hasOwn(index.files, path) ? index.files[path] : undefined
      put(placed(path), bytes === undefined ? entry! : { ...entry!, content: { kind: 'bytes', bytes } })
    }
  }
}

/**
 * Changes `tree` as a layer of these items does, which follow no links: what a whiteout names and what is in an opaque
 * directory goes, entries are put. Parents first, an opaque directory before what is in it.
 */
export function applyItems(tree: Tree, items: Iterable<LayerItem>): void {
  for (const { path, kind = 'entry', entry } of items)
    if (kind === 'whiteout') tree.remove(path)
    else if (kind === 'opaque') for (const name of tree.list(path)) tree.remove(path === '' ? name : `${path}/${name}`)
    else if (entry !== undefined && path !== '') tree.put(path, entry)
}
