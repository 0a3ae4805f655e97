import { readSync } from 'node:fs'
import { ArchimageError, systemError } from '../errors/error.ts'
import { sleepSync } from '../sys/locks.ts'
import type { Context } from './context.ts'
import { isArchive } from './is-archive.ts'

const CHUNK = 1 << 20
/** No Dockerfile of a person comes near this. */
const LARGEST = 16 << 20

/** A context without files: that of a Dockerfile from standard input. */
export function emptyContext(): Context {
  const nothing = (path: string): never => {
    throw new ArchimageError('CONTEXT_INVALID', `${path} is not in the context: it has no files`, {
      hint: 'a Dockerfile from standard input comes without files; give a folder and -f - to have both',
    })
  }
  return {
    root: '',
    lookup: path =>
      /^[/.]*$/.test(path) ? { type: 'dir', mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0 } : undefined,
    list: () => [],
    digest: nothing,
    path: nothing,
    resolve: path => (/^[/.]*$/.test(path) ? '' : undefined),
    glob: () => [],
    save: () => {},
  }
}

/** Standard input piece by piece, to its end; the first piece has at least 1 KiB where there is so much. */
export function* readStdin(fd = 0): Generator<Uint8Array> {
  for (;;) {
    const buffer = Buffer.allocUnsafeSlow(CHUNK)
    let filled = 0
    while (filled < buffer.length) {
      const count = readSome(fd, buffer, filled)
      if (count === 0) {
        if (filled > 0) yield buffer.subarray(0, filled)
        return
      }
      filled += count
    }
    yield buffer
  }
}

function readSome(fd: number, buffer: Buffer, at: number): number {
  for (;;)
    try {
      return readSync(fd, buffer, at, buffer.length - at, null)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // What is closed on Windows; a pipe that another process made non-blocking.
      if (code === 'EOF') return 0
      if (code !== 'EAGAIN') throw systemError(error, 'reading standard input')
      sleepSync(5)
    }
}

/** All of standard input as a Dockerfile. Throws USAGE for too much, and for an archive. */
export function dockerfileFromStdin(chunks: Iterable<Uint8Array> = readStdin()): Uint8Array {
  const all: Uint8Array[] = []
  let size = 0
  for (const chunk of chunks) {
    if (size === 0 && isArchive(chunk))
      throw new ArchimageError('USAGE', 'standard input is an archive, and a Dockerfile was expected there', {
        hint: 'an archive is a context: archimage build - < context.tar',
      })
    size += chunk.length
    if (size > LARGEST) throw new ArchimageError('USAGE', 'standard input is too big for a Dockerfile')
    all.push(chunk)
  }
  return Buffer.concat(all)
}
