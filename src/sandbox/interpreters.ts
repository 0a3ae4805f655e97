import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { readExecutable } from '../executable/executable.ts'
import { lstat, resolveInRoot } from './paths.ts'

/**
 * Why executing a file that exists says "no such file": the interpreter of its first line, or its dynamic linker, is not in the
 * root. Undefined where the file itself is missing, or no interpreter is.
 */
export function missingInterpreter(root: string, file: string): string | undefined {
  const path = resolveInRoot(root, file)
  if (lstat(path)?.isFile() !== true) return undefined
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) return undefined
    const found = readExecutable({ size: stat.size, read: (offset, length) => readAt(fd, offset, length) })
    // A carriage return behind it is the business of who explains the failure.
    const name = found.kind === 'script' || found.kind === 'elf' ? found.interpreter?.trimEnd() : undefined
    return name !== undefined && lstat(resolveInRoot(root, name)) === undefined ? name : undefined
  } finally {
    closeSync(fd)
  }
}

function readAt(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  return bytes.subarray(0, readSync(fd, bytes, 0, length, at))
}
