import { closeSync, mkdirSync, openSync, realpathSync, renameSync, type Stats, statSync, write } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { ArchimageError, cancelled, systemError } from '../errors/error.ts'
import { removeFile, temporaryName, writeAll } from './files.ts'

/** Milliseconds after which the event loop gets a turn, so that Ctrl-C is heard. */
const TURN = 20

/**
 * Writes a file that appears by rename when all of it is there; its folders are made. A pipe or device of that name is
 * written to instead. Throws OUTPUT_FAILED, NO_SPACE, PERMISSION, CANCELLED and what the chunks throw.
 */
export async function writeFileFrom(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const there = lookAt(path)
  if (there?.isDirectory()) throw outputFailed(`${path} is a folder`, 'give the name of a file in it')
  if (there !== undefined && !there.isFile()) return await toDevice(path, chunks, signal)
  // a link keeps pointing where it did
  const file = there === undefined ? path : realpathSync(path)
  const temporary = join(dirname(file), `.${basename(file).slice(0, 100)}.${temporaryName()}`)
  let fd: number | undefined
  try {
    mkdirSync(dirname(file), { recursive: true })
    const out = openSync(temporary, 'wx', 0o644)
    fd = out
    await pump(chunks, signal, chunk => writeAll(out, chunk))
    closeSync(out)
    fd = undefined
    renameSync(temporary, file)
  } catch (error) {
    if (fd !== undefined) closeSync(fd)
    removeFile(temporary)
    throw fileError(error, `writing ${path}`)
  }
}

/** Writes to a pipe, terminal or device that is open: waits for slow readers without blocking the event loop. */
export async function writeTo(fd: number, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  await pump(chunks, signal, async chunk => {
    for (let done = 0; done < chunk.length; ) {
      const count = await writeSome(fd, chunk.subarray(done))
      done += count
      if (count === 0) await setTimeout(5)
      if (signal.aborted) throw cancelled(signal.reason)
    }
  })
}

async function toDevice(path: string, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  let fd: number | undefined
  try {
    fd = openSync(path, 'w')
    await writeTo(fd, chunks, signal)
  } catch (error) {
    throw fileError(error, `writing ${path}`)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

async function pump(
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  take: (chunk: Uint8Array) => void | Promise<void>,
): Promise<void> {
  let turn = performance.now()
  for await (const chunk of chunks) {
    if (signal.aborted) throw cancelled(signal.reason)
    const wait = take(chunk)
    if (wait !== undefined) await wait
    if (performance.now() - turn < TURN) continue
    await setImmediate()
    turn = performance.now()
  }
}

/** 0 where a pipe that somebody made non-blocking is full. */
function writeSome(fd: number, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) =>
    write(fd, bytes, 0, bytes.length, null, (error, count) => {
      if (error === null || error === undefined) return resolve(count)
      if (error.code === 'EAGAIN') return resolve(0)
      if (error.code !== 'EPIPE') return reject(fileError(error, 'writing to standard output'))
      reject(outputFailed('the program that reads standard output ended before it had everything'))
    }),
  )
}

export function outputFailed(message: string, hint?: string): ArchimageError {
  return new ArchimageError('OUTPUT_FAILED', message, hint === undefined ? {} : { hint })
}

/** What a destination is now, links followed; undefined where nothing is. Throws USAGE, PERMISSION, OUTPUT_FAILED. */
export function lookAt(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw fileError(error, `writing ${path}`)
  }
}

/** An error of the file system in our terms; anything else as it is. */
export function fileError(error: unknown, doing: string): unknown {
  const { code, syscall, message } = error as { code?: unknown; syscall?: unknown; message?: string }
  if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code) || syscall === undefined) return error
  if (code === 'ENOTDIR')
    return new ArchimageError('USAGE', `${doing}: one of the folders above it is a file`, {
      hint: 'give a path whose folders exist or can be made',
      cause: error,
    })
  try {
    return systemError(error, doing)
  } catch {
    return new ArchimageError('OUTPUT_FAILED', `${doing}: ${message}`, { cause: error })
  }
}
