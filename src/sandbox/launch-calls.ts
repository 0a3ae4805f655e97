import { ALL_CAPABILITIES, CAPABILITIES, MASKED_PATHS, READONLY_PATHS, seccompProfile } from './confinement.ts'
import { DEVICE_LINKS, deviceSource, devicesFor } from './devices.ts'
import { CLONE, MS } from './kernel.ts'
import type { Call } from './launch-program.ts'
import { lstat } from './paths.ts'
import { seccompFilter } from './seccomp-filter.ts'
import { type Bind, environment, type Prepared, rlimits, SHM_SIZE } from './spec.ts'
import type { Step } from './step.ts'

// Errors after which a call does not count.
const [EPERM, ENOENT, EACCES, EBUSY, EEXIST, ENODEV, ENOTDIR, EINVAL, ELOOP] = [1, 2, 13, 16, 17, 19, 20, 22, 40]

const ATTRIBUTES: Readonly<Record<string, number>> = { ro: 1, nosuid: 2, nodev: 4, noexec: 8 }
const [AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE] = [-100, 0x1000, 0x8000]
const [O_PATH, O_CLOEXEC, O_WRONLY] = [0o10000000, 0o2000000, 1]
const S_IFREG = 0o100000
const COVERED = ['/proc', '/dev', '/sys']
/** The first that is free: 0 to 2 are the step's, 3 is for reports. */
const FIRST_FD = 4

const call = (name: string, ...args: Call['args']): Call => ({ name, args })
const mount = (source: string, target: string, type: string, flags: number, data = ''): Call =>
  call('mount', source, target, type, flags, data)

/** Opens files for the calls after it: numbers of descriptors are given out in order. */
class Descriptors {
  readonly calls: Call[] = []

  /** The number that the next one gets. */
  get next(): number {
    return FIRST_FD + this.calls.length
  }

  open(path: string): string {
    this.calls.push(call('openat', AT_FDCWD, path, O_PATH | O_CLOEXEC, 0))
    return `/proc/self/fd/${this.next - 1}`
  }
}

/** What the first process does: it enters the namespaces, and its child becomes the init of one. */
export function enterCalls(prepared: Prepared): Call[] {
  const { network, cgroups } = prepared
  const own = network === 'own'
  return [
    // Whatever archimage itself was given by its caller is not for a step.
    call('close_range', FIRST_FD, 2 ** 32 - 1, 0),
    ...cgroups.flatMap(directory => [
      call('openat', AT_FDCWD, `${directory}/cgroup.procs`, O_WRONLY | O_CLOEXEC, 0),
      call('write', FIRST_FD, '0', 1),
      call('close', FIRST_FD),
    ]),
    ...(typeof network === 'object'
      ? [
          call('openat', AT_FDCWD, network.path, O_CLOEXEC, 0),
          call('setns', FIRST_FD, CLONE.NEWNET),
          call('close', FIRST_FD),
        ]
      : []),
    call(
      'unshare',
      CLONE.NEWNS | CLONE.NEWUTS | CLONE.NEWIPC | CLONE.NEWPID | CLONE.NEWCGROUP | (own ? CLONE.NEWNET : 0),
    ),
    ...(own ? loopbackUp() : []),
    { ...call('clone', 17, 0, 0, 0, 0), fork: true },
  ]
}

function loopbackUp(): Call[] {
  const [AF_INET, SOCK_DGRAM, SIOCSIFFLAGS, UP_AND_RUNNING] = [2, 2, 0x8914, 0x41]
  const request = Buffer.alloc(40)
  request.write('lo')
  request.writeUInt16LE(UP_AND_RUNNING, 16)
  return [
    call('socket', AF_INET, SOCK_DGRAM, 0),
    call('ioctl', FIRST_FD, SIOCSIFFLAGS, request),
    call('close', FIRST_FD),
  ]
}

/** All that is done for a step where no namespace can be made. */
export function chrootCalls(step: Step, prepared: Prepared): Call[] {
  const [PR_SET_PDEATHSIG, SIGKILL] = [1, 9]
  return [
    call('close_range', FIRST_FD, 2 ** 32 - 1, 0),
    call('prctl', PR_SET_PDEATHSIG, SIGKILL),
    call('setsid'),
    call('chdir', prepared.root),
    call('chroot', '.'),
    call('chdir', '/'),
    ...rlimits(step, prepared.openFiles).map(limitCall),
    call('umask', 0o022),
    call('chdir', step.cwd),
    // The container that we are in has a filter of its own, and may not let us take away more.
    ...confineCalls(step, prepared).map(one =>
      ['seccomp', 'prctl'].includes(one.name) ? { ...one, unless: [EPERM, EACCES, EINVAL] } : one,
    ),
    ...executeCalls(step, prepared),
  ]
}

/** What the child does: the root with all that is mounted in it, then confinement, then the command. */
export function stepCalls(step: Step, prepared: Prepared): Call[] {
  const files = new Descriptors()
  const oldRoot = files.open('/')
  const devices = devicesFor(step.insecure).map(name => ({
    name,
    file: files.open(deviceSource(prepared.devices, name)),
  }))
  const nothing = devices.find(one => one.name === 'null')!.file
  const binds = prepared.binds.map(bind => ({ ...bind, file: files.open(bind.source) }))
  const sys = sysCalls(step, prepared, files)
  const [PR_SET_PDEATHSIG, SIGKILL, DETACH] = [1, 9, 2]
  return [
    call('prctl', PR_SET_PDEATHSIG, SIGKILL),
    call('setsid'),
    call('umask', 0),
    mount('', '/', '', MS.REC | MS.PRIVATE),
    ...files.calls,
    call('chdir', prepared.root),
    // The old root lies on top of the new one until it is taken away; paths do not lead into it.
    call('pivot_root', '.', '.'),
    mount('proc', '/proc', 'proc', MS.NOSUID | MS.NODEV | MS.NOEXEC),
    ...deviceCalls(devices, step, prepared),
    ...sys,
    ...binds.flatMap((bind, i) => [
      ...placeCalls(bind, [...COVERED, ...binds.slice(0, i).map(({ target }) => target)], files.next),
      ...bindCalls(bind, files.next),
    ]),
    ...(step.insecure ? [] : hideCalls(nothing)),
    call('fchdir', descriptor(oldRoot)),
    call('umount2', '.', DETACH),
    call('chdir', '/'),
    // WORKDIR and the command may be /proc/self/fd/4/…, and in the image may be links to it.
    call('close_range', FIRST_FD, 2 ** 32 - 1, 0),
    call('sethostname', step.hostname, Buffer.byteLength(step.hostname)),
    ...rlimits(step, prepared.openFiles).map(limitCall),
    call('umask', 0o022),
    call('chdir', step.cwd),
    ...confineCalls(step, prepared),
    ...executeCalls(step, prepared),
  ]
}

function deviceCalls(devices: readonly { name: string; file: string }[], step: Step, prepared: Prepared): Call[] {
  const plain = MS.NOSUID | MS.NODEV | MS.NOEXEC
  const terminals = `newinstance,ptmxmode=0666,mode=0620${prepared.ttyGroup ? ',gid=5' : ''}`
  return [
    mount('tmpfs', '/dev', 'tmpfs', MS.NOSUID | (step.insecure ? 0 : MS.NODEV), 'mode=755,size=65536k'),
    ...devices.flatMap(({ name, file }) => [
      ...(name.includes('/') ? [call('mkdirat', AT_FDCWD, `/dev/${name.split('/')[0]}`, 0o755)] : []),
      call('mknodat', AT_FDCWD, `/dev/${name}`, S_IFREG | 0o600, 0),
      mount(file, `/dev/${name}`, '', MS.BIND),
    ]),
    ...DEVICE_LINKS.map(([name, target]) => call('symlinkat', target, AT_FDCWD, `/dev/${name}`)),
    ...['pts', 'shm', 'mqueue'].map(name => call('mkdirat', AT_FDCWD, `/dev/${name}`, 0o755)),
    mount('devpts', '/dev/pts', 'devpts', MS.NOSUID | MS.NOEXEC, terminals),
    mount('shm', '/dev/shm', 'tmpfs', plain, `mode=1777,size=${step.shmSize ?? SHM_SIZE}`),
    mount('mqueue', '/dev/mqueue', 'mqueue', plain),
  ]
}

function sysCalls(step: Step, prepared: Prepared, files: Descriptors): Call[] {
  const { network, rootless, cgroups, cgroups2, inRootCgroup } = prepared
  // In the root cgroup a step would see those of everybody.
  const shown = cgroups2 && (cgroups.length > 0 || !inRootCgroup)
  const plain = MS.NOSUID | MS.NODEV | MS.NOEXEC
  // In a user namespace sysfs can be mounted only by the owner of the network namespace: that of this machine is shown, without
  // the cgroups in it, which may belong to the user.
  if (rootless && network === undefined)
    return [
      mount(files.open('/sys'), '/sys', '', MS.BIND | MS.REC),
      mount('tmpfs', '/sys/fs/cgroup', 'tmpfs', plain, 'size=0'),
      ...(shown ? [cgroupsCall(plain)] : []),
      ...attributeCalls('/sys', ['ro', 'nosuid', 'nodev', 'noexec']),
    ]
  const access = plain | (step.insecure ? 0 : MS.RDONLY)
  return [mount('sysfs', '/sys', 'sysfs', access), ...(shown ? [cgroupsCall(access)] : [])]
}

/** What a JVM looks at to know its limits. Not worth more than a try. */
function cgroupsCall(flags: number): Call {
  return { ...mount('cgroup', '/sys/fs/cgroup', 'cgroup2', flags), unless: [EPERM, ENOENT, EBUSY, ENODEV, EINVAL] }
}

const descriptor = (path: string): number => Number(path.split('/').at(-1))

/**
 * Opens a path that the image, or a step that runs at the same time and shares a cache mount, may have put links into: not those of
 * /proc/self/fd, which lead to this machine.
 */
function openInRoot(path: string): Call {
  const RESOLVE_NO_MAGICLINKS = 2
  const how = Buffer.alloc(24)
  how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC))
  how.writeBigUInt64LE(BigInt(RESOLVE_NO_MAGICLINKS), 16)
  return call('openat2', AT_FDCWD, path, how, how.length)
}

/** Makes the place of a mount that lies in one made before it: what is there in the root is hidden by then. `free` is a descriptor. */
function placeCalls({ target, source }: Bind, mounted: readonly string[], free: number): Call[] {
  const above = mounted.findLast(one => target.startsWith(`${one.replace(/\/$/, '')}/`))
  if (above === undefined) return []
  const names = target.slice(above.length).split('/').filter(Boolean)
  return names.flatMap((name, i) => {
    const isFile = i === names.length - 1 && lstat(source)?.isDirectory() !== true
    const made = isFile ? call('mknodat', free, name, S_IFREG | 0o644, 0) : call('mkdirat', free, name, 0o755)
    return [openInRoot([above, ...names.slice(0, i)].join('/')), { ...made, unless: [EEXIST] }, call('close', free)]
  })
}

/** What it allows is settled before it has a place. */
function bindCalls({ target, file, options }: Bind & { readonly file: string }, free: number): Call[] {
  const [OPEN_TREE_CLONE, FROM_EMPTY_PATH, TO_EMPTY_PATH] = [1, 4, 0x40]
  return [
    call('open_tree', descriptor(file), '', OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE),
    ...attributeCalls('', options, free),
    openInRoot(target),
    call('move_mount', free, '', free + 1, '', FROM_EMPTY_PATH | TO_EMPTY_PATH),
    call('close', free),
    call('close', free + 1),
  ]
}

function attributeCalls(target: string, options: readonly string[], directory = AT_FDCWD): Call[] {
  const set = options.reduce((sum, option) => sum | ATTRIBUTES[option]!, 0)
  if (set === 0) return []
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(BigInt(set))
  return [call('mount_setattr', directory, target, AT_RECURSIVE | AT_EMPTY_PATH, attributes, attributes.length)]
}

function hideCalls(nothing: string): Call[] {
  const masks = MASKED_PATHS.flatMap(path => {
    const stat = lstat(path)
    if (stat === undefined) return []
    return [stat.isDirectory() ? mount('tmpfs', path, 'tmpfs', MS.RDONLY, 'size=0') : mount(nothing, path, '', MS.BIND)]
  })
  const readOnly = READONLY_PATHS.filter(path => lstat(path) !== undefined).flatMap(path => [
    mount(path, path, '', MS.BIND | MS.REC),
    ...attributeCalls(path, ['ro', 'nosuid', 'nodev', 'noexec']),
  ])
  // /sys is not there where it could not be mounted.
  return [...masks, ...readOnly].map(one => ({ ...one, unless: [ENOENT] }))
}

const LIMITS = `
  cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime
`
  .trim()
  .split(/\s+/)

function limitCall({
  type,
  soft,
  hard,
}: {
  readonly type: string
  readonly soft: number
  readonly hard: number
}): Call {
  const limit = Buffer.alloc(16)
  limit.writeBigUInt64LE(BigInt.asUintN(64, BigInt(soft)))
  limit.writeBigUInt64LE(BigInt.asUintN(64, BigInt(hard)), 8)
  return call('prlimit64', 0, LIMITS.indexOf(type.slice('RLIMIT_'.length).toLowerCase()), limit, 0)
}

/** As long as it has CAP_SYS_ADMIN a process needs no no_new_privs for a filter: su and sudo are to work in a step. */
function confineCalls(step: Step, { user, capabilities, groupsDenied }: Prepared): Call[] {
  const [PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_CAP_AMBIENT, RAISE, CLEAR_ALL, SET_MODE_FILTER] = [8, 24, 47, 2, 4, 1]
  const profile = step.insecure ? undefined : seccompProfile()
  const kept: readonly string[] = step.insecure ? capabilities : CAPABILITIES
  const groups = Buffer.alloc(user.groups.length * 4)
  for (const [i, gid] of user.groups.entries()) groups.writeUInt32LE(gid, i * 4)
  return [
    ...(profile === undefined ? [] : [call('seccomp', SET_MODE_FILTER, 0, filterProgram(seccompFilter(profile)))]),
    ...bits(name => !kept.includes(name)).map(bit => ({
      ...call('prctl', PR_CAPBSET_DROP, bit, 0, 0, 0),
      // A capability that this kernel does not have.
      unless: [EINVAL],
    })),
    call('prctl', PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0),
    ...(step.insecure ? [call('prctl', PR_SET_KEEPCAPS, 1, 0, 0, 0)] : []),
    { ...call('setgroups', user.groups.length, groups), unless: groupsDenied ? [EPERM] : [] },
    call('setresgid', user.gid, user.gid, user.gid),
    call('setresuid', user.uid, user.uid, user.uid),
    ...(step.insecure
      ? [
          capabilityCall(kept, kept),
          ...bits(name => kept.includes(name)).map(bit => call('prctl', PR_CAP_AMBIENT, RAISE, bit, 0, 0)),
        ]
      : [capabilityCall(user.uid === 0 ? kept : [], [])]),
  ]
}

function bits(which: (name: string) => boolean): number[] {
  return ALL_CAPABILITIES.flatMap((name, bit) => (which(name) ? [bit] : []))
}

/** struct __user_cap_data_struct: effective, permitted, inheritable, the lower 32 of each first. */
function capabilityCall(names: readonly string[], inheritable: readonly string[]): Call {
  const VERSION_3 = 0x20080522
  const data = Buffer.alloc(24)
  for (const [of, at] of [
    [names, 0],
    [names, 4],
    [inheritable, 8],
  ] as const)
    for (const bit of bits(name => of.includes(name))) {
      const word = at + (bit >> 5) * 12
      data.writeUInt32LE((data.readUInt32LE(word) | (1 << (bit & 31))) >>> 0, word)
    }
  return call('capset', Uint8Array.of(...[0, 8, 16, 24].map(shift => (VERSION_3 >> shift) & 255), 0, 0, 0, 0), data)
}

/** struct sock_fprog. */
const filterProgram = (filter: Uint8Array) => [filter.length / 8, filter] as const

/** Where the command is looked for, in this order: on PATH as execvp(3) does. */
export function commandFiles(step: Step, { user }: Prepared): readonly string[] {
  const [name] = step.args
  const path =
    environment(step.env, user.home)
      .findLast(one => one.startsWith('PATH='))
      ?.slice('PATH='.length) ?? ''
  return name!.includes('/') ? [name!] : path.split(':').map(folder => `${folder || '.'}/${name}`)
}

function executeCalls(step: Step, prepared: Prepared): Call[] {
  const env = environment(step.env, prepared.user.home)
  const files = commandFiles(step, prepared)
  const [args, variables] = [
    [...step.args, 0],
    [...env, 0],
  ]
  const [REPORTS, F_SETFD, FD_CLOEXEC] = [3, 2, 1]
  return [
    call('fcntl', REPORTS, F_SETFD, FD_CLOEXEC),
    ...files.map(file => ({ ...call('execve', file, args, variables), unless: [ENOENT, EACCES, ENOTDIR, ELOOP] })),
    call('exit_group', 127),
  ]
}
