import { CAPABILITIES, MASKED_PATHS, READONLY_PATHS, seccompProfile } from './confinement.ts'
import type { Step } from './step.ts'
import type { StepUser } from './user.ts'

/** A part of the OCI runtime spec: what our steps need of it. */
export interface RuntimeSpec {
  readonly ociVersion: string
  readonly root: { readonly path: string; readonly readonly: boolean }
  readonly hostname: string
  readonly process: {
    readonly terminal: false
    readonly user: {
      readonly uid: number
      readonly gid: number
      readonly additionalGids: readonly number[]
      readonly umask: number
    }
    readonly args: readonly string[]
    readonly env: readonly string[]
    readonly cwd: string
    readonly capabilities: Readonly<Record<CapabilitySet, readonly string[]>>
    readonly rlimits: readonly { readonly type: string; readonly soft: number; readonly hard: number }[]
    readonly noNewPrivileges: false
  }
  readonly mounts: readonly SpecMount[]
  readonly linux: {
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[]
    readonly maskedPaths: readonly string[]
    readonly readonlyPaths: readonly string[]
    readonly seccomp?: unknown
    readonly resources?: unknown
    readonly cgroupsPath?: string
  }
}

type CapabilitySet = 'bounding' | 'permitted' | 'effective' | 'inheritable' | 'ambient'

export interface SpecMount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}

/** What was made or found out for a step before its spec is written. */
export interface Prepared {
  readonly root: string
  readonly user: StepUser
  /** The directory that /dev/null and its like are bound from. */
  readonly devices: string
  /** In the order in which they are to be mounted. */
  readonly binds: readonly Bind[]
  /** The file of the network namespace; `own` for one with nothing but loopback; undefined: that of this machine. */
  readonly network: { readonly path: string } | 'own' | undefined
  /** Directories of the cgroups that the step is to be in. */
  readonly cgroups: readonly string[]
  /** The hard limit of open files here. */
  readonly openFiles: number
  /** All that this process has, for steps that are not confined. */
  readonly capabilities: readonly string[]
  /** In a user namespace. */
  readonly rootless: boolean
  /** Whether this machine has its controllers in the unified hierarchy, and whether we are at the top of it. */
  readonly cgroups2: boolean
  readonly inRootCgroup: boolean
  /** Whether group 5 (`tty`) exists in this user namespace. */
  readonly ttyGroup: boolean
  /** In a user namespace of a single user: supplementary groups cannot be set. */
  readonly groupsDenied: boolean
}

/** A file or directory of this machine in the step. */
export interface Bind {
  readonly source: string
  readonly target: string
  /** Of the runtime spec: `ro`, `nodev` and the like. */
  readonly options: readonly string[]
}

/** The soft limit of services under systemd, and so of containers. */
const OPEN_FILES = 1024

/** The container of a step, confined as docker confines one; `devices` is its /dev. */
export function runtimeSpec(step: Step, prepared: Prepared, devices: string): RuntimeSpec {
  const { user, binds, network } = prepared
  const capabilities = step.insecure ? prepared.capabilities : CAPABILITIES
  const handed = step.insecure ? capabilities : []
  const seccomp = step.insecure ? undefined : seccompProfile()
  return {
    ociVersion: '1.0.2',
    root: { path: prepared.root, readonly: false },
    hostname: step.hostname,
    process: {
      terminal: false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.groups, umask: 0o022 },
      args: step.args,
      env: environment(step.env, user.home),
      cwd: step.cwd,
      capabilities: {
        bounding: capabilities,
        permitted: capabilities,
        effective: capabilities,
        inheritable: handed,
        ambient: handed,
      },
      rlimits: rlimits(step, prepared.openFiles),
      noNewPrivileges: false,
    },
    mounts: [
      ...systemMounts(step, prepared, devices),
      ...binds.map(bind => ({
        destination: bind.target,
        type: 'bind',
        source: bind.source,
        options: ['rbind', 'rprivate', ...bind.options],
      })),
    ],
    linux: {
      namespaces: [
        ...['pid', 'mount', 'ipc', 'uts'].map(type => ({ type })),
        ...(network === undefined ? [] : [{ type: 'network', ...(network === 'own' ? {} : network) }]),
      ],
      maskedPaths: step.insecure ? [] : MASKED_PATHS,
      readonlyPaths: step.insecure ? [] : READONLY_PATHS,
      ...(seccomp === undefined ? {} : { seccomp }),
    },
  }
}

export const SHM_SIZE = 64 << 20

function systemMounts(step: Step, { ttyGroup, network, rootless }: Prepared, devices: string): SpecMount[] {
  const plain = ['nosuid', 'noexec', 'nodev']
  const access = step.insecure ? [] : ['ro']
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: plain },
    { destination: '/dev', type: 'bind', source: devices, options: ['rbind', 'rprivate', 'nosuid', 'nodev'] },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', ...(ttyGroup ? ['gid=5'] : [])],
    },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...plain, 'mode=1777', `size=${step.shmSize ?? SHM_SIZE}`],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: plain },
    // In a user namespace, sysfs can be mounted only by the owner of the network namespace.
    ...(network === undefined && rootless
      ? [{ destination: '/sys', type: 'bind', source: '/sys', options: ['rbind', 'rprivate', ...plain, 'ro'] }]
      : [{ destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...plain, ...access] }]),
  ]
}

/** HOME is that of the user unless the image says another, as OCI runtimes have it. */
export function environment(env: readonly string[], home: string): readonly string[] {
  return env.some(one => one.startsWith('HOME=') && one !== 'HOME=') ? env : [...env, `HOME=${home}`]
}

export function rlimits(step: Step, openFiles: number) {
  const asked = step.ulimits.map(({ name, soft, hard }) => ({ type: `RLIMIT_${name.toUpperCase()}`, soft, hard }))
  if (asked.some(one => one.type === 'RLIMIT_NOFILE')) return asked
  return [...asked, { type: 'RLIMIT_NOFILE', soft: Math.min(OPEN_FILES, openFiles), hard: openFiles }]
}
