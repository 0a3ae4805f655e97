import { systemError } from '../errors/error.ts'

/** A path for the kernel: a string (encoded as UTF-8), or the bytes when a name is not UTF-8. */
export type NativePath = string | Uint8Array

interface Libc {
  readonly flock: (fd: number, operation: number) => number
  readonly errno: () => number
}

interface LinuxLibc {
  readonly llistxattr: (path: Uint8Array, list: Uint8Array, size: number) => number
  readonly lgetxattr: (path: Uint8Array, name: Uint8Array, value: Uint8Array, size: number) => number
  readonly lsetxattr: (
    path: Uint8Array,
    name: Uint8Array,
    value: Uint8Array | null,
    size: number,
    flags: number,
  ) => number
  readonly mknod: (path: Uint8Array, mode: number, dev: bigint) => number
  readonly utimensat: (fd: number, path: Uint8Array, times: BigInt64Array, flags: number) => number
}

type Ffi = typeof import('bun:ffi')
type Symbols = Parameters<Ffi['dlopen']>[1]

/** Functions of libc; undefined where it lacks one of them. Loaded at the first call: most commands need none. */
export function load<const T extends Symbols>(symbols: T) {
  const { dlopen } = require('bun:ffi') as Ffi
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const names =
    process.platform === 'darwin'
      ? ['libSystem.B.dylib']
      : process.platform === 'linux'
        ? ['libc.so.6', `libc.musl-${machine}.so.1`]
        : []
  for (const name of names) {
    try {
      return dlopen(name, symbols).symbols
    } catch {}
  }
  return undefined
}

export function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

const libc = lazy((): Libc | undefined => {
  const flock = load({ flock: { args: ['i32', 'i32'], returns: 'i32' } } as const)?.flock
  const place =
    process.platform === 'darwin'
      ? load({ __error: { args: [], returns: 'ptr' } } as const)?.__error
      : load({ __errno_location: { args: [], returns: 'ptr' } } as const)?.__errno_location
  if (flock === undefined || place === undefined) return undefined
  const { read } = require('bun:ffi') as Ffi
  return { flock, errno: () => read.i32(place()!) }
})

const linux = lazy((): LinuxLibc | undefined => {
  if (process.platform !== 'linux') return undefined
  return load({
    llistxattr: { args: ['ptr', 'ptr', 'u64'], returns: 'i32' },
    lgetxattr: { args: ['ptr', 'ptr', 'ptr', 'u64'], returns: 'i32' },
    lsetxattr: { args: ['ptr', 'ptr', 'ptr', 'u64', 'i32'], returns: 'i32' },
    mknod: { args: ['ptr', 'u32', 'u64'], returns: 'i32' },
    utimensat: { args: ['i32', 'ptr', 'ptr', 'i32'], returns: 'i32' },
  } as const) as unknown as LinuxLibc | undefined
})

const ERRNO: Readonly<Record<number, string>> = {
  1: 'EPERM',
  2: 'ENOENT',
  5: 'EIO',
  6: 'ENXIO',
  9: 'EBADF',
  12: 'ENOMEM',
  13: 'EACCES',
  16: 'EBUSY',
  17: 'EEXIST',
  18: 'EXDEV',
  19: 'ENODEV',
  20: 'ENOTDIR',
  21: 'EISDIR',
  22: 'EINVAL',
  23: 'ENFILE',
  24: 'EMFILE',
  27: 'EFBIG',
  28: 'ENOSPC',
  30: 'EROFS',
  31: 'EMLINK',
  34: 'ERANGE',
  36: 'ENAMETOOLONG',
  38: 'ENOSYS',
  39: 'ENOTEMPTY',
  40: 'ELOOP',
  61: 'ENODATA',
  95: 'ENOTSUP',
  122: 'EDQUOT',
}
const [EINTR, ERANGE, ENODATA] = [4, 34, 61]

/** What the last call of this thread left in errno: to be read in the statement after the call, a failing fs call overwrites it. */
export const errno = (): number => libc()!.errno()

/** An error as those of node:fs. */
export function callError(call: string, path: NativePath, number: number): Error {
  const code = ERRNO[number] ?? `errno ${number}`
  const shown = typeof path === 'string' ? path : Buffer.from(path).toString()
  return Object.assign(new Error(`${code}: ${call} '${shown}'`), { code, errno: number, syscall: call })
}

/** `errno` has to be read by the caller in the statement after the call: a failing fs call in between overwrites it. */
function fail(call: string, path: NativePath, errno: number): never {
  throw systemError(callError(call, path, errno), typeof path === 'string' ? path : Buffer.from(path).toString())
}

/** Bytes and a closing NUL, in a buffer that the next call uses again. */
let scratch = Buffer.allocUnsafe(8192)
function cPath(path: NativePath): Uint8Array {
  const most = typeof path === 'string' ? path.length * 3 : path.length
  if (most >= scratch.length) scratch = Buffer.allocUnsafe(most * 2)
  if (typeof path !== 'string') scratch.set(path)
  const end = typeof path === 'string' ? scratch.write(path) : path.length
  if (scratch.subarray(0, end).includes(0)) throw new TypeError('a path holds a NUL byte')
  scratch[end] = 0
  return scratch
}

const cName = (name: string): Uint8Array => Buffer.from(`${name}\0`)

/** flock(2). False when somebody else holds the lock; undefined where there is no flock. */
export function flock(fd: number, mode: 'shared' | 'exclusive'): boolean | undefined {
  const c = libc()
  if (c === undefined) return undefined
  const LOCK_NB = 4
  for (;;) {
    if (c.flock(fd, (mode === 'shared' ? 1 : 2) | LOCK_NB) === 0) return true
    const errno = c.errno()
    if (errno === (process.platform === 'darwin' ? 35 : 11)) return false
    // ENOLCK, ENOSYS, ENOTSUP: a network file system without locks.
    if (errno !== EINTR) return undefined
  }
}

let names = Buffer.allocUnsafe(4096)

/**
 * The extended attributes that images keep from a context: `security.capability` and `user.*` (DESIGN §4), of the file
 * itself, never of a link's target. Undefined when there are none, and on systems other than Linux.
 */
export function readXattrs(path: NativePath): Record<string, Uint8Array> | undefined {
  const c = linux()
  if (c === undefined) return undefined
  let length = c.llistxattr(cPath(path), names, names.length)
  if (length === 0) return undefined
  if (length < 0) {
    if (libc()!.errno() !== ERANGE) return undefined
    names = Buffer.allocUnsafe(65536) // XATTR_LIST_MAX
    length = c.llistxattr(cPath(path), names, names.length)
    if (length <= 0) return undefined
  }
  const found: Record<string, Uint8Array> = {}
  let any = false
  for (const name of names.toString('utf8', 0, length - 1).split('\0')) {
    if (name !== 'security.capability' && !name.startsWith('user.')) continue
    const value = readXattr(c, path, name)
    if (value === undefined) continue
    found[name] = value
    any = true
  }
  return any ? found : undefined
}

function readXattr(c: LinuxLibc, path: NativePath, name: string): Uint8Array | undefined {
  for (const size of [256, 65536]) {
    const value = new Uint8Array(size)
    const length = c.lgetxattr(cPath(path), cName(name), value, size)
    if (length >= 0) return value.slice(0, length)
    const errno = libc()!.errno()
    if (errno === ENODATA) return undefined
    if (errno !== ERANGE) return fail('lgetxattr', path, errno)
  }
  return undefined
}

/** lsetxattr(2); throws a system error, also (ENOTSUP) where attributes do not exist. */
export function writeXattr(path: NativePath, name: string, value: Uint8Array): void {
  const c = linuxOnly('lsetxattr', path)
  const bytes = value.length === 0 ? null : value
  if (c.lsetxattr(cPath(path), cName(name), bytes, value.length, 0) === 0) return
  const errno = libc()!.errno()
  fail('lsetxattr', path, errno)
}

const FILE_TYPES = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const

/** mknod(2) with exactly this mode as far as the umask lets it; a character device 0:0 is an overlay whiteout. */
export function makeNode(path: NativePath, type: keyof typeof FILE_TYPES, mode: number, major = 0, minor = 0): void {
  const c = linuxOnly('mknod', path)
  if (c.mknod(cPath(path), FILE_TYPES[type] | (mode & 0o7777), deviceNumber(major, minor)) === 0) return
  const errno = libc()!.errno()
  fail('mknod', path, errno)
}

/** glibc's gnu_dev_makedev: the kernel's 12 bits of major and 20 of minor, spread over 64. */
export function deviceNumber(major: number, minor: number): bigint {
  const [a, b] = [BigInt(major), BigInt(minor)]
  return ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn)
}

/** Sets both times of the file itself (not of a link's target) to exact values; before 1970 too, which utimes cannot. */
export function setTimes(path: NativePath, seconds: number, nanoseconds = 0): void {
  const c = linuxOnly('utimensat', path)
  const [s, n] = [BigInt(seconds), BigInt(nanoseconds)]
  const [AT_FDCWD, AT_SYMLINK_NOFOLLOW] = [-100, 0x100]
  if (c.utimensat(AT_FDCWD, cPath(path), BigInt64Array.of(s, n, s, n), AT_SYMLINK_NOFOLLOW) === 0) return
  const errno = libc()!.errno()
  fail('utimensat', path, errno)
}

function linuxOnly(call: string, path: NativePath): LinuxLibc {
  return linux() ?? fail(call, path, 95)
}
