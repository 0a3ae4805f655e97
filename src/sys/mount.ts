import { callError, errno, lazy, load } from './ffi.ts'

/** Flags of mount(2). */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  BIND: 4096,
  REC: 16384,
  PRIVATE: 1 << 18,
} as const

const calls = lazy(() =>
  load({
    mount: { args: ['ptr', 'ptr', 'ptr', 'u64', 'ptr'], returns: 'i32' },
    umount2: { args: ['ptr', 'i32'], returns: 'i32' },
  } as const),
)

const ENOSYS = 38

const cString = (text: string): Buffer => {
  if (text.includes('\0')) throw new TypeError('a path holds a NUL byte')
  return Buffer.from(`${text}\0`)
}

/** mount(2); throws an error as node:fs does. What `source`, `type` and `data` mean depends on the file system. */
export function mount(source: string, target: string, type: string, flags = 0, data = ''): void {
  const c = calls()
  if (c === undefined) throw callError('mount', target, ENOSYS)
  const args = [source, target, type, data].map(cString) as [Buffer, Buffer, Buffer, Buffer]
  if (c.mount(args[0], args[1], args[2], flags, args[3]) === 0) return
  const number = errno()
  throw callError(`mount ${type || 'bind'}`, target, number)
}

/** Takes the mount at `target`, which is no link, away at once, also when something still uses it. */
export function unmount(target: string): void {
  const [MNT_DETACH, UMOUNT_NOFOLLOW] = [2, 8]
  if (calls()?.umount2(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW) === 0) return
  const number = calls() === undefined ? ENOSYS : errno()
  throw callError('umount', target, number)
}
