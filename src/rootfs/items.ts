import { applyLayer } from '../layer/apply.ts'
import type { LayerIndex } from '../layer/index.ts'
import type { Tree } from '../layer/tree.ts'
import type { LayerItem } from '../layer/write.ts'
import { comparePaths } from '../tar/path-bytes.ts'

/**
 * Whether a layer becomes the same directory whatever is below it (DESIGN §4): every entry stands in a directory that the layer
 * itself brought before, no hard link leaves it, nothing is replaced by something else, nothing is hidden.
 */
export function standsAlone(index: LayerIndex): boolean {
  const seen = new Map<string, string>([['', 'dir']])
  for (const { path, kind, entry, link } of index.entries) {
    if (kind !== 'entry') return false
    if (path === '') continue
    const type = entry?.type ?? 'link'
    if (seen.get(parentOf(path)) !== 'dir' || (seen.get(path) ?? type) !== type) return false
    if (link !== undefined && (seen.get(link) ?? 'dir') === 'dir') return false
    seen.set(path, type)
  }
  return true
}

export const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/**
 * What a layer changes in the tree below it, as an overlay's directory has to hold it: entries with all their parents (those that
 * the layer implies have what is said of them below), whiteouts and opaque directories, parents first. Nothing hides what is not
 * there: overlayfs would show such a whiteout. Throws as applyLayer does; `below` stays as it is.
 */
export function overlayItems(index: LayerIndex, below: Tree): LayerItem[] {
  const after = below.fork()
  const touched = new Set<string>()
  applyLayer(after, index, touched)
  const paths = new Set<string>([''])
  for (const path of touched) for (let at = path; at !== '' && !paths.has(at); at = parentOf(at)) paths.add(at)
  const items: LayerItem[] = []
  /** Directories through which nothing from below is seen. */
  const covered = new Set<string>()
  for (const path of [...paths].sort(comparePaths)) {
    const entry = path === '' ? after.root : after.lookup(path)
    // gone again; its parent says so if it was there below
    if (entry === undefined) continue
    if (path !== '') items.push({ path, entry })
    if (entry.type !== 'dir') continue
    if (path !== '' && covered.has(parentOf(path))) covered.add(path)
    const hidden = covered.has(path)
    const before = hidden ? [] : below.list(path)
    const prefix = path === '' ? '' : `${path}/`
    const missing = before.filter(name => after.lookup(prefix + name) === undefined)
    const replaced = !hidden && before.length > 0 && missing.length === before.length
    if (replaced && path !== '') {
      items.push({ path, kind: 'opaque' })
      covered.add(path)
    } else for (const name of missing) items.push({ path: prefix + name, kind: 'whiteout' })
  }
  return items
}
