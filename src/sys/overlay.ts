import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { callError, errno, lazy, load } from './ffi.ts'
import { removeTree } from './remove-tree.ts'

export interface OverlayOptions {
  /** Absolute paths, the lowest first. A directory that is named twice counts where it is highest. */
  readonly lowers: readonly string[]
  /** Without it the mount is read-only. */
  readonly upper?: string
  /** An empty directory on the file system of `upper`. */
  readonly work?: string
  /** An existing directory. */
  readonly target: string
  /** Marks are `user.overlay.*` instead of `trusted.overlay.*`: the only way in a user namespace (Linux ≥ 5.11). */
  readonly userxattr: boolean
}

const SYS = { fsopen: 430, fsconfig: 431, fsmount: 432, moveMount: 429 }
const FSOPEN_CLOEXEC = 1
const FSMOUNT_CLOEXEC = 1
const [FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE] = [0, 1, 6]
const MOVE_MOUNT_F_EMPTY_PATH = 4
const [MS_RDONLY, MS_REMOUNT, MS_BIND] = [1, 32, 4096]
const MNT_DETACH = 2
const O_PATH_DIRECTORY = process.arch === 'arm64' ? 0o10000000 | 0o40000 : 0o10000000 | 0o200000
/** strndup_user's limit in fsconfig(2). */
const MAX_VALUE = 255
/** Mount options of mount(2) have one page. */
const MAX_DATA = 4095
/** OVL_MAX_STACK of the kernel. */
export const MAX_LOWERS = 500
const [EINVAL, ENOSYS, EPERM] = [22, 38, 1]

const calls = lazy(() => {
  const libc = load({
    mount: { args: ['ptr', 'ptr', 'ptr', 'u64', 'ptr'], returns: 'i32' },
    umount2: { args: ['ptr', 'i32'], returns: 'i32' },
    open: { args: ['ptr', 'i32', 'u32'], returns: 'i32' },
    close: { args: ['i32'], returns: 'i32' },
    chdir: { args: ['ptr'], returns: 'i32' },
    fchdir: { args: ['i32'], returns: 'i32' },
  } as const)
  const text = load({ syscall: { args: ['i64', 'ptr', 'i32'], returns: 'i32' } } as const)
  const config = load({ syscall: { args: ['i64', 'i32', 'i32', 'ptr', 'ptr', 'i32'], returns: 'i32' } } as const)
  const three = load({ syscall: { args: ['i64', 'i32', 'i32', 'i32'], returns: 'i32' } } as const)
  const move = load({ syscall: { args: ['i64', 'i32', 'ptr', 'i32', 'ptr', 'i32'], returns: 'i32' } } as const)
  if (process.platform !== 'linux' || !libc || !text || !config || !three || !move)
    throw callError('mount', 'overlay', ENOSYS)
  return {
    ...libc,
    fsopen: (name: Uint8Array) => text.syscall(SYS.fsopen, name, FSOPEN_CLOEXEC),
    fsconfig: (fd: number, command: number, key: Uint8Array | null, value: Uint8Array | null) =>
      config.syscall(SYS.fsconfig, fd, command, key, value, 0),
    fsmount: (fd: number) => three.syscall(SYS.fsmount, fd, FSMOUNT_CLOEXEC, 0),
    moveMount: (fd: number, target: Uint8Array) =>
      move.syscall(SYS.moveMount, fd, c(''), -100, target, MOVE_MOUNT_F_EMPTY_PATH),
  }
})

const c = (text: string): Buffer => {
  if (text.includes('\0')) throw new TypeError('a path holds a NUL byte')
  return Buffer.from(`${text}\0`)
}

/**
 * Mounts an overlay in this thread's mount namespace, with redirects, metacopy and index off: the upper directory then says all
 * by itself. Writes are not forced to the disk (`volatile`, where the kernel has it): an upper directory is either whole or thrown away. Up to 500
 * lower directories, however long their paths are: through fsconfig(2) one by one (Linux ≥ 6.7), else by short relative
 * names. Throws errors as those of node:fs; EINVAL where the file system of `upper` cannot be one.
 */
export function overlayMount(options: OverlayOptions): void {
  const { target, upper, work, userxattr } = options
  const lowers = [...new Set(options.lowers.toReversed())]
  if (lowers.length > MAX_LOWERS)
    throw callError(`mount of ${lowers.length} lower directories (at most ${MAX_LOWERS})`, target, EINVAL)
  if (upper === undefined && lowers.length === 1) {
    bindReadOnly(lowers[0]!, target)
    return
  }
  // with userxattr the kernel forces the other two, and takes no word about them
  const fixed = userxattr ? ['userxattr', 'index=off'] : ['redirect_dir=nofollow', 'metacopy=off', 'index=off']
  let result = EINVAL
  for (const rest of upper === undefined ? [fixed] : [[...fixed, 'volatile'], fixed])
    if (result === EINVAL) result = mountOnce({ lowers, upper, work }, target, rest)
  if (result !== 0) throw callError('mount overlay', target, result)
}

interface Places {
  readonly lowers: readonly string[]
  readonly upper: string | undefined
  readonly work: string | undefined
}

/** 0 or the errno. */
function mountOnce(places: Places, target: string, rest: readonly string[]): number {
  const all = [...places.lowers, places.upper ?? '', places.work ?? '']
  if (all.every(path => Buffer.byteLength(path) <= MAX_VALUE)) {
    const result = mountNew(places, target, rest)
    if (result === 0 || (result !== ENOSYS && result !== EINVAL && result !== EPERM)) return result
  }
  if (!all.some(path => /[:,\\"]/.test(path))) {
    const data = dataOf(places, rest)
    if (Buffer.byteLength(data) <= MAX_DATA) return mountOld(target, data)
  }
  return throughLinks(places, short => mountOld(target, dataOf(short, rest)))
}

/** fsopen(2) and its family. */
function mountNew({ lowers, upper, work }: Places, target: string, rest: readonly string[]): number {
  const { fsopen, fsconfig, fsmount, moveMount, close } = calls()
  const context = fsopen(c('overlay'))
  if (context < 0) return errno()
  let mount = -1
  try {
    const set = (key: string, value: string): number =>
      fsconfig(context, FSCONFIG_SET_STRING, c(key), c(value)) === 0 ? 0 : errno()
    const pairs = [
      ...lowers.map(lower => ['lowerdir+', lower] as const),
      ...(upper === undefined
        ? []
        : ([
            ['upperdir', upper],
            ['workdir', work!],
          ] as const)),
      ...rest.map(option => option.split('=') as [string, string?]),
    ]
    for (const [key, value] of pairs) {
      const result =
        value === undefined ? (fsconfig(context, FSCONFIG_SET_FLAG, c(key), null) === 0 ? 0 : errno()) : set(key, value)
      if (result !== 0) return result
    }
    if (fsconfig(context, FSCONFIG_CMD_CREATE, null, null) !== 0) return errno()
    mount = fsmount(context)
    if (mount < 0) return errno()
    return moveMount(mount, c(target)) === 0 ? 0 : errno()
  } finally {
    if (mount >= 0) close(mount)
    close(context)
  }
}

function dataOf({ lowers, upper, work }: Places, rest: readonly string[]): string {
  const dirs = upper === undefined ? [] : [`upperdir=${upper}`, `workdir=${work}`]
  return [`lowerdir=${lowers.join(':')}`, ...dirs, ...rest].join(',')
}

function mountOld(target: string, data: string): number {
  return calls().mount(c('overlay'), c(target), c('overlay'), 0, c(data)) === 0 ? 0 : errno()
}

/** One letter and a number for each directory, relative to a directory of links; links are followed once, by the mount. */
function throughLinks({ lowers, upper, work }: Places, mount: (places: Places) => number): number {
  const { open, close, chdir, fchdir } = calls()
  const links = mkdtempSync(join(tmpdir(), 'archimage-'))
  const before = open(c('.'), O_PATH_DIRECTORY, 0)
  try {
    const link = (path: string, name: string): string => {
      symlinkSync(path, join(links, name))
      return name
    }
    const places = {
      lowers: lowers.map((lower, i) => link(lower, i.toString(36))),
      upper: upper === undefined ? undefined : link(upper, '-u'),
      work: work === undefined ? undefined : link(work, '-w'),
    }
    if (chdir(c(links)) !== 0) return errno()
    return mount(places)
  } finally {
    if (before < 0 || fchdir(before) !== 0) chdir(c('/'))
    if (before >= 0) close(before)
    rmSync(links, { recursive: true })
  }
}

/** What a read-only overlay of one directory would be, which the kernel does not make. */
function bindReadOnly(source: string, target: string): void {
  const { mount } = calls()
  if (mount(c(source), c(target), null as never, MS_BIND, null as never) !== 0)
    throw callError('mount', target, errno())
  if (mount(null as never, c(target), null as never, MS_BIND | MS_REMOUNT | MS_RDONLY, null as never) === 0) return
  const number = errno()
  unmount(target)
  throw callError('mount', target, number)
}

/** Takes the mount at `target` away at once, also when something still uses it. */
export function unmount(target: string): void {
  if (calls().umount2(c(target), MNT_DETACH) !== 0) throw callError('umount', target, errno())
}

/**
 * Whether overlays work on the file system of `folder` (an existing directory in which a temporary one is made): mounts one,
 * replaces a file, deletes one and recreates a directory. Undefined when all of it is right, else what was wrong.
 */
export function overlayProblem(folder: string, userxattr: boolean): string | undefined {
  const dir = mkdtempSync(join(folder, 'overlay-'))
  const place = (name: string): string => join(dir, name)
  let mounted = false
  try {
    for (const name of ['lower', 'lower/d', 'upper', 'work', 'target']) mkdirSync(place(name))
    for (const name of ['a', 'b', 'd/c']) writeFileSync(place(`lower/${name}`), 'lower')
    const [lowers, upper, work, target] = [[place('lower')], place('upper'), place('work'), place('target')]
    overlayMount({ lowers, upper, work, target, userxattr })
    mounted = true
    writeFileSync(join(target, 'a'), 'upper')
    rmSync(join(target, 'b'))
    rmSync(join(target, 'd'), { recursive: true })
    mkdirSync(join(target, 'd'))
    unmount(target)
    mounted = false
    overlayMount({ lowers: [...lowers, upper], target, userxattr })
    mounted = true
    const is = (name: string): string => {
      try {
        return readFileSync(join(target, name), 'utf8')
      } catch {
        return ''
      }
    }
    return is('a') === 'upper' && is('b') === '' && is('d/c') === ''
      ? undefined
      : 'an overlay does not show what it should'
  } catch (error) {
    return (error as Error).message
  } finally {
    if (mounted) unmount(place('target'))
    removeTree(dir)
  }
}
