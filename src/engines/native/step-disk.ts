import { statfsSync } from 'node:fs'
import { ArchimageError } from '../../errors/error.ts'
import { closeFd, listFd, openDir, openDirAt, statAt } from '../../sys/at.ts'

/** Milliseconds between looks at the disk. */
const PAUSE = 1000
/** A disk is nearly full when less than this part of it is free. */
const NEARLY_FULL = 0.03
/** Looking may take at most this part of the time. */
const SHARE = 0.05

export interface DiskWatchOptions {
  /** Where a step writes. */
  readonly directory: string
  /** Bytes that it may write; absent: as many as there is room for. */
  readonly limit?: number
  /** Told once, with the bytes that are left on the disk. */
  readonly nearlyFull: (left: number) => void
}

/** Looks from time to time at what a step writes, so that none fills the disk unnoticed. */
export class DiskWatch {
  readonly #options: DiskWatchOptions
  readonly #over = new AbortController()
  readonly #before: number
  #told = false
  #timer: ReturnType<typeof setTimeout>

  constructor(options: DiskWatchOptions) {
    this.#options = options
    // A copied root is there before the step begins.
    this.#before = options.limit === undefined ? 0 : allocatedIn(options.directory)
    this.#timer = this.#next(PAUSE)
  }

  /** Aborted with NO_SPACE when the step has written more than its limit. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** One look, now: what a short step wrote counts as well. */
  look(): void {
    const { directory, limit, nearlyFull } = this.#options
    const { bavail, blocks, bsize } = statfsSync(directory)
    if (!this.#told && bavail < blocks * NEARLY_FULL) {
      this.#told = true
      nearlyFull(bavail * bsize)
    }
    if (limit !== undefined && !this.#over.signal.aborted && allocatedIn(directory) - this.#before > limit)
      this.#over.abort(
        new ArchimageError('NO_SPACE', `the step wrote more than the store may keep (${limit / 1e9} GB)`, {
          hint: 'let it write less, for instance to a cache mount, or raise ARCHIMAGE_STORE_LIMIT',
        }),
      )
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #next(wait: number): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      const start = performance.now()
      this.look()
      this.#timer = this.#next(Math.max(PAUSE, (performance.now() - start) / SHARE))
    }, wait)
    timer.unref?.()
    return timer
  }
}

/** Less than this is nothing: file systems keep some for themselves. */
const NOTHING = 1 << 20

/** Whether there is no room, or no room for another file. Not every program that fails for that says so. */
export function isFull(directory: string): boolean {
  const { bfree, bsize, files, ffree } = statfsSync(directory)
  return bfree * bsize < NOTHING || (files > 0 && ffree === 0)
}

/** Bytes on the disk of a directory that somebody may be writing to: what goes away meanwhile does not count. */
function allocatedIn(path: string): number {
  const fd = openDir(path)
  try {
    return below(fd)
  } finally {
    closeFd(fd)
  }
}

function below(dir: number): number {
  let sum = 0
  for (const { name, type } of listFd(dir)) {
    if (type === 'dir') sum += ofDirectory(dir, name)
    else if (type === 'file') sum += statAt(dir, name)?.allocated ?? 0
  }
  return sum
}

function ofDirectory(dir: number, name: Buffer): number {
  let fd: number
  try {
    fd = openDirAt(dir, name)
  } catch {
    return 0
  }
  try {
    return below(fd)
  } finally {
    closeFd(fd)
  }
}
