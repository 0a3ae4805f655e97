import { closeSync, writeSync } from 'node:fs'
import { callError, errno, lazy, load } from './ffi.ts'

const libc = lazy(() => load({ memfd_create: { args: ['ptr', 'u32'], returns: 'i32' } } as const))
const [MFD_CLOEXEC, MFD_EXEC, EINVAL] = [1, 0x10, 22]

/**
 * An executable that exists in memory only, under a path of /proc, while `use` runs. For programs that are started and nothing
 * else; on Linux.
 */
export function withMemoryProgram<T>(bytes: Uint8Array, use: (path: string) => T): T {
  const fd = create()
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
    return use(`/proc/${process.pid}/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}

function create(): number {
  const name = Buffer.from('archimage\0')
  // Before Linux 6.3 all of them may be executed, and the flag is unknown.
  for (const flags of [MFD_CLOEXEC | MFD_EXEC, MFD_CLOEXEC]) {
    const fd = libc()?.memfd_create(name, flags) ?? -1
    if (fd >= 0) return fd
    const number = errno()
    if (number !== EINVAL) throw callError('memfd_create', '', number)
  }
  throw callError('memfd_create', '', EINVAL)
}
