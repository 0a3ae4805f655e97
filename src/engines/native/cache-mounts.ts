import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, renameSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { cancelled, systemError } from '../../errors/error.ts'
import type { RunMount } from '../../plan/lowered.ts'
import { makeDir, temporaryName, writeFileAtomic } from '../../sys/files.ts'
import { hashHex } from '../../sys/hash.ts'
import { type Lock, lockFile, sleep, waitForLock } from '../../sys/locks.ts'

export type CacheMount = RunMount & { readonly kind: 'cache' }

/** What a new directory begins with: `key` names it, `fill` puts it there. */
export interface Seed {
  readonly key: string
  readonly fill: (directory: string) => Promise<void>
}

/** A directory for one step, as long as the step runs. */
export interface CacheDirectory {
  readonly path: string
  release(): void
}

/** The description of a cache mount beside its directories, for people and for pruning. */
export const ABOUT = 'about.json'

/**
 * The directories of `RUN --mount=type=cache` below the store. Each id has one, or several where `sharing=private` wanted it;
 * mounts with another beginning or owner have others, as in BuildKit. Locks hold across processes and end with them.
 *
 *     mounts/<hash>/about.json   what it is
 *     mounts/<hash>/0/           the directory that steps see
 *     mounts/<hash>/0.lock       held by every step that uses it
 */
export class CacheMounts {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  /** Waits where `sharing=locked` and somebody else has it. Throws CANCELLED, NO_SPACE, PERMISSION. */
  async take(mount: CacheMount, seed: Seed | undefined, signal: AbortSignal): Promise<CacheDirectory> {
    const { id, sharing, owner } = mount
    const about = { id, ...(owner ? { owner } : {}), ...(seed ? { from: seed.key } : {}) }
    const folder = join(this.#root, hashHex('sha256', Buffer.from(JSON.stringify(about))).slice(0, 40))
    makeDir(this.#root, 0o700)
    makeDir(folder, 0o700)
    const mode = sharing === 'shared' ? 'shared' : 'exclusive'
    for (;;) {
      const numbers = instances(folder)
      for (const number of numbers) {
        const lock = lockFile(join(folder, `${number}.lock`), mode)
        if (lock !== undefined) return used(join(folder, String(number)), lock)
      }
      if (sharing === 'locked' && numbers.length > 0) await sleep(100, signal)
      else await this.#make(folder, numbers, mount, about, seed, signal)
      if (signal.aborted) throw cancelled(signal.reason)
    }
  }

  /** One more directory, unless somebody else has just made one. */
  async #make(
    folder: string,
    seen: readonly number[],
    { owner = { mode: 0o755, uid: 0, gid: 0 } }: CacheMount,
    about: unknown,
    seed: Seed | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const lock = await waitForLock(join(folder, 'making.lock'), 'exclusive', signal)
    try {
      if (instances(folder).length !== seen.length) return
      if (seen.length === 0) writeFileAtomic(join(folder, ABOUT), `${JSON.stringify(about)}\n`, 0o600)
      const made = join(folder, temporaryName())
      mkdirSync(made, { mode: 0o755 })
      await seed?.fill(made)
      if (owner.uid !== 0 || owner.gid !== 0) chownSync(made, owner.uid, owner.gid)
      if (seed === undefined || owner.mode !== 0o755) chmodSync(made, owner.mode & 0o7777)
      renameSync(made, join(folder, String((seen.at(-1) ?? -1) + 1)))
    } catch (error) {
      throw systemError(error, `making a cache mount in ${folder}`)
    } finally {
      lock.release()
    }
  }
}

function used(path: string, lock: Lock): CacheDirectory {
  const now = new Date()
  // What is pruned first is what was not used for longest.
  if (existsSync(join(path, '..', ABOUT))) utimesSync(join(path, '..', ABOUT), now, now)
  return { path, release: () => lock.release() }
}

function instances(folder: string): number[] {
  return readdirSync(folder)
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}
