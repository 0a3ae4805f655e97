import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { ArchimageError, cancelled, systemError } from '../errors/error.ts'
import { flock } from './ffi.ts'
import { temporaryName } from './files.ts'

export type LockMode = 'shared' | 'exclusive'

/** Held until `release`, or until the process ends in whatever way. */
export interface Lock {
  release(): void
}

/** Blocks the thread. */
export function sleepSync(milliseconds: number): void {
  Bun.sleepSync(milliseconds)
}

/**
 * Takes the lock that `path` stands for, many `shared` or one `exclusive`; undefined when others do not let go of it
 * within `wait` milliseconds (0: at once). Two locks in one process exclude each other as those of two processes do.
 */
export function lockFile(path: string, mode: LockMode, wait = 0): Lock | undefined {
  const end = performance.now() + wait
  for (let pause = 0.2; ; pause = Math.min(pause * 1.5, 20)) {
    const lock = tryFlock(path, mode) ?? tryPidLock(`${path}.d`, mode)
    if (lock !== 'held') return lock
    if (performance.now() >= end) return undefined
    sleepSync(pause * (0.5 + Math.random()))
  }
}

/** The same for locks that are held for long: waits without blocking the thread, until `signal` is aborted. */
export async function waitForLock(path: string, mode: LockMode, signal: AbortSignal): Promise<Lock> {
  for (let pause = 5; ; pause = Math.min(pause * 1.5, 200)) {
    if (signal.aborted) throw cancelled(signal.reason)
    const lock = lockFile(path, mode)
    if (lock !== undefined) return lock
    await sleep(pause, signal)
  }
}

/** Ends early when `signal` is aborted. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    signal.addEventListener('abort', end, { once: true })
  })
}

/** In folders from strangers a lock may be a pipe, whose opening would wait forever, or lead out of the folder. */
const { O_WRONLY, O_CREAT, O_APPEND, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = constants
const LOCK_FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOFOLLOW

/** Undefined where there is no flock(2). */
function tryFlock(path: string, mode: LockMode): Lock | 'held' | undefined {
  if (process.platform === 'win32') return undefined
  for (;;) {
    let fd: number
    try {
      fd = openSync(path, LOCK_FLAGS, 0o600)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ELOOP' || code === 'ENXIO')
        throw new ArchimageError('PERMISSION', `the lock ${path} is a link or a pipe`, {
          hint: 'remove it: archimage makes a file there',
        })
      throw systemError(error, `opening the lock ${path}`)
    }
    const got = flock(fd, mode)
    // Somebody may have removed the file meanwhile: then this lock is one that nobody else sees.
    const same = got === true && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino
    if (same) return { release: once(() => closeSync(fd)) }
    closeSync(fd)
    if (got !== true) return got === false ? 'held' : undefined
  }
}

/**
 * The way without flock (Windows, some network file systems): a directory with one file per holder, named after its
 * process. Each announces itself first and looks afterwards, so that of two at least one sees the other; files of
 * processes that are gone do not count.
 */
export function tryPidLock(dir: string, mode: LockMode): Lock | 'held' {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const mine = `${mode}-${temporaryName()}`
  const file = join(dir, mine)
  const fd = openSync(file, 'wx', 0o600)
  writeSync(fd, `${process.pid}\n`)
  closeSync(fd)
  const release = once(() => unlinkSync(file))
  for (const name of readdirSync(dir)) {
    const pid = Number(/^(?:shared|exclusive)-(\d+)-/.exec(name)?.[1])
    if (name === mine || Number.isNaN(pid)) continue
    if (mode === 'shared' && name.startsWith('shared-')) continue
    if (isAlive(pid)) {
      release()
      return 'held'
    }
    try {
      unlinkSync(join(dir, name))
    } catch {}
  }
  return { release }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    try {
      action()
    } catch {}
  }
}
