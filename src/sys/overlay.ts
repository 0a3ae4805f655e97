import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { callError, errno, lazy, load } from './ffi.ts'
import { MS, mount, unmount } from './mount.ts'
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
  /** Device nodes in it open nothing. */
  readonly nodev?: boolean
}

const SYS = { fsopen: 430, fsconfig: 431, fsmount: 432, moveMount: 429 }
const FSOPEN_CLOEXEC = 1
const FSMOUNT_CLOEXEC = 1
const [FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE] = [0, 1, 6]
const MOVE_MOUNT_F_EMPTY_PATH = 4
const MOUNT_ATTR_NODEV = 4
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
    fsmount: (fd: number, attributes: number) => three.syscall(SYS.fsmount, fd, FSMOUNT_CLOEXEC, attributes),
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
  const { target, upper, work, userxattr, nodev = false } = options
  const lowers = [...new Set(options.lowers.toReversed())]
  if (lowers.length > MAX_LOWERS)
    throw callError(`mount of ${lowers.length} lower directories (at most ${MAX_LOWERS})`, target, EINVAL)
  const place = { lowers, upper, work, target, nodev }
  if (upper === undefined && lowers.length === 1) {
    bindReadOnly(lowers[0]!, target, nodev)
    return
  }
  // with userxattr the kernel forces the other two, and takes no word about them
  const fixed = userxattr ? ['userxattr', 'index=off'] : ['redirect_dir=nofollow', 'metacopy=off', 'index=off']
  const attempts = upper === undefined ? [fixed] : [[...fixed, 'volatile'], fixed]
  let result = EINVAL
  for (const rest of attempts) if (result === EINVAL) result = mountOnce(place, rest)
  if (result !== 0) throw callError('mount overlay', target, result)
}

interface Place {
  /** The highest first. */
  readonly lowers: readonly string[]
  readonly upper: string | undefined
  readonly work: string | undefined
  readonly target: string
  readonly nodev: boolean
}

/** 0 or the errno. */
function mountOnce(place: Place, rest: readonly string[]): number {
  const all = [...place.lowers, place.upper ?? '', place.work ?? '']
  if (all.every(path => Buffer.byteLength(path) <= MAX_VALUE)) {
    const result = mountNew(place, rest)
    // a container's seccomp profile may know the old call only
    if (result !== ENOSYS && result !== EINVAL && result !== EPERM) return result
  }
  if (!all.some(path => /[:,\\"]/.test(path))) {
    const result = mountOld(place, rest)
    if (result !== undefined) return result
  }
  return throughLinks(place, short => mountOld(short, rest) ?? EINVAL)
}

/** fsopen(2) and its family. */
function mountNew({ lowers, upper, work, target, nodev }: Place, rest: readonly string[]): number {
  const { fsopen, fsconfig, fsmount, moveMount, close } = calls()
  const context = fsopen(c('overlay'))
  if (context < 0) return errno()
  let made = -1
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
    made = fsmount(context, nodev ? MOUNT_ATTR_NODEV : 0)
    if (made < 0) return errno()
    return moveMount(made, c(target)) === 0 ? 0 : errno()
  } finally {
    if (made >= 0) close(made)
    close(context)
  }
}

/** mount(2): 0 or the errno; undefined when its options do not fit into one page. */
function mountOld({ lowers, upper, work, target, nodev }: Place, rest: readonly string[]): number | undefined {
  const dirs = upper === undefined ? [] : [`upperdir=${upper}`, `workdir=${work}`]
  const data = [`lowerdir=${lowers.join(':')}`, ...dirs, ...rest].join(',')
  if (Buffer.byteLength(data) > MAX_DATA) return undefined
  try {
    mount('overlay', target, 'overlay', nodev ? MS.NODEV : 0, data)
    return 0
  } catch (error) {
    return (error as { errno: number }).errno
  }
}

/** Short names relative to a directory of links, which the mount follows once. */
function throughLinks(place: Place, act: (short: Place) => number): number {
  const { open, close, chdir, fchdir } = calls()
  const links = mkdtempSync(join(tmpdir(), 'archimage-'))
  const before = open(c('.'), O_PATH_DIRECTORY, 0)
  try {
    const link = (path: string | undefined, name: string): string => {
      if (path !== undefined) symlinkSync(path, join(links, name))
      return name
    }
    const short = {
      ...place,
      lowers: place.lowers.map((lower, i) => link(lower, i.toString(36))),
      upper: place.upper && link(place.upper, '-u'),
      work: place.work && link(place.work, '-w'),
      target: resolve(place.target),
    }
    if (chdir(c(links)) !== 0) return errno()
    return act(short)
  } finally {
    if (before < 0 || fchdir(before) !== 0) chdir(c('/'))
    if (before >= 0) close(before)
    rmSync(links, { recursive: true })
  }
}

/** What a read-only overlay of one directory would be, which the kernel does not make. */
function bindReadOnly(source: string, target: string, nodev: boolean): void {
  mount(source, target, '', MS.BIND)
  try {
    mount('', target, '', MS.BIND | MS.REMOUNT | MS.RDONLY | (nodev ? MS.NODEV : 0))
  } catch (error) {
    unmount(target)
    throw error
  }
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
