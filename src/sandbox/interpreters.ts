import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { lstat, resolveInRoot } from './paths.ts'

/** A kernel reads this much of a file to find out how to execute it. */
const HEAD = 256

/**
 * Why executing a file that exists says "no such file": the interpreter of its first line, or its dynamic linker, is not in the
 * root. Undefined where the file itself is missing, or no interpreter is.
 */
export function missingInterpreter(root: string, file: string): string | undefined {
  const path = resolveInRoot(root, file)
  if (lstat(path)?.isFile() !== true) return undefined
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    if (!fstatSync(fd).isFile()) return undefined
    const head = readAt(fd, 0, HEAD)
    const name = /^#!\s*([^\s\0]+)/.exec(head.toString('latin1'))?.[1] ?? linker(fd, head)
    return name !== undefined && lstat(resolveInRoot(root, name)) === undefined ? name : undefined
  } finally {
    closeSync(fd)
  }
}

const PT_INTERP = 3
const MOST_SEGMENTS = 64

/** PT_INTERP of a little-endian ELF file. */
function linker(fd: number, head: Buffer): string | undefined {
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[5] !== 1) return undefined
  const wide = head[4] === 2
  const offset = wide ? Number(head.readBigUInt64LE(32)) : head.readUInt32LE(28)
  const size = head.readUInt16LE(wide ? 54 : 42)
  const count = Math.min(head.readUInt16LE(wide ? 56 : 44), MOST_SEGMENTS)
  for (let i = 0; i < count; i++) {
    const segment = readAt(fd, offset + i * size, wide ? 56 : 32)
    if (segment.length < (wide ? 56 : 32) || segment.readUInt32LE(0) !== PT_INTERP) continue
    const at = wide ? Number(segment.readBigUInt64LE(8)) : segment.readUInt32LE(4)
    const length = wide ? Number(segment.readBigUInt64LE(32)) : segment.readUInt32LE(16)
    return readAt(fd, at, Math.min(length, 4096)).toString('latin1').split('\0')[0]
  }
  return undefined
}

function readAt(fd: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  return bytes.subarray(0, readSync(fd, bytes, 0, length, at))
}
