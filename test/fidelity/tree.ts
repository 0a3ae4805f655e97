import { createHash } from 'node:crypto'
import type { Entry } from './tar.ts'

/** A file, directory or whatever else at one or more paths of a flattened image. */
interface Inode {
  entry: Entry
}

/** A root filesystem as plain lines by path: what two builders must agree upon. Times are not part of it. */
export type Flat = ReadonlyMap<string, string>

/** Lays layers over each other as the image spec says (layer.md) and describes what results. */
export function flatten(layers: readonly (readonly Entry[])[]): Flat {
  const nodes = new Map<string, Inode>()
  for (const layer of layers) apply(nodes, layer)
  const names = new Map<Inode, string[]>()
  for (const [path, inode] of nodes) names.set(inode, [...(names.get(inode) ?? []), path])
  return new Map(
    [...nodes]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, inode]) => [path, describe(inode.entry, names.get(inode)!.toSorted())]),
  )
}

function apply(nodes: Map<string, Inode>, layer: readonly Entry[]): void {
  const own = new Set<string>()
  const remove = (path: string): void => {
    for (const other of [...nodes.keys()])
      if ((other === path || other.startsWith(`${path}/`)) && !own.has(other)) nodes.delete(other)
  }
  for (const entry of layer) {
    const slash = entry.path.lastIndexOf('/') + 1
    const dir = throughLinks(nodes, entry.path.slice(0, Math.max(0, slash - 1)))
    const base = entry.path.slice(slash)
    const path = dir === '' ? base : `${dir}/${base}`
    if (path === '') continue
    if (base === '.wh..wh..opq') {
      for (const other of [...nodes.keys()])
        if ((dir === '' || other.startsWith(`${dir}/`)) && !own.has(other)) nodes.delete(other)
      continue
    }
    if (base.startsWith('.wh..wh.')) continue
    if (base.startsWith('.wh.')) {
      remove(dir === '' ? base.slice(4) : `${dir}/${base.slice(4)}`)
      continue
    }
    for (let at = dir; at !== '' && !nodes.has(at); at = at.slice(0, Math.max(0, at.lastIndexOf('/'))))
      nodes.set(at, { entry: { path: at, type: 'dir', mode: 0o755, uid: 0, gid: 0 } })
    const before = nodes.get(path)
    if (before?.entry.type === 'dir' && entry.type !== 'dir')
      for (const other of [...nodes.keys()]) if (other.startsWith(`${path}/`)) nodes.delete(other)
    if (entry.type === 'hardlink') {
      const target = nodes.get(entry.link!)
      if (target === undefined) throw new Error(`${path}: hard link to ${entry.link}, which is not there`)
      // Owner, mode and attributes of a hard link's header become those of the file, as tools that unpack it do.
      const { mode, uid, gid, pax } = entry
      const own = { mode, uid, gid, pax: { ...target.entry.pax, ...pax } }
      target.entry = { ...target.entry, ...(own as Pick<Entry, 'mode'>) }
      nodes.set(path, target)
    } else nodes.set(path, { entry })
    own.add(path)
  }
}

/** Parents of an entry that lead through symbolic links, as an unpacking tool follows them inside the root. */
function throughLinks(nodes: ReadonlyMap<string, Inode>, dir: string): string {
  const todo = dir.split('/').filter(Boolean)
  let at: string[] = []
  for (let count = 0; todo.length > 0 && count < 1000; count++) {
    const part = todo.shift()!
    if (part === '..') at.pop()
    else if (part !== '.') {
      const entry = nodes.get([...at, part].join('/'))?.entry
      if (entry?.type === 'symlink') {
        if (entry.link!.startsWith('/')) at = []
        todo.unshift(...entry.link!.split('/').filter(Boolean))
      } else at.push(part)
    }
  }
  return at.join('/')
}

function describe(entry: Entry, names: readonly string[]): string {
  const { type, mode = 0, uid = 0, gid = 0, data, link, major, minor, pax = {} } = entry
  const kept = Object.entries(pax)
    .filter(([key]) => key.startsWith('SCHILY.xattr.') || key.startsWith('MSWINDOWS.'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value.toString('base64')}`)
  return [
    type,
    // A symbolic link has no mode; every tool writes 0777 or nothing.
    type === 'symlink' ? '' : (mode & 0o7777).toString(8).padStart(4, '0'),
    `${uid}:${gid}`,
    ...(data === undefined
      ? []
      : [`${data.length} bytes`, createHash('sha256').update(data).digest('hex').slice(0, 16)]),
    ...(link === undefined ? [] : [`-> ${link}`]),
    ...(major === undefined ? [] : [`device ${major}:${minor}`]),
    ...kept,
    ...(names.length > 1 ? [`= ${names.join(' = ')}`] : []),
  ]
    .filter(Boolean)
    .join(' ')
}
