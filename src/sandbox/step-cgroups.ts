import { once } from 'node:events'
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { builtin } from '../sys/builtin.ts'
import { temporaryName } from '../sys/files.ts'
import { withMemoryProgram } from '../sys/memory-program.ts'
import { type CgroupPlan, cgroupMounts, cgroupPlans, isAtTop } from './cgroup-limits.ts'
import { type Call, launchProgram } from './launch-program.ts'
import type { StepLimits } from './step.ts'

/** The cgroups of one step. */
export interface StepCgroups {
  readonly directories: readonly string[]
  /** To be called when the step has ended. */
  close(): Promise<void>
}

/**
 * Makes the cgroups that the limits of a step ask for. Outside of all processes that end with this one a tiny program waits for
 * its end, or for `close`, and removes them. Throws SANDBOX_FAILED where this process may not limit anything.
 */
export function makeCgroups(limits: StepLimits): StepCgroups {
  const name = `archimage-${temporaryName().replace('.tmp', '')}`
  const plans = cgroupPlans(limits, cgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8')), name)
  if (plans === undefined) throw refusal('this machine has no cgroup controllers for it')
  const made: { readonly directory: string; readonly remove: () => Promise<void> }[] = []
  try {
    for (const plan of plans) {
      // Before it is there: a kill in between leaves nothing.
      made.push({ directory: plan.directory, remove: removeInTheEnd(plan.directory) })
      mkdirSync(plan.directory)
      write(plan)
    }
  } catch (error) {
    for (const { remove } of made) void remove()
    throw refusal((error as Error).message)
  }
  return {
    directories: made.map(({ directory }) => directory),
    close: async () => void (await Promise.all(made.map(({ remove }) => remove()))),
  }
}

/**
 * How many processes and threads all steps of a run may have together, so that one that starts them without end does not take the
 * machine with it: what systemd gives a service (DefaultTasksMax).
 */
function shareOfProcesses(): number {
  const limits = ['pid_max', 'threads-max'].map(name => Number(readFileSync(`/proc/sys/kernel/${name}`, 'utf8')))
  return Math.floor(Math.min(...limits) * 0.15)
}

/**
 * The cgroups for all that a run starts; none where this process may not limit anything: there its own limits hold (`ulimit -u`), and
 * where it belongs to a service, session or container that one's.
 */
export function makeRunCgroups(): StepCgroups & { readonly limits: StepLimits } {
  const none = { directories: [], limits: {}, close: () => Promise.resolve() }
  try {
    const mounts = cgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'))
    if (!isAtTop('pids', mounts, readFileSync('/proc/self/cgroup', 'utf8'))) return none
    const limits = { pids: shareOfProcesses() }
    return { ...makeCgroups(limits), limits }
  } catch {
    return none
  }
}

/** Puts this process, and what it will start, into a cgroup. */
export function enterCgroup(directory: string): void {
  // 0 is the process that writes.
  writeFileSync(`${directory}/cgroup.procs`, '0')
}

function refusal(why: string): ArchimageError {
  return new ArchimageError('SANDBOX_FAILED', `the memory, CPU or processes of a step cannot be limited: ${why}`, {
    hint: 'run archimage as root where /sys/fs/cgroup can be written to, or build without limits',
  })
}

function write({ directory, controllers, files }: CgroupPlan): void {
  const above = dirname(directory)
  if (controllers.length > 0)
    writeFileSync(`${above}/cgroup.subtree_control`, controllers.map(controller => `+${controller}`).join(' '))
  for (const [file, value] of files)
    writeFileSync(`${directory}/${file}`, value === '' ? readFileSync(`${above}/${file}`) : value)
}

/** Milliseconds between attempts, and how many: a process that is being killed keeps its cgroup. */
const [PAUSE, ATTEMPTS] = [5, 1000]

/** Starts the program that removes a directory when its standard input ends. */
function removeInTheEnd(directory: string): () => Promise<void> {
  const [AT_FDCWD, AT_REMOVEDIR, EBUSY, NANOSECONDS] = [-100, 0x200, 16, 1_000_000]
  // Once it is gone, the next attempt ends the program.
  const attempt: readonly Call[] = [
    { name: 'unlinkat', args: [AT_FDCWD, directory, AT_REMOVEDIR], unless: [EBUSY] },
    { name: 'nanosleep', args: [[0, PAUSE * NANOSECONDS], 0] },
  ]
  const program = launchProgram(
    [
      { name: 'setsid', args: [] },
      { name: 'read', args: [0, Buffer.alloc(8), 8] },
      ...Array.from({ length: ATTEMPTS }, () => attempt).flat(),
      { name: 'exit_group', args: [1] },
    ],
    [],
  )
  const child = withMemoryProgram(program.bytes, path =>
    builtin.childProcess.spawn(path, [], { stdio: ['pipe', 'ignore', 'ignore'], env: {}, cwd: '/' }),
  )
  child.unref()
  const ended = once(child, 'exit')
  return async () => {
    try {
      rmdirSync(directory)
    } catch {}
    child.stdin!.end()
    await ended
  }
}

/** How many processes of these cgroups the kernel has ended for want of memory. */
export function oomKills(directories: readonly string[]): number {
  return directories.reduce((sum, directory) => sum + killsIn(directory), 0)
}

function killsIn(directory: string): number {
  for (const file of ['memory.events', 'memory.oom_control']) {
    try {
      return Number(/^oom_kill (\d+)$/m.exec(readFileSync(`${directory}/${file}`, 'utf8'))?.[1] ?? 0)
    } catch {}
  }
  return 0
}
