import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { systemError } from '../errors/error.ts'
import { MS, mount } from '../sys/mount.ts'
import { ALL_CAPABILITIES } from './confinement.ts'
import { makeStubLayer } from './stubs.ts'
import { isUserNamespace } from './sub-ids.ts'

/** What all steps of a process have in common. */
export interface Surroundings {
  /** A directory in memory (on the disk where nothing can be mounted). */
  readonly memory: string
  /** One on the disk of the snapshots. */
  readonly scratch: string
  /** The lowest layer of all roots, see makeStubLayer. */
  readonly stubs: string
  /** Whether anything can be mounted: else steps are confined by chroot(2) alone. */
  readonly mounts: boolean
  /** How roots are made of layers. */
  readonly roots: 'overlay' | 'copy'
  /** In a user namespace. */
  readonly rootless: boolean
  /** In a user namespace of a single user: supplementary groups cannot be set. */
  readonly groupsDenied: boolean
  /** Whether group 5 (`tty`) exists in this user namespace. */
  readonly ttyGroup: boolean
  /** Whether this machine has its controllers in the unified hierarchy, and whether we are at the top of it. */
  readonly cgroups2: boolean
  readonly inRootCgroup: boolean
  /** The hard limit of open files here. */
  readonly openFiles: number
  /** All that this process has, for steps that are not confined. */
  readonly capabilities: readonly string[]
}

/** Looks around, and makes the directories of a sandbox below `directory`. */
export function lookAround(directory: string, mounts: boolean): Omit<Surroundings, 'roots'> {
  const [memory, scratch] = [`${directory}/memory`, `${directory}/scratch`]
  const stubs = `${scratch}/stubs`
  try {
    // What a killed run left.
    for (const path of [memory, scratch]) rmSync(path, { recursive: true, force: true })
    mkdirSync(memory, { recursive: true })
    chmodSync(memory, 0o700)
    mkdirSync(scratch)
    makeStubLayer(stubs)
    if (mounts) mount('tmpfs', memory, 'tmpfs', MS.NOSUID | MS.NODEV, 'mode=700')
  } catch (error) {
    throw systemError(error, `preparing ${directory} for steps`)
  }
  return {
    ...{ memory, scratch, stubs, mounts },
    rootless: isUserNamespace(),
    groupsDenied: read('/proc/self/setgroups').trim() === 'deny',
    ttyGroup: isMapped(read('/proc/self/gid_map'), 5),
    cgroups2: existsSync('/sys/fs/cgroup/cgroup.controllers'),
    inRootCgroup: /^0::\/$/m.test(read('/proc/self/cgroup')),
    openFiles: Number(/^Max open files +\d+ +(\d+)/m.exec(read('/proc/self/limits'))?.[1] ?? 1024),
    capabilities: capabilities(read('/proc/self/status')),
  }
}

const read = (path: string): string => readFileSync(path, 'utf8')

/** Whether a user namespace has an id, see user_namespaces(7). */
function isMapped(map: string, id: number): boolean {
  return map
    .trim()
    .split('\n')
    .map(line => line.trim().split(/\s+/).map(Number))
    .some(([first, , count]) => id >= first! && id < first! + count!)
}

function capabilities(status: string): string[] {
  const mask = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(status)?.[1] ?? '0'}`)
  return ALL_CAPABILITIES.filter((_, bit) => (mask & (1n << BigInt(bit))) !== 0n)
}
