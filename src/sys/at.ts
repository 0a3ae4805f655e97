import { readSync } from 'node:fs'
import { callError, deviceNumber, errno, lazy, load, type NativePath } from './ffi.ts'

/**
 * Calls relative to an open directory (openat(2) and its family), Linux only. Names are single components: with them no link
 * is ever followed, whatever others do to the tree meanwhile. They throw errors as node:fs does (`code`, `syscall`).
 */

export type FileType = 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'

export interface Stat {
  readonly type: FileType
  /** Permission bits, 07777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  /** Bytes on the disk. */
  readonly allocated: number
  readonly nlink: number
  readonly ino: bigint
  readonly mtime: Moment
  /** When it was last changed in any way, in nanoseconds. */
  readonly ctime: bigint
  readonly major: number
  readonly minor: number
  /** Which mount it lies on: differs also between two binds of one file system (Linux ≥ 5.8). */
  readonly mount: string
}

/** Seconds since 1970, rounded down, and the nanoseconds of that second. */
export interface Moment {
  readonly seconds: number
  readonly nanoseconds: number
}

const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
const AT_REMOVEDIR = 0x200
const O_WRONLY = 1
const O_CREAT = 0o100
const O_EXCL = 0o200
const O_NONBLOCK = 0o4000
const O_CLOEXEC = 0o2000000
// these two differ between architectures
const arm = process.arch === 'arm64'
const O_DIRECTORY = arm ? 0o40000 : 0o200000
const O_NOFOLLOW = arm ? 0o100000 : 0o400000
const SYS = arm
  ? { mknodat: 33, getdents64: 61, renameat2: 276, statx: 291 }
  : { mknodat: 259, getdents64: 217, renameat2: 316, statx: 332 }
const STATX_BASIC_STATS = 0x7ff
const STATX_MNT_ID = 0x1000
const [EINTR, ENOENT, ERANGE, ENODATA, ENOTSUP] = [4, 2, 34, 61, 95]

const SYMBOLS = {
  openat: { args: ['i32', 'ptr', 'i32', 'u32'], returns: 'i32' },
  close: { args: ['i32'], returns: 'i32' },
  write: { args: ['i32', 'ptr', 'u64'], returns: 'i32' },
  lseek: { args: ['i32', 'i64', 'i32'], returns: 'i64' },
  mkdirat: { args: ['i32', 'ptr', 'u32'], returns: 'i32' },
  symlinkat: { args: ['ptr', 'i32', 'ptr'], returns: 'i32' },
  linkat: { args: ['i32', 'ptr', 'i32', 'ptr', 'i32'], returns: 'i32' },
  unlinkat: { args: ['i32', 'ptr', 'i32'], returns: 'i32' },
  readlinkat: { args: ['i32', 'ptr', 'ptr', 'u64'], returns: 'i32' },
  fchownat: { args: ['i32', 'ptr', 'u32', 'u32', 'i32'], returns: 'i32' },
  fchmodat: { args: ['i32', 'ptr', 'u32', 'i32'], returns: 'i32' },
  utimensat: { args: ['i32', 'ptr', 'ptr', 'i32'], returns: 'i32' },
  fchown: { args: ['i32', 'u32', 'u32'], returns: 'i32' },
  fchmod: { args: ['i32', 'u32'], returns: 'i32' },
  futimens: { args: ['i32', 'ptr'], returns: 'i32' },
  ftruncate: { args: ['i32', 'i64'], returns: 'i32' },
  ioctl: { args: ['i32', 'u64', 'ptr'], returns: 'i32' },
  copy_file_range: { args: ['i32', 'ptr', 'i32', 'ptr', 'u64', 'u32'], returns: 'i32' },
  fsetxattr: { args: ['i32', 'ptr', 'ptr', 'u64', 'i32'], returns: 'i32' },
  fgetxattr: { args: ['i32', 'ptr', 'ptr', 'u64'], returns: 'i32' },
  fremovexattr: { args: ['i32', 'ptr'], returns: 'i32' },
  flistxattr: { args: ['i32', 'ptr', 'u64'], returns: 'i32' },
  lsetxattr: { args: ['ptr', 'ptr', 'ptr', 'u64', 'i32'], returns: 'i32' },
  lgetxattr: { args: ['ptr', 'ptr', 'ptr', 'u64'], returns: 'i32' },
  llistxattr: { args: ['ptr', 'ptr', 'u64'], returns: 'i32' },
} as const

const calls = lazy(() => {
  const libc = process.platform === 'linux' ? load(SYMBOLS) : undefined
  // older C libraries lack wrappers for these
  const mknodat = load({ syscall: { args: ['i64', 'i32', 'ptr', 'u32', 'u64'], returns: 'i32' } } as const)
  const statx = load({ syscall: { args: ['i64', 'i32', 'ptr', 'i32', 'u32', 'ptr'], returns: 'i32' } } as const)
  const getdents = load({ syscall: { args: ['i64', 'i32', 'ptr', 'u64'], returns: 'i32' } } as const)
  const renameat2 = load({
    syscall: { args: ['i64', 'i32', 'ptr', 'i32', 'ptr', 'u32'], returns: 'i32' },
  } as const)
  const clone = load({ ioctl: { args: ['i32', 'u64', 'i32'], returns: 'i32' } } as const)
  if (!libc || !mknodat || !statx || !getdents || !renameat2 || !clone) throw callError('openat', '', 38)
  return {
    ...libc,
    mknodat: (fd: number, name: Uint8Array, mode: number, device: bigint) =>
      mknodat.syscall(SYS.mknodat, fd, name, mode, device),
    statx: (fd: number, name: Uint8Array, flags: number, into: Uint8Array) =>
      statx.syscall(SYS.statx, fd, name, flags, STATX_BASIC_STATS | STATX_MNT_ID, into),
    getdents: (fd: number, into: Uint8Array) => getdents.syscall(SYS.getdents64, fd, into, into.length),
    clone: (to: number, from: number) => clone.ioctl(to, FICLONE, from),
    renameat2: (from: number, name: Uint8Array, to: number, target: Uint8Array, flags: number) =>
      renameat2.syscall(SYS.renameat2, from, name, to, target, flags),
  }
})

/** Bytes and a closing NUL. `which`: two names of one call need two buffers. */
const scratch = [Buffer.allocUnsafe(16384), Buffer.allocUnsafe(16384)]
function c(name: NativePath, which = 0): Buffer {
  const most = typeof name === 'string' ? name.length * 3 : name.length
  let buffer = scratch[which]!
  if (most >= buffer.length) {
    buffer = Buffer.allocUnsafe(most * 2)
    scratch[which] = buffer
  }
  let end = most
  if (typeof name !== 'string') buffer.set(name)
  else {
    end = buffer.write(name)
    if (name.includes('\0')) throw new TypeError('a name holds a NUL byte')
  }
  buffer[end] = 0
  return buffer
}

const EMPTY = Buffer.from([0])

/** An absolute path to open once: its last component may not be a link, those before may. */
export function openDir(path: NativePath): number {
  return openDirAt(-100, path)
}

export function openDirAt(dir: number, name: NativePath): number {
  return checked(calls().openat(dir, c(name), O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0), 'open', name)
}

/** For reading; ELOOP for a link, no waiting for a FIFO. */
export function openFileAt(dir: number, name: NativePath): number {
  return checked(calls().openat(dir, c(name), O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0), 'open', name)
}

/** A new file, open for writing. `mode` as far as the umask lets it. */
export function createFileAt(dir: number, name: NativePath, mode: number): number {
  const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
  return checked(calls().openat(dir, c(name), flags, mode), 'open', name)
}

export function closeFd(fd: number): void {
  calls().close(fd)
}

export function writeFd(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const count = calls().write(fd, at === 0 ? bytes : bytes.subarray(at), bytes.length - at)
    if (count < 0) {
      const number = errno()
      if (number !== EINTR) throw callError('write', '', number)
    } else at += count
  }
}

export function makeDirAt(dir: number, name: NativePath, mode: number): void {
  checked(calls().mkdirat(dir, c(name), mode), 'mkdir', name)
}

export function symlinkAt(target: NativePath, dir: number, name: NativePath): void {
  checked(calls().symlinkat(c(target, 1), dir, c(name)), 'symlink', name)
}

/** A second name for a file; of a link itself, not of its target. */
export function linkAt(from: number, old: NativePath, dir: number, name: NativePath): void {
  checked(calls().linkat(from, c(old, 1), dir, c(name), 0), 'link', name)
}

/** RENAME_NOREPLACE: EEXIST when there is something. */
export function renameAt(from: number, old: NativePath, dir: number, name: NativePath): void {
  checked(calls().renameat2(from, c(old, 1), dir, c(name), 1), 'rename', name)
}

const NODES = { char: 0o020000, block: 0o060000, fifo: 0o010000 } as const

/** A character device 0:0 is an overlay whiteout: anybody may make those (Linux ≥ 5.8). */
export function makeNodeAt(
  dir: number,
  name: NativePath,
  type: keyof typeof NODES,
  mode: number,
  major = 0,
  minor = 0,
): void {
  checked(calls().mknodat(dir, c(name), NODES[type] | mode, deviceNumber(major, minor)), 'mknod', name)
}

export function unlinkAt(dir: number, name: NativePath, what: 'file' | 'dir'): void {
  checked(calls().unlinkat(dir, c(name), what === 'dir' ? AT_REMOVEDIR : 0), 'unlink', name)
}

export function readLinkAt(dir: number, name: NativePath): Buffer {
  const into = Buffer.allocUnsafe(4096)
  const length = checked(calls().readlinkat(dir, c(name), into, into.length), 'readlink', name)
  return Buffer.from(into.subarray(0, length))
}

/** Before the mode: chown(2) takes the set-user-ID bit away, and capabilities. */
export function setOwner(fd: number, uid: number, gid: number): void {
  checked(calls().fchown(fd, uid, gid), 'chown', '')
}

export function setMode(fd: number, mode: number): void {
  checked(calls().fchmod(fd, mode), 'chmod', '')
}

/** Of the thing itself, never of what a link points to. */
export function setOwnerAt(dir: number, name: NativePath, uid: number, gid: number): void {
  checked(calls().fchownat(dir, c(name), uid, gid, AT_SYMLINK_NOFOLLOW), 'chown', name)
}

/** Follows a link: for what the caller knows to be none. */
export function setModeAt(dir: number, name: NativePath, mode: number): void {
  checked(calls().fchmodat(dir, c(name), mode, 0), 'chmod', name)
}

const times = new BigInt64Array(4)
function moments({ seconds, nanoseconds }: Moment): BigInt64Array {
  times[0] = times[2] = BigInt(seconds)
  times[1] = times[3] = BigInt(nanoseconds)
  return times
}

/** Both times. */
export function setTimesFd(fd: number, time: Moment): void {
  checked(calls().futimens(fd, moments(time)), 'utimens', '')
}

/** Both times of the thing itself. */
export function setTimesAt(dir: number, name: NativePath, time: Moment): void {
  checked(calls().utimensat(dir, c(name), moments(time), AT_SYMLINK_NOFOLLOW), 'utimens', name)
}

const statBytes = Buffer.alloc(256)
/** As directory entries have them, and modes in their upper four bits. */
const TYPES: Readonly<Record<number, FileType>> = {
  1: 'fifo',
  2: 'char',
  4: 'dir',
  6: 'block',
  8: 'file',
  10: 'symlink',
  12: 'socket',
}

/** Of the thing itself; undefined when there is none. */
export function statAt(dir: number, name: NativePath): Stat | undefined {
  if (calls().statx(dir, c(name), AT_SYMLINK_NOFOLLOW, statBytes) === 0) return readStat()
  const number = errno()
  if (number === ENOENT) return undefined
  throw callError('stat', name, number)
}

export function statFd(fd: number): Stat {
  checked(calls().statx(fd, EMPTY, AT_EMPTY_PATH, statBytes), 'stat', '')
  return readStat()
}

/** struct statx, see linux/stat.h. */
function readStat(): Stat {
  const b = statBytes
  const bits = b.readUInt16LE(28)
  return {
    type: TYPES[bits >> 12] ?? 'socket',
    mode: bits & 0o7777,
    uid: b.readUInt32LE(20),
    gid: b.readUInt32LE(24),
    size: Number(b.readBigUInt64LE(40)),
    allocated: Number(b.readBigUInt64LE(48)) * 512,
    nlink: b.readUInt32LE(16),
    ino: b.readBigUInt64LE(32),
    mtime: { seconds: Number(b.readBigInt64LE(112)), nanoseconds: b.readUInt32LE(120) },
    ctime: b.readBigInt64LE(96) * 1_000_000_000n + BigInt(b.readUInt32LE(104)),
    major: b.readUInt32LE(128),
    minor: b.readUInt32LE(132),
    mount: `${b.readUInt32LE(136)}:${b.readUInt32LE(140)} ${b.readUInt32LE(0) & STATX_MNT_ID ? b.readBigUInt64LE(144) : ''}`,
  }
}

/** What is in a directory, in no order, without "." and "..". `type` is undefined where the file system does not say it. */
export function listFd(fd: number): { readonly name: Buffer; readonly type: FileType | undefined }[] {
  const found: { name: Buffer; type: FileType | undefined }[] = []
  const bytes = Buffer.allocUnsafe(65536)
  // it may have been listed before
  calls().lseek(fd, 0, 0)
  for (;;) {
    const length = checked(calls().getdents(fd, bytes), 'getdents', '')
    if (length === 0) return found
    for (let at = 0; at < length; at += bytes.readUInt16LE(at + 16)) {
      const end = bytes.indexOf(0, at + 19)
      const dots = bytes[at + 19] === 0x2e && (end === at + 20 || (end === at + 21 && bytes[at + 20] === 0x2e))
      if (!dots) found.push({ name: Buffer.from(bytes.subarray(at + 19, end)), type: TYPES[bytes[at + 18]!] })
    }
  }
}

const names = new Map<string, Uint8Array>()
/** Few names of attributes exist: each is encoded once. */
function attribute(name: string): Uint8Array {
  let bytes = names.get(name)
  if (bytes === undefined) {
    bytes = Buffer.from(`${name}\0`)
    if (names.size < 1000) names.set(name, bytes)
  }
  return bytes
}

export function setXattr(fd: number, name: string, value: Uint8Array): void {
  const bytes = value.length === 0 ? null : value
  checked(calls().fsetxattr(fd, attribute(name), bytes, value.length, 0), 'setxattr', name)
}

/** Undefined when it has none, or the file system has no attributes. */
export function getXattr(fd: number, name: string): Buffer | undefined {
  return read((into, size) => calls().fgetxattr(fd, attribute(name), into, size), name)
}

export function removeXattr(fd: number, name: string): void {
  checked(calls().fremovexattr(fd, attribute(name)), 'removexattr', name)
}

export function listXattrs(fd: number): string[] {
  return split(read((into, size) => calls().flistxattr(fd, into, size), ''))
}

/** For what cannot be opened: links, devices. Through /proc, as there is no setxattrat(2) before Linux 6.13. */
export function setXattrAt(dir: number, name: NativePath, key: string, value: Uint8Array): void {
  const bytes = value.length === 0 ? null : value
  const path = through(dir, name)
  checked(calls().lsetxattr(c(path), attribute(key), bytes, value.length, 0), 'setxattr', name)
}

export function getXattrAt(dir: number, name: NativePath, key: string): Buffer | undefined {
  const path = through(dir, name)
  return read((into, size) => calls().lgetxattr(c(path), attribute(key), into, size), key)
}

export function listXattrsAt(dir: number, name: NativePath): string[] {
  const path = through(dir, name)
  return split(read((into, size) => calls().llistxattr(c(path), into, size), ''))
}

function through(dir: number, name: NativePath): NativePath {
  const prefix = `/proc/self/fd/${dir}/`
  return typeof name === 'string' ? prefix + name : Buffer.concat([Buffer.from(prefix), name])
}

const valueBytes = [Buffer.allocUnsafe(1024), Buffer.allocUnsafe(65536)]
function read(call: (into: Uint8Array, size: number) => number, name: string): Buffer | undefined {
  for (const into of valueBytes) {
    const length = call(into, into.length)
    if (length >= 0) return Buffer.from(into.subarray(0, length))
    const number = errno()
    if (number === ENODATA || number === ENOTSUP) return undefined
    if (number !== ERANGE) throw callError('getxattr', name, number)
  }
  throw callError('getxattr', name, ERANGE)
}

function split(list: Buffer | undefined): string[] {
  return list === undefined || list.length === 0 ? [] : list.toString('utf8', 0, list.length - 1).split('\0')
}

const FICLONE = 0x40049409
const [FS_IOC_GETFLAGS, FS_IOC_SETFLAGS] = [0x80086601, 0x40086602]
const IMMUTABLE_OR_APPEND = 0x30
const COPY_PIECE = 1 << 30

/** Takes away what chattr +i and +a gave; false when that is not what stands in the way. */
export function clearImmutable(fd: number): boolean {
  const flags = Buffer.alloc(8)
  const { ioctl } = calls()
  if (ioctl(fd, FS_IOC_GETFLAGS, flags) !== 0) return false
  const before = flags.readUInt32LE()
  if ((before & IMMUTABLE_OR_APPEND) === 0) return false
  flags.writeUInt32LE((before & ~IMMUTABLE_OR_APPEND) >>> 0)
  return ioctl(fd, FS_IOC_SETFLAGS, flags) === 0
}

/** The bytes of one file into another, both open: shared on the disk where it can be, holes kept where that is cheap. */
export function copyFd(from: number, to: number, size: number): void {
  const { clone, copy_file_range } = calls()
  if (clone(to, from) === 0) return
  let done = 0
  while (done < size) {
    const count = copy_file_range(from, null, to, null, Math.min(size - done, COPY_PIECE), 0)
    // across file systems, or on one that cannot do it
    if (count < 0) break
    if (count === 0) return
    done += count
  }
  if (done >= size) return
  const bytes = Buffer.allocUnsafe(1 << 20)
  for (;;) {
    const count = readSync(from, bytes)
    if (count === 0) return
    writeFd(to, bytes.subarray(0, count))
  }
}

function checked(result: number, call: string, name: NativePath): number {
  if (result >= 0) return result
  throw callError(call, name, errno())
}
