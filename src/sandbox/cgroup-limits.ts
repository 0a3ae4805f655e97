import type { StepLimits } from './step.ts'

/** Where cgroups are mounted: one hierarchy for all controllers, or one for each (cgroups(7)). */
export interface CgroupMounts {
  readonly unified?: string
  /** By the names of controllers. */
  readonly separate: Readonly<Record<string, string>>
}

/** A cgroup for one step. */
export interface CgroupPlan {
  readonly directory: string
  /** Controllers that the directory above has to hand down. */
  readonly controllers: readonly string[]
  /** In the order in which they are to be written. */
  readonly files: readonly (readonly [name: string, value: string])[]
}

/** Reads /proc/self/mountinfo. */
export function cgroupMounts(mountinfo: string): CgroupMounts {
  let unified: string | undefined
  const separate: Record<string, string> = {}
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ')
    const [type, , options] = right?.split(' ') ?? []
    const path = left!.split(' ')[4]!
    if (type === 'cgroup2') unified ??= path
    if (type === 'cgroup') for (const name of options!.split(',')) separate[name] ??= path
  }
  return { separate, ...(unified === undefined ? {} : { unified }) }
}

/**
 * Whether a process with this /proc/self/cgroup is at the top of the hierarchy of a controller, as far as it can see. Further down, what is
 * made at the top would take it out of the limits of the service, session or container that it belongs to.
 */
export function isAtTop(controller: string, mounts: CgroupMounts, cgroup: string): boolean {
  const isSeparate = mounts.separate[controller] !== undefined
  return cgroup.split('\n').some(line => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    return path === '/' && (isSeparate ? controllers!.split(',').includes(controller) : controllers === '')
  })
}

const DEFAULT_PERIOD = 100_000

/** The cgroups that `limits` ask for, each named `name`; none without limits. Undefined where a controller is missing. */
export function cgroupPlans(limits: StepLimits, mounts: CgroupMounts, name: string): CgroupPlan[] | undefined {
  const controllers = [
    ...(limits.memory === undefined && limits.memorySwap === undefined ? [] : ['memory']),
    ...(limits.cpuShares === undefined && limits.cpuQuota === undefined && limits.cpuPeriod === undefined
      ? []
      : ['cpu']),
    ...(limits.cpusetCpus === undefined && limits.cpusetMems === undefined ? [] : ['cpuset']),
    ...(limits.pids === undefined ? [] : ['pids']),
  ]
  if (controllers.length === 0) return []
  if (controllers.every(controller => mounts.separate[controller] !== undefined)) {
    const files = separateFiles(limits)
    return controllers.map(controller => ({
      directory: `${mounts.separate[controller]}/${name}`,
      controllers: [],
      files: files.filter(([file]) => file.startsWith(`${controller}.`)),
    }))
  }
  if (mounts.unified === undefined) return undefined
  return [{ directory: `${mounts.unified}/${name}`, controllers, files: unifiedFiles(limits) }]
}

function separateFiles(limits: StepLimits): [string, string][] {
  return present([
    ['memory.limit_in_bytes', limits.memory],
    ['memory.memsw.limit_in_bytes', limits.memorySwap],
    ['cpu.shares', limits.cpuShares],
    ['cpu.cfs_period_us', limits.cpuPeriod],
    ['cpu.cfs_quota_us', limits.cpuQuota],
    // Without both of them no process can be put into the cgroup; the caller gives those of the directory above.
    ['cpuset.cpus', limits.cpusetCpus ?? (limits.cpusetMems === undefined ? undefined : '')],
    ['cpuset.mems', limits.cpusetMems ?? (limits.cpusetCpus === undefined ? undefined : '')],
    ['pids.max', limits.pids],
  ])
}

function unifiedFiles(limits: StepLimits): [string, string][] {
  const { memory, memorySwap, cpuShares, cpuQuota, cpuPeriod } = limits
  // The old limit is for both together, the new one for swap alone.
  const swap = memorySwap === undefined ? undefined : memorySwap < 0 ? 'max' : Math.max(memorySwap - (memory ?? 0), 0)
  return present([
    ['memory.max', memory],
    ['memory.swap.max', swap],
    // From 2–262144 to 1–10000, as runtimes convert it.
    ['cpu.weight', cpuShares && 1 + Math.floor(((cpuShares - 2) * 9999) / 262_142)],
    [
      'cpu.max',
      cpuQuota === undefined && cpuPeriod === undefined
        ? undefined
        : `${cpuQuota === undefined || cpuQuota < 0 ? 'max' : cpuQuota} ${cpuPeriod ?? DEFAULT_PERIOD}`,
    ],
    ['cpuset.cpus', limits.cpusetCpus],
    ['cpuset.mems', limits.cpusetMems],
    ['pids.max', limits.pids],
  ])
}

function present(files: readonly (readonly [string, number | string | undefined])[]): [string, string][] {
  return files.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as [string, string]]))
}
