import { closeSync, constants, fstatSync, openSync, read, readSync } from 'node:fs'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { ArchimageError, cancelled, isArchimageError, systemError } from '../errors/error.ts'
import { decompress, sniffCompression, withFirst } from '../sys/compress.ts'
import { openUnnamed, writeAll } from '../sys/files.ts'

/** An uncompressed archive that can be read anywhere. */
export interface ArchiveFile {
  readonly fd: number
  readonly size: number
  close(): void
}

const CHUNK = 1 << 20

/**
 * Opens an archive for reading: a plain file as it is; what is compressed (gzip, zstd, bzip2, xz), a pipe, or standard
 * input (`-`), by way of a temporary file without a name. Throws NOT_FOUND, USAGE, TAR_INVALID, NO_SPACE, CANCELLED.
 */
export async function openArchiveFile(path: string, place: string, signal?: AbortSignal): Promise<ArchiveFile> {
  if (path === '-') return spool(piped(0, place), place, signal)
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new ArchimageError('NOT_FOUND', `there is no file ${path}`, { hint: 'check the path of the archive' })
    throw systemError(error, `reading ${place}`)
  }
  let kept = false
  try {
    const stat = fstatSync(fd)
    if (stat.isDirectory())
      throw new ArchimageError('USAGE', `${path} is a folder, not an archive`, { hint: `for a layout: oci:${path}` })
    if (!stat.isFile()) return await spool(piped(fd, place), place, signal)
    const head = Buffer.alloc(6)
    readSync(fd, head, 0, head.length, 0)
    if (sniffCompression(head) !== 'none') return await spool(pieces(fd), place, signal)
    kept = true
    return { fd, size: stat.size, close: () => closeSync(fd) }
  } finally {
    if (!kept) closeSync(fd)
  }
}

/** Brings a stream into a temporary file that is gone with this process, decompressed. */
export async function spool(
  source: AsyncIterable<Uint8Array>,
  place: string,
  signal?: AbortSignal,
): Promise<ArchiveFile> {
  const fd = openUnnamed()
  let size = 0
  try {
    const chunks = source[Symbol.asyncIterator]()
    const first = await chunks.next()
    const format = first.done ? 'none' : sniffCompression(first.value)
    const whole = withFirst(first, chunks)
    for await (const chunk of decompress(format, whole, { name: place, ...(signal && { signal }) })) {
      writeAll(fd, chunk)
      size += chunk.length
    }
    return { fd, size, close: () => closeSync(fd) }
  } catch (error) {
    closeSync(fd)
    if (signal?.aborted) throw cancelled(signal.reason)
    throw isArchimageError(error) ? error : systemError(error, `keeping ${place} in a temporary file`)
  }
}

/** A file that is open, piece by piece, with turns for others. */
export async function* pieces(fd: number, end = Number.POSITIVE_INFINITY): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < end; ) {
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK, end - at))
    const count = readSync(fd, buffer, 0, buffer.length, at)
    if (count === 0) return
    yield buffer.subarray(0, count)
    at += count
    await setImmediate()
  }
}

async function* piped(fd: number, place: string): AsyncGenerator<Uint8Array> {
  for (;;) {
    const buffer = Buffer.allocUnsafeSlow(CHUNK)
    const count = await new Promise<number>((resolve, reject) =>
      read(fd, buffer, 0, buffer.length, null, (error, count) => {
        if (!error) return resolve(count)
        // closed, as Windows says it; a pipe that another process made non-blocking
        if (error.code === 'EOF') return resolve(0)
        if (error.code === 'EAGAIN') return resolve(-1)
        reject(error)
      }),
    ).catch(error => {
      throw systemError(error, `reading ${place}`)
    })
    if (count === 0) return
    if (count < 0) await setTimeout(5)
    else yield buffer.subarray(0, count)
  }
}
