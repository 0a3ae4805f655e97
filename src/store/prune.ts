import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Digest } from '../oci/digest.ts'
import { removeFile } from '../sys/files.ts'
import { listBinaries, listFiles } from './binaries.ts'
import { blobPath, blobSize } from './blobs.ts'
import { NAMES } from './home.ts'
import { listMounts, removeMount } from './mounts.ts'
import { digestsIn, Reach } from './reach.ts'
import type { Records } from './records.ts'
import type { Refs } from './refs.ts'
import { listSnapshots, removeSnapshot, removeTemporary } from './snapshots.ts'
import { SOURCE } from './sources.ts'

const DAY = 86_400_000
/** Without a choice by the caller, what was not used for so long goes. */
const DEFAULT_AGE = 7 * DAY

/**
 * `images`: blobs of images that were built, tagged or loaded; `bases`: of images that were merely pulled; `layers`: blobs
 * that only records keep; `unused`: blobs that nothing keeps; `binaries`: layer indexes and the like; `snapshots`: layers
 * as real directories; `mounts`: those of `RUN --mount=type=cache`.
 */
export type Category =
  | 'images'
  | 'bases'
  | 'layers'
  | 'unused'
  | 'binaries'
  | 'tars'
  | 'snapshots'
  | 'mounts'
  | 'records'
  | 'temporary'

export interface Amount {
  readonly count: number
  readonly bytes: number
}

export interface Usage {
  readonly root: string
  readonly categories: readonly (Amount & { readonly category: Category; readonly reclaimable: number })[]
  readonly bytes: number
  /** What `prune({all: true})` would free. */
  readonly reclaimable: number
}

/** Something that can be forgotten; its blobs go when nothing else keeps them. */
export interface CacheItem {
  readonly category: 'bases' | 'records' | 'binaries' | 'tars' | 'snapshots' | 'mounts'
  /** A reference, the kind and key of a record, the kind of a binary record, a diff ID, the key of a snapshot, the id of a mount. */
  readonly name: string
  readonly kind: string
  /** Milliseconds since 1970, to the day. */
  readonly used: number
  /** Its own, without blobs. */
  readonly bytes: number
}

export interface PruneOptions {
  /** All that is not an image of one's own. */
  readonly all?: boolean
  /** Milliseconds since the last use. */
  readonly olderThan?: number
  /** Go on, least recently used first, until the cache (not the images) is at most so large. */
  readonly keepBytes?: number
  /** Only what it accepts. */
  readonly filter?: (item: CacheItem) => boolean
  /** Say what would go, and remove nothing. */
  readonly dryRun?: boolean
  /** Milliseconds to wait for other processes to end; 5000 when not given. */
  readonly wait?: number
}

export interface Pruned {
  readonly removed: readonly (Amount & { readonly category: Category })[]
  /** Names of pulled images that went. */
  readonly names: readonly string[]
  readonly bytes: number
}

export interface Parts {
  readonly root: string
  readonly refs: Refs
  readonly records: Records
}

interface Item extends CacheItem {
  readonly blobs: ReadonlySet<Digest>
  readonly remove: () => void
}

interface Survey {
  readonly items: readonly Item[]
  readonly images: ReadonlySet<Digest>
  /** Every blob that is there, with its size. */
  readonly blobs: ReadonlyMap<Digest, number>
  readonly temporary: readonly { readonly path: string; readonly bytes: number }[]
}

function survey({ root, refs, records }: Parts): Survey {
  const reach = new Reach(root)
  const images = new Set<Digest>()
  const all = refs.all()
  const pulled = new Set(all.filter(ref => ref.origin === 'pulled').map(ref => ref.name))
  for (const { digest, pulled } of refs.roots()) if (!pulled) reach.follow(digest, images)
  const bases = all
    .filter(ref => pulled.has(ref.name))
    .map(
      (ref): Item => ({
        category: 'bases',
        name: ref.name,
        kind: 'base',
        used: statSync(blobPath(root, ref.descriptor.digest), { throwIfNoEntry: false })?.mtimeMs ?? 0,
        bytes: 0,
        blobs: reach.follow(ref.descriptor.digest),
        remove: () => void refs.unset([ref.name]),
      }),
    )
  /** Where the rest of an image is: without it the image could not be pushed any more. */
  const needed = (kind: string, key: string): boolean =>
    kind === SOURCE && images.has(key as Digest) && blobSize(root, key as Digest) === undefined
  const forgettable = records.list().filter(({ kind, key }) => !needed(kind, key))
  const remembered = forgettable.map(({ kind, key, value, used, bytes }): Item => {
    const blobs = new Set<Digest>()
    for (const digest of digestsIn(JSON.stringify(value))) reach.follow(digest, blobs)
    const remove = (): void => records.delete(kind, key)
    return { category: 'records', name: `${kind} ${key}`, kind, used, bytes, blobs, remove }
  })
  const none = new Set<Digest>()
  const binaries = listBinaries(root).map(
    ({ path, kind, bytes, used }): Item => ({
      category: 'binaries',
      name: kind,
      kind,
      used,
      bytes,
      blobs: none,
      remove: () => void removeFile(path),
    }),
  )
  const tars = files(root, NAMES.tars).map(
    ({ digest, path, bytes, used }): Item => ({
      category: 'tars',
      name: digest,
      kind: 'tar',
      used,
      bytes,
      blobs: none,
      remove: () => void removeFile(path),
    }),
  )
  const snapshots = listSnapshots(root).map(
    ({ key, path, bytes, used }): Item => ({
      category: 'snapshots',
      name: key,
      kind: 'snapshot',
      used,
      bytes,
      blobs: none,
      remove: () => void removeSnapshot(root, path),
    }),
  )
  const mounts = listMounts(root).map(
    ({ id, path, bytes, used }): Item => ({
      category: 'mounts',
      name: id,
      kind: 'mount',
      used,
      bytes,
      blobs: none,
      remove: () => void removeMount(root, path),
    }),
  )
  return {
    // Tars first: they cost least to make again.
    items: [
      ...tars,
      ...[...bases, ...remembered, ...binaries, ...snapshots, ...mounts].sort((a, b) => a.used - b.used),
    ],
    images,
    blobs: new Map(files(root, NAMES.blobs).map(({ digest, bytes }) => [digest, bytes])),
    temporary: listFiles(join(root, NAMES.tmp)).map(({ path, stat }) => ({ path, bytes: stat.size })),
  }
}

/** Files named by digest: `blobs/sha256/…`, `tars/sha256/…`. Others are not ours to judge. */
function files(root: string, dir: string) {
  return [
    ['sha256', 64],
    ['sha512', 128],
  ].flatMap(([algorithm, length]) =>
    listFiles(join(root, dir, String(algorithm))).flatMap(({ name, path, stat }) =>
      name.length === length && /^[0-9a-f]+$/.test(name) && stat.isFile()
        ? [{ digest: `${algorithm}:${name}` as Digest, path, bytes: stat.size, used: stat.mtimeMs }]
        : [],
    ),
  )
}

/** How many items keep each blob that is no image's. */
function countKeepers(survey: Survey): Map<Digest, number> {
  const keepers = new Map<Digest, number>()
  for (const item of survey.items)
    for (const digest of item.blobs)
      if (!survey.images.has(digest) && survey.blobs.has(digest)) keepers.set(digest, (keepers.get(digest) ?? 0) + 1)
  return keepers
}

/** Forgets what `doomed` says, in order, then removes the blobs that nothing keeps. Wants the exclusive lock. */
function sweep(
  parts: Parts,
  found: Survey,
  doomed: readonly Item[],
  keepers: Map<Digest, number>,
  dry: boolean,
): Pruned {
  const amounts = new Map<Category, { count: number; bytes: number }>()
  const add = (category: Category, bytes: number): void => {
    const amount = amounts.get(category) ?? { count: 0, bytes: 0 }
    amounts.set(category, { count: amount.count + 1, bytes: amount.bytes + bytes })
  }
  // First what names blobs, then the blobs: killed in between, nothing names what is gone.
  const names = doomed.filter(item => item.category === 'bases').map(item => item.name)
  if (!dry) {
    parts.refs.unset(names)
    for (const item of doomed) if (item.category !== 'bases') item.remove()
    parts.records.flush()
  }
  for (const item of doomed) add(item.category, item.bytes)
  const ofBases = new Set(doomed.flatMap(item => (item.category === 'bases' ? [...item.blobs] : [])))
  const ofRecords = new Set(doomed.flatMap(item => (item.category === 'records' ? [...item.blobs] : [])))
  for (const [digest, bytes] of found.blobs) {
    if (found.images.has(digest) || keepers.has(digest)) continue
    if (!dry && !removeFile(blobPath(parts.root, digest)) && blobSize(parts.root, digest) !== undefined) continue
    add(ofBases.has(digest) ? 'bases' : ofRecords.has(digest) ? 'layers' : 'unused', bytes)
  }
  for (const { path, bytes } of found.temporary) if (dry || removeTemporary(path)) add('temporary', bytes)
  if (!dry && doomed.some(item => item.category === 'records')) parts.records.shrink()
  const removed = [...amounts].map(([category, amount]) => ({ category, ...amount }))
  return { removed, names, bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0) }
}

function forget(item: Item, keepers: Map<Digest, number>, blobs: ReadonlyMap<Digest, number>): number {
  let freed = item.bytes
  for (const digest of item.blobs) {
    const count = keepers.get(digest)
    if (count === undefined) continue
    if (count > 1) keepers.set(digest, count - 1)
    else {
      keepers.delete(digest)
      freed += blobs.get(digest) ?? 0
    }
  }
  return freed
}

/** Removes blobs that no name and no record keeps, leavings of killed processes; tars and snapshots not used for a week. */
export function collect(parts: Parts, dryRun = false): Pruned {
  const again = (item: Item): boolean => item.category === 'tars' || item.category === 'snapshots'
  return choose(parts, item => again(item) && Date.now() - item.used > DEFAULT_AGE, dryRun)
}

function choose(parts: Parts, goes: (item: Item) => boolean, dry: boolean): Pruned {
  const found = survey(parts)
  const keepers = countKeepers(found)
  const doomed = found.items.filter(goes)
  for (const item of doomed) forget(item, keepers, found.blobs)
  return sweep(parts, found, doomed, keepers, dry)
}

/**
 * Forgets part of the cache. Without `all`, `olderThan` and `keepBytes`: the tars, and what was not used for a week.
 * Images that were built, tagged or loaded always stay.
 */
export function prune(parts: Parts, options: PruneOptions): Pruned {
  const { all = false, olderThan, keepBytes, filter = () => true, dryRun = false } = options
  const byDefault = !all && olderThan === undefined && keepBytes === undefined
  const limit = Date.now() - (olderThan ?? DEFAULT_AGE)
  const fits = (item: Item): boolean =>
    filter(item) &&
    (all || (olderThan === undefined && !byDefault) || item.used < limit || (byDefault && item.category === 'tars'))
  if (keepBytes === undefined) return choose(parts, fits, dryRun)
  const found = survey(parts)
  const keepers = countKeepers(found)
  let size = found.items.reduce((sum, item) => sum + item.bytes, 0)
  for (const digest of keepers.keys()) size += found.blobs.get(digest) ?? 0
  const doomed: Item[] = []
  for (const item of found.items) {
    if (size <= keepBytes) break
    if (!fits(item)) continue
    size -= forget(item, keepers, found.blobs)
    doomed.push(item)
  }
  return sweep(parts, found, doomed, keepers, dryRun)
}

/** What lies in the store, for `cache du`. */
export function usage(parts: Parts): Usage {
  const found = survey(parts)
  const of = (category: CacheItem['category']): ReadonlySet<Digest> =>
    new Set(found.items.flatMap(item => (item.category === category ? [...item.blobs] : [])))
  const [bases, layers] = [of('bases'), of('records')]
  const sizes: Record<Category, { count: number; bytes: number }> = {
    images: { count: 0, bytes: 0 },
    bases: { count: 0, bytes: 0 },
    layers: { count: 0, bytes: 0 },
    unused: { count: 0, bytes: 0 },
    binaries: { count: 0, bytes: 0 },
    tars: { count: 0, bytes: 0 },
    snapshots: { count: 0, bytes: 0 },
    mounts: { count: 0, bytes: 0 },
    records: { count: 0, bytes: 0 },
    temporary: { count: 0, bytes: 0 },
  }
  const add = (category: Category, bytes: number): void => {
    sizes[category].count++
    sizes[category].bytes += bytes
  }
  for (const [digest, bytes] of found.blobs)
    add(
      found.images.has(digest) ? 'images' : bases.has(digest) ? 'bases' : layers.has(digest) ? 'layers' : 'unused',
      bytes,
    )
  for (const item of found.items) if (item.category !== 'bases') add(item.category, item.bytes)
  for (const { bytes } of found.temporary) add('temporary', bytes)
  const categories = Object.entries(sizes).map(([category, amount]) => ({
    category: category as Category,
    ...amount,
    reclaimable: category === 'images' ? 0 : amount.bytes,
  }))
  const total = categories.reduce((sum, { bytes }) => sum + bytes, 0)
  return { root: parts.root, categories, bytes: total, reclaimable: total - sizes.images.bytes }
}
