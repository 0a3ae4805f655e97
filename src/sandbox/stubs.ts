import { chmodSync, closeSync, lstatSync, mkdirSync, openSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimes } from '../sys/ffi.ts'
import { lstat, resolveInRoot } from './paths.ts'

/**
 * What has to be made in a root so that something can be mounted there. The step does not notice (the times of the directories
 * above stay), and `remove` takes away what is still as it was made: empty, at its place, reached without a link.
 */
export class Stubs {
  readonly #root: string
  readonly #made: string[] = []

  constructor(root: string) {
    this.#root = root
  }

  /** Makes what is missing of `path`; returns where it is on this machine, links followed within the root. */
  make(path: string, kind: 'file' | 'directory'): string {
    const real = resolveInRoot(this.#root, path)
    this.#make(real, kind)
    return real
  }

  #make(real: string, kind: 'file' | 'directory'): void {
    if (real === this.#root || lstat(real) !== undefined) return
    const parent = dirname(real)
    this.#make(parent, 'directory')
    keepingTimes(parent, () => {
      if (kind === 'file') return closeSync(openSync(real, 'wx', 0o644))
      mkdirSync(real)
      chmodSync(real, 0o755)
    })
    this.#made.push(real)
  }

  /** To be called when nothing runs in the root any more, and nothing is mounted in it. */
  remove(): void {
    for (const real of this.#made.reverse()) {
      const stat = isReachable(this.#root, real) ? lstat(real) : undefined
      if (stat?.isDirectory()) keepingTimes(dirname(real), () => removeEmpty(real))
      else if (stat?.isFile() && stat.size === 0) keepingTimes(dirname(real), () => unlinkSync(real))
    }
  }
}

/** Whether the way to a path below `root` leads through directories only: a step may have put links where they were. */
export function isReachable(root: string, real: string): boolean {
  for (let at = dirname(real); at !== root; at = dirname(at)) if (lstat(at)?.isDirectory() !== true) return false
  return true
}

/** Changes what is in a directory and not its times. */
export function keepingTimes(directory: string, change: () => void): void {
  const { mtimeNs } = lstatSync(directory, { bigint: true })
  change()
  const nanoseconds = ((mtimeNs % BILLION) + BILLION) % BILLION
  setTimes(directory, Number((mtimeNs - nanoseconds) / BILLION), Number(nanoseconds))
}

const BILLION = 1_000_000_000n

/** What the step put into it stays, and so does the directory. */
function removeEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}

const STUB_DIRECTORIES = ['proc', 'dev', 'sys', 'etc'] as const

/** Takes copies of directories of the stub layer out of an upper directory, where they are as they were and in no other layer. */
export function dropStubDirectories({
  lowers,
  upper,
}: {
  readonly lowers: readonly string[]
  readonly upper: string
}): void {
  for (const name of STUB_DIRECTORIES) {
    const stat = lstat(`${upper}/${name}`)
    if (!stat?.isDirectory() || (stat.mode & 0o7777) !== 0o755 || stat.uid !== 0 || stat.gid !== 0) continue
    if (!lowers.some(lower => lstat(`${lower}/${name}`) !== undefined)) removeEmpty(`${upper}/${name}`)
  }
}

/**
 * Makes what roots seldom have, and what steps' mounts stand on, as a layer below all of them: so it is there without being
 * written into an upper directory. On the disk of the snapshots: elsewhere st_dev of files would differ from their directories'.
 */
export function makeStubLayer(at: string): void {
  for (const name of ['', ...STUB_DIRECTORIES]) {
    mkdirSync(`${at}/${name}`)
    chmodSync(`${at}/${name}`, 0o755)
  }
  for (const name of ['hosts', 'resolv.conf']) {
    writeFileSync(`${at}/etc/${name}`, '')
    chmodSync(`${at}/etc/${name}`, 0o644)
  }
}
