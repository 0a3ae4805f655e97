import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { type IgnoreRules, parseIgnoreFile } from './ignore.ts'

export interface IgnoreFile {
  readonly file: string
  /** Undefined when it ignores nothing. */
  readonly rules?: IgnoreRules
}

const MAX_BYTES = 1024 * 1024

function read(file: string): Buffer | undefined {
  let fd: number
  try {
    fd = openSync(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw systemError(error, `reading ${file}`)
  }
  try {
    const stat = fstatSync(fd)
    const why = !stat.isFile()
      ? 'is not a file'
      : stat.size > MAX_BYTES
        ? `has more than ${MAX_BYTES} bytes`
        : undefined
    if (why !== undefined) throw new ArchimageError('CONTEXT_INVALID', `${file} ${why}`)
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * The ignore file of a context: the one that is named, else `<Dockerfile>.dockerignore`, else `.dockerignore` in the root.
 * They replace each other, they are never merged. Throws CONTEXT_INVALID.
 */
export function readIgnoreFile(root: string, dockerfile?: string, named?: string): IgnoreFile | undefined {
  const candidates =
    named !== undefined
      ? [resolve(root, named)]
      : [
          ...(dockerfile === undefined ? [] : [`${resolve(root, dockerfile)}.dockerignore`]),
          join(root, '.dockerignore'),
        ]
  for (const file of candidates) {
    const bytes = read(file)
    if (bytes === undefined) continue
    const rules = parseIgnoreFile(bytes, file)
    return { file, ...(rules === undefined ? {} : { rules }) }
  }
  if (named !== undefined) throw new ArchimageError('CONTEXT_INVALID', `there is no ignore file ${named}`)
  return undefined
}
