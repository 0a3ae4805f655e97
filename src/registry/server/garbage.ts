import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { type Digest, isDigest } from '../../oci/digest.ts'
import { lockFile } from '../../sys/locks.ts'
import { removeIfThere, statFile } from './absence.ts'
import type { Storage } from './storage.ts'

export interface GarbageOptions {
  /** Milliseconds; what was pushed, asked for or lost its tag within them stays. An hour. */
  readonly delay?: number
  /** Also removes manifests to which no tag leads, neither through an index nor as referrers of what stays. */
  readonly untagged?: boolean
  /** Says what would go, and removes nothing. */
  readonly dryRun?: boolean
  /** Ends it early, with an AbortError; what is left, the next one removes. */
  readonly signal?: AbortSignal
}

export interface Garbage {
  readonly manifests: number
  /** Blobs of repositories; a blob that two of them gave up counts twice. */
  readonly blobs: number
  /** That the disk has back. */
  readonly bytes: number
}

interface Tally {
  manifests: number
  blobs: number
  bytes: number
  /** How many of the names of a file are gone, by its inode. */
  readonly names: Map<number, number>
}

const HOUR = 3600_000
/** Times of files come from a clock of the kernel that may be some milliseconds late. */
const CLOCK = 1000
const DIGESTS = /sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})/g

/**
 * Removes what nobody can need any more, while this and other processes serve the folder. Whatever is relied on is made young
 * under a shared lock (Storage.steady): what a push asks for, mounts or names. So what was old when the search began, is
 * still old under the exclusive lock and was named by nothing that the search found, is needed by nobody. Undefined when
 * another collection is running.
 */
export async function collectGarbage(storage: Storage, options: GarbageOptions = {}): Promise<Garbage | undefined> {
  const only = lockFile(join(storage.dir, 'gc.lock'), 'exclusive')
  if (only === undefined) return undefined
  try {
    const before = Date.now() - Math.max(options.delay ?? HOUR, CLOCK)
    const tally: Tally = { manifests: 0, blobs: 0, bytes: 0, names: new Map() }
    for (const repository of storage.repositories())
      await collectRepository(storage, repository, before, options, tally)
    for (const { path } of storage.allBlobs()) {
      // No repository has it: what is left of a push that was killed.
      const stale = () => {
        const stat = statFile(path)
        return stat !== undefined && stat.nlink === 1 && stat.mtimeMs < before ? stat : undefined
      }
      const stat = stale()
      if (stat === undefined) continue
      await breathe(options.signal)
      if (options.dryRun || storage.alone(() => stale() !== undefined && removeIfThere(path))) tally.bytes += stat.size
    }
    const { manifests, blobs, bytes } = tally
    return { manifests, blobs, bytes }
  } finally {
    only.release()
  }
}

async function collectRepository(
  storage: Storage,
  repository: string,
  before: number,
  { untagged = false, dryRun = false, signal }: GarbageOptions,
  tally: Tally,
): Promise<void> {
  const isOld = (path: string): boolean => (statFile(path)?.mtimeMs ?? Number.POSITIVE_INFINITY) < before
  const manifests = new Map(storage.content(repository, 'manifests').map(({ digest, path }) => [digest, path]))
  /** All that stays: manifests, and every digest that stands anywhere in one of them. */
  const needed = new Set<Digest>()
  const need = async (digest: Digest): Promise<void> => {
    const queue = [digest]
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (needed.has(next)) continue
      needed.add(next)
      if (!manifests.has(next)) continue
      queue.push(...namedBy(storage, repository, next), ...storage.referrers(repository, next).map(r => r.digest))
      await breathe(signal)
    }
  }
  const tagged = (storage.tags(repository) ?? []).flatMap(tag => storage.tag(repository, tag) ?? [])
  const young = [...manifests].flatMap(([digest, path]) => (untagged && isOld(path) ? [] : [digest]))
  for (const digest of [...tagged, ...young]) await need(digest)

  for (const digest of topDown(
    storage,
    repository,
    [...manifests.keys()].filter(digest => !needed.has(digest)),
  )) {
    if (needed.has(digest)) continue
    const path = manifests.get(digest)!
    const gone = dryRun || storage.alone(() => isOld(path) && storage.deleteManifest(repository, digest))
    if (gone) tally.manifests++
    // Somebody asked for it since the search: then all that it names is needed too.
    else await need(digest)
  }
  for (const { digest, path } of storage.content(repository, 'blobs')) {
    if (needed.has(digest) || !isOld(path)) continue
    await breathe(signal)
    const stat = statFile(path)
    if (!dryRun && !storage.alone(() => isOld(path) && storage.deleteBlob(repository, digest))) continue
    tally.blobs++
    if (stat === undefined) continue
    const names = (tally.names.get(stat.ino) ?? 0) + 1
    tally.names.set(stat.ino, names)
    // Beside those of repositories there is the one below blobs/.
    if (stat.nlink <= (dryRun ? names + 1 : 2)) tally.bytes += stat.size
  }
  if (dryRun) return
  for (const { from, path } of storage.allReferrers(repository))
    if (isOld(path)) storage.alone(() => isOld(path) && !storage.manifest(repository, from) && removeIfThere(path))
}

/** Requests get their turn. */
async function breathe(signal: AbortSignal | undefined): Promise<void> {
  await setImmediate(undefined, signal ? { signal } : {})
}

/** Every digest in a manifest, also those in fields that we do not know: too much is kept rather than too little. */
function namedBy(storage: Storage, repository: string, digest: Digest): Digest[] {
  const bytes = storage.manifest(repository, digest)?.bytes
  if (bytes === undefined) return []
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  return [...(text.match(DIGESTS) ?? [])].filter(found => isDigest(found))
}

/** Indexes before what they name: an index that is spared at the last moment then still has everything. */
function topDown(storage: Storage, repository: string, digests: readonly Digest[]): Digest[] {
  const left = new Set(digests)
  const order: Digest[] = []
  const stack = digests.map(digest => ({ digest, done: false }))
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (next.done) order.push(next.digest)
    else if (left.delete(next.digest)) {
      stack.push({ digest: next.digest, done: true })
      for (const digest of namedBy(storage, repository, next.digest)) stack.push({ digest, done: false })
    }
  }
  return order.reverse()
}
