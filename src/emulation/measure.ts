import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runProgram } from '../sys/spawn.ts'
import { PROBE_EXIT, type ProbeProgram } from './probe-program.ts'

/** How a probe ended. */
export type Outcome =
  /** It ran; `level` counts from 0, and is that of x86-64 where the program tells it. */
  | { readonly ran: true; readonly level: number }
  /** It began and ended otherwise: the exit code, 128 + number for a signal. */
  | { readonly ran: false; readonly exit: number }
  /** The kernel refused it: ENOEXEC, ENOENT (no interpreter), EACCES … */
  | { readonly ran: false; readonly error: string }

/** 128 + SIGILL: the CPU, or the emulator, does not have an instruction of the program. */
export const ILLEGAL = 132
const TIMEOUT = 10_000

/** Runs each program once, all at the same time. `elsewhere`: in an empty root, where only a handler with the F flag works. */
export async function measure(
  programs: readonly ProbeProgram[],
  options: { readonly directory?: string | undefined; readonly elsewhere?: boolean } = {},
): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>()
  let left = programs
  // A directory may be mounted noexec: the next one then.
  for (const parent of [options.directory, tmpdir(), '/var/tmp', '/dev/shm']) {
    if (parent === undefined || left.length === 0) continue
    for (const [name, outcome] of await measureBelow(parent, left, options.elsewhere ?? false))
      outcomes.set(name, outcome)
    left = left.filter(({ name }) => {
      const outcome = outcomes.get(name)!
      return 'error' in outcome && outcome.error === 'EACCES'
    })
  }
  return outcomes
}

async function measureBelow(
  parent: string,
  programs: readonly ProbeProgram[],
  elsewhere: boolean,
): Promise<(readonly [string, Outcome])[]> {
  let folder: string
  try {
    folder = mkdtempSync(join(parent, 'archimage-probe-'))
  } catch {
    return programs.map(({ name }) => [name, { ran: false, error: 'EACCES' }])
  }
  try {
    for (const { name, bytes } of programs) {
      const root = join(folder, name.replace('/', '-'))
      mkdirSync(root)
      writeFileSync(join(root, 'probe'), bytes, { mode: 0o755 })
    }
    return await Promise.all(
      programs.map(async ({ name }) => [name, await run(join(folder, name.replace('/', '-')), elsewhere)] as const),
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function run(root: string, elsewhere: boolean): Promise<Outcome> {
  const [command, ...args] = elsewhere ? [...changeRoot(root), '/probe'] : [join(root, 'probe')]
  for (let attempt = 0; ; attempt++) {
    try {
      // Without an environment: QEMU_CPU and the like change what an emulator can do, and steps do not have them.
      const { code } = await runProgram(command!, args, { cwd: root, env: {}, timeout: TIMEOUT, limit: 4096 })
      if (code >= PROBE_EXIT && code <= PROBE_EXIT + 4) return { ran: true, level: code - PROBE_EXIT }
      // QEMU 5.2 sometimes crashes before it begins.
      if (code <= 128 || code === ILLEGAL || attempt > 1) return { ran: false, exit: code }
    } catch (error) {
      const { code = 'unknown' } = error as NodeJS.ErrnoException
      // Another thread was starting a program just when the file was open for writing.
      if (code !== 'ETXTBSY' || attempt > 20) return { ran: false, error: code }
      await sleep(5)
    }
  }
}

function changeRoot(root: string): string[] {
  return process.geteuid?.() === 0
    ? ['/usr/sbin/chroot', root]
    : ['/usr/bin/unshare', '--user', '--map-root-user', '--root', root]
}
