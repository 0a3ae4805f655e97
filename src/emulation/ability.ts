import { readFileSync, readlinkSync } from 'node:fs'
import { formatPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'
import { hashHex } from '../sys/hash.ts'
import { BINFMT_MISC, type Binfmt, type Handler, handlersFor, readBinfmt, readTexts } from './binfmt.ts'
import { measure, type Outcome } from './measure.ts'
import { type ProbeProgram, probeProgram } from './probe-program.ts'
import { type Problem, whyNot } from './problem.ts'

/** Whether programs of a platform run inside images on this machine. */
export interface Ability {
  readonly how: 'native' | 'emulated' | 'no'
  /** What runs them (`emulated`), or would have to (`no`). Absent where the machine's handlers cannot be seen. */
  readonly handler?: Pick<Handler, 'name' | 'enabled' | 'interpreter' | 'flags'>
  /** Why not, and the remedy. */
  readonly problem?: Problem
}

/** Where abilities are remembered: `Records` of the store has this shape. */
export interface Memory {
  get<T>(kind: string, key: string): T | undefined
  put(kind: string, key: string, value: unknown): void
}

export interface ProbeOptions {
  /** Where binfmt_misc is mounted. */
  readonly mountPoint?: string
  readonly memory?: Memory
  /** Where the programs are written; the system's temporary directory by default. */
  readonly directory?: string
}

/** Raised when what is remembered would mean something else. */
const FORMAT = 1

/**
 * What each platform can do here, by its name (`formatPlatform`), measured by running a tiny program of it. What ran is
 * remembered until the machine restarts or its handlers change; what did not is tried again each time.
 */
export async function probePlatforms(
  platforms: readonly Platform[],
  options: ProbeOptions = {},
): Promise<Record<string, Ability>> {
  const key = options.memory && stateOf(options.mountPoint)
  const known = (key !== undefined && options.memory?.get<Record<string, Ability>>('emulation', key)) || {}
  const names = platforms.map(platform => formatPlatform(normalizePlatform(platform)))
  const unknown = platforms.filter((_, i) => !Object.hasOwn(known, names[i]!))
  const fresh = unknown.length === 0 ? {} : await probe(unknown, options)
  const ran = Object.entries(fresh).filter(([, ability]) => ability.how !== 'no')
  if (key !== undefined && ran.length > 0)
    options.memory?.put('emulation', key, { ...known, ...Object.fromEntries(ran) })
  return Object.fromEntries(names.map(name => [name, fresh[name] ?? known[name]!]))
}

async function probe(platforms: readonly Platform[], options: ProbeOptions): Promise<Record<string, Ability>> {
  const wanted = platforms.map(platform => {
    const normal = normalizePlatform(platform)
    return {
      name: formatPlatform(normal),
      platform: normal,
      program: process.platform === 'linux' ? probeProgram(normal) : undefined,
    }
  })
  const programs = unique(wanted.flatMap(({ program }) => program ?? []))
  const binfmt = readBinfmt(options.mountPoint)
  const foreign = programs.filter(
    ({ name, bytes }) => !ownArchitecture(name) || activeHandler(binfmt, bytes) !== undefined,
  )
  const [outcomes, elsewhere] = await Promise.all([
    measure(programs, options),
    measure(foreign, { ...options, elsewhere: true }),
  ])
  return Object.fromEntries(
    wanted.map(({ name, platform, program }) => {
      const seen = program && outcomes.get(program.name)!
      const other = program && elsewhere.get(program.name)
      return [name, judge(platform, program, seen, other, binfmt)]
    }),
  )
}

function judge(
  platform: Platform,
  program: ProbeProgram | undefined,
  outcome: Outcome | undefined,
  elsewhere: Outcome | undefined,
  binfmt: Binfmt,
): Ability {
  const fitting = program === undefined ? [] : handlersFor(binfmt, program.bytes)
  const active = program && activeHandler(binfmt, program.bytes)
  const handler = active ?? fitting[0]
  const emulated = active !== undefined || (program !== undefined && !ownArchitecture(program.name))
  const problem = whyNot({ platform, outcome, elsewhere, handler, emulated, binfmt })
  const { name, enabled, interpreter, flags } = handler ?? { name: '', enabled: false, interpreter: '', flags: '' }
  const shown = handler && { handler: { name, enabled, interpreter, flags } }
  if (problem !== undefined) return { how: 'no', ...shown, problem }
  return emulated ? { how: 'emulated', ...shown } : { how: 'native' }
}

function activeHandler(binfmt: Binfmt, head: Uint8Array): Handler | undefined {
  return binfmt.enabled ? handlersFor(binfmt, head).find(({ enabled }) => enabled) : undefined
}

/** What a kernel may run by itself on the CPU that runs this process: 32-bit programs of the same family too. */
const FAMILIES: Readonly<Record<string, readonly string[]>> = {
  x64: ['amd64', '386'],
  ia32: ['386'],
  arm64: ['arm64', 'arm'],
  arm: ['arm'],
  ppc64: ['ppc64le'],
  s390x: ['s390x'],
  riscv64: ['riscv64'],
  loong64: ['loong64'],
}

function ownArchitecture(program: string): boolean {
  return FAMILIES[process.arch]?.includes(program.split('/')[0]!) ?? false
}

function unique(programs: readonly ProbeProgram[]): ProbeProgram[] {
  return [...new Map(programs.map(program => [program.name, program])).values()]
}

/** A name for everything that an ability depends on: this start of the machine, our namespace, the handlers. */
function stateOf(mountPoint: string = BINFMT_MISC): string | undefined {
  try {
    const state = [
      FORMAT,
      process.arch,
      mountPoint,
      readFileSync('/proc/sys/kernel/random/boot_id', 'latin1'),
      readlinkSync('/proc/self/ns/user'),
      ...readTexts(mountPoint),
    ]
    return hashHex('sha256', Buffer.from(JSON.stringify(state)))
  } catch {
    return undefined
  }
}
