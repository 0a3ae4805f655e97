import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'

/** Writes all of `bytes`: write(2) may write less, on pipes and on disks that fill up. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  let done = 0
  while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done)
}

/** A name that no other process picks; it shows which process it was. */
export function temporaryName(): string {
  return `${process.pid}-${randomBytes(6).toString('hex')}.tmp`
}

/**
 * The file has the old content or all of the new one, whatever happens; throws NO_SPACE, PERMISSION. `through` is another
 * directory of the same file system for the temporary file, which a killed process leaves behind.
 */
export function writeFileAtomic(path: string, bytes: Uint8Array | string, mode = 0o644, through?: string): void {
  const temporary = join(through ?? dirname(path), `.${basename(path).slice(0, 100)}.${temporaryName()}`)
  try {
    const fd = openSync(temporary, 'wx', mode)
    try {
      writeAll(fd, typeof bytes === 'string' ? Buffer.from(bytes) : bytes)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, path)
  } catch (error) {
    removeFile(temporary)
    throw systemError(error, `writing ${path}`)
  }
}

/** A temporary file for reading and writing that has no name: it is gone when it is closed, however the process ends. */
export function openUnnamed(): number {
  const path = join(tmpdir(), `archimage-${temporaryName()}`)
  try {
    const fd = openSync(path, 'wx+', 0o600)
    // Windows does not let go of the name of an open file
    removeFile(path)
    return fd
  } catch (error) {
    throw systemError(error, `making a temporary file in ${tmpdir()}`)
  }
}

/** Unlinks if there is something; false when there was nothing, or it cannot be removed. */
export function removeFile(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch {
    return false
  }
}

/** Whether `path` is `root` or below it, by their names (links are not followed: see makeDirsInside). */
export function isInside(root: string, path: string): boolean {
  const way = relative(resolve(root), resolve(root, path))
  return way === '' || !(way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way))
}

/**
 * Makes the directories from `root` (which exists) down to `path`, refusing to pass through a link or a file: nothing is
 * ever made outside of `root`. Throws PERMISSION, NO_SPACE, or CONTEXT_INVALID for a way that leads out.
 */
export function makeDirsInside(root: string, path: string, mode = 0o755): string {
  const target = resolve(root, path)
  if (!isInside(root, target))
    throw new ArchimageError('CONTEXT_INVALID', `${path} leads out of ${root}`, {
      hint: 'paths may not climb above the directory that they belong to',
    })
  let at = resolve(root)
  for (const part of relative(at, target).split(sep).filter(Boolean)) {
    at = join(at, part)
    const stat = lstatSync(at, { throwIfNoEntry: false })
    if (stat?.isDirectory()) continue
    if (stat !== undefined)
      throw new ArchimageError(
        'CONTEXT_INVALID',
        `${at} is a ${stat.isSymbolicLink() ? 'link' : 'file'} where a directory is needed`,
        { hint: 'remove it, or choose another destination' },
      )
    makeDir(at, mode)
  }
  return target
}

/** mkdir that does not mind when the directory is there already. */
export function makeDir(path: string, mode = 0o755): void {
  try {
    mkdirSync(path, { mode })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' && lstatSync(path).isDirectory()) return
    throw systemError(error, `making ${path}`)
  }
}

/**
 * A regular file of at most `limit` bytes; undefined when it is not there. A fifo or a device in its place is not waited
 * for: the answer is why it cannot be read, to be put behind its name.
 */
export function readRegularFile(path: string | Buffer, limit: number): Buffer | string | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw systemError(error, `reading ${path}`)
  }
  try {
    const stat = fstatSync(fd)
    if (stat.isDirectory()) return 'is a folder'
    if (!stat.isFile()) return 'is not a file'
    if (stat.size > limit) return `has more than ${limit} bytes`
    return readFileSync(fd)
  } catch (error) {
    throw systemError(error, `reading ${path}`)
  } finally {
    closeSync(fd)
  }
}

/** Fills `into` from byte `position` of a file on (null: from where it is); gives how much of it, less only where the file ends. */
export function readFully(fd: number, into: Uint8Array, position: number | null): number {
  let done = 0
  while (done < into.length) {
    const count = readSync(fd, into, done, into.length - done, position === null ? null : position + done)
    if (count === 0) break
    done += count
  }
  return done
}

/** What a file, a pipe or (0) standard input gives, up to one byte more than `limit`. Throws what the file system throws. */
export function readUpTo(path: string | 0, limit: number): Buffer {
  const fd = path === 0 ? 0 : openSync(path, 'r')
  const buffer = Buffer.allocUnsafeSlow(limit + 1)
  try {
    return buffer.subarray(0, readFully(fd, buffer, null))
  } finally {
    if (path !== 0) closeSync(fd)
  }
}

/** Bytes of all files below a folder. */
export function sizeOf(folder: string): number {
  let size = 0
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) size += lstatSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0
  return size
}
