import { closeSync, mkdirSync, openSync, realpathSync, renameSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isatty } from 'node:tty'
import { ArchimageError } from '../errors/error.ts'
import { openUnnamed, removeFile, temporaryName } from '../sys/files.ts'
import { fileError, lookAt, outputFailed, writeTo } from '../sys/target.ts'
import { pieces } from './archive-file.ts'
import type { Loadable } from './docker-listing.ts'

/** Where an archive goes when it is whole. */
export interface ArchiveSink {
  /** For messages: "archive out.tar". */
  readonly place: string
  create(): ArchiveOutput
}

/** A file to write an archive to. */
export interface ArchiveOutput {
  readonly fd: number
  /** All `size` bytes are there. */
  deliver(size: number, images: readonly Loadable[], signal: AbortSignal | undefined): Promise<void>
  /** Closes it; without `deliver` nothing is left of it. */
  discard(): void
}

/**
 * A file that appears by rename; its folders are made, a link keeps pointing where it did. A pipe or device of that name, and standard
 * output (`-`), get the bytes at the end. Throws USAGE for a terminal.
 */
export function fileSink(path: string): ArchiveSink {
  if (path === '-') {
    if (isatty(1))
      throw new ArchimageError('USAGE', 'the archive would go to the terminal', {
        hint: 'name a file, or send it through a pipe',
      })
    return { place: 'the archive for standard output', create: () => passedOn(fd => fd(1)) }
  }
  const place = `archive ${path}`
  return {
    place,
    create: () => {
      const there = lookAt(path)
      if (there?.isDirectory()) throw outputFailed(`${path} is a folder`, 'give the name of a file in it')
      if (there !== undefined && !there.isFile())
        return passedOn(async use => {
          const fd = openSync(path, 'w')
          try {
            await use(fd)
          } finally {
            closeSync(fd)
          }
        })
      try {
        return besides(there === undefined ? path : realpathSync(path), path)
      } catch (error) {
        throw fileError(error, `writing ${path}`)
      }
    },
  }
}

function besides(file: string, path: string): ArchiveOutput {
  const temporary = join(dirname(file), `.${basename(file).slice(0, 100)}.${temporaryName()}`)
  mkdirSync(dirname(file), { recursive: true })
  const fd = openSync(temporary, 'wx+', 0o644)
  let open = true
  const close = (): void => {
    if (open) closeSync(fd)
    open = false
  }
  let delivered = false
  return {
    fd,
    deliver: async () => {
      close()
      try {
        renameSync(temporary, file)
      } catch (error) {
        throw fileError(error, `writing ${path}`)
      }
      delivered = true
    },
    discard: () => {
      close()
      if (!delivered) removeFile(temporary)
    },
  }
}

/** By way of a temporary file without a name. */
function passedOn(to: (use: (fd: number) => Promise<void>) => Promise<void>): ArchiveOutput {
  const from = openUnnamed()
  return {
    fd: from,
    deliver: (size, _images, signal) =>
      to(fd => writeTo(fd, pieces(from, size), signal ?? new AbortController().signal)),
    discard: () => closeSync(from),
  }
}
