import { join, resolve } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { readRegularFile } from '../sys/files.ts'
import { type IgnoreRules, parseIgnoreFile } from './ignore.ts'

export interface IgnoreFile {
  readonly file: string
  /** Undefined when it ignores nothing. */
  readonly rules?: IgnoreRules
}

const MAX_BYTES = 1024 * 1024

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
    const bytes = readRegularFile(file, MAX_BYTES)
    if (bytes === undefined) continue
    if (typeof bytes === 'string') throw new ArchimageError('CONTEXT_INVALID', `${file} ${bytes}`)
    const rules = parseIgnoreFile(bytes, file)
    return { file, ...(rules === undefined ? {} : { rules }) }
  }
  if (named !== undefined) throw new ArchimageError('CONTEXT_INVALID', `there is no ignore file ${named}`)
  return undefined
}
