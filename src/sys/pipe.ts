import { closeSync } from 'node:fs'
import { callError, errno, lazy, load } from './ffi.ts'

export interface Pipe {
  /** Its descriptors; both are closed when a program is executed. */
  readonly read: number
  readonly write: number
}

const libc = lazy(() =>
  load({
    pipe2: { args: ['ptr', 'i32'], returns: 'i32' },
    fchown: { args: ['i32', 'u32', 'u32'], returns: 'i32' },
  } as const),
)
const O_CLOEXEC = 0o2000000

/** pipe2(2). The runtime's own pipes are sockets, and a socket cannot be opened by way of /dev/stdout. */
export function openPipe(): Pipe {
  const fds = new Int32Array(2)
  if (libc()?.pipe2(fds, O_CLOEXEC) === 0) return { read: fds[0]!, write: fds[1]! }
  const number = errno()
  throw callError('pipe2', '', number)
}

/** What comes out of a pipe, live; its reading end is closed afterwards. */
export async function* readPipe(fd: number): AsyncGenerator<Uint8Array> {
  try {
    yield* Bun.file(fd).stream() as unknown as AsyncIterable<Uint8Array>
  } finally {
    closeSync(fd)
  }
}
