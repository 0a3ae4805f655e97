import { closeSync, constants, openSync } from 'node:fs'
import { ArchimageError, systemError } from '../errors/error.ts'
import { readFully } from '../sys/files.ts'

// no waiting for a FIFO, and no leaving the context through a link, should the file have been replaced meanwhile
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

/** A regular file of this machine, read from its beginning. */
export class HostFile {
  readonly #fd: number
  readonly #path: string

  private constructor(fd: number, path: string) {
    this.#fd = fd
    this.#path = path
  }

  /** Throws CONTEXT_CHANGED when there is no such file any more, PERMISSION. */
  static open(name: string | Buffer): HostFile {
    try {
      return new HostFile(openSync(name, FLAGS), String(name))
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP' || code === 'ENXIO')
        throw replaced(String(name), error)
      throw systemError(error, `reading ${name}`)
    }
  }

  /** Reads up to `count` bytes, fewer only at the end of the file. */
  read(into: Uint8Array, count: number): number {
    try {
      return readFully(this.#fd, into.subarray(0, count), null)
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === 'EISDIR' || code === 'EAGAIN') throw replaced(this.#path, error)
      throw systemError(error, `reading ${this.#path}`)
    }
  }

  close(): void {
    closeSync(this.#fd)
  }
}

function replaced(name: string, cause: unknown): ArchimageError {
  return new ArchimageError('CONTEXT_CHANGED', `${name} vanished or was replaced while it was being built`, {
    hint: 'build again when nothing writes there',
    cause,
  })
}
