import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { makeDir, removeFile, writeFileAtomic } from '../sys/files.ts'
import { checksum, hashHex } from '../sys/hash.ts'
import { markUsed } from './blobs.ts'
import { NAMES } from './home.ts'

/** Eight bytes of name, eight of checksum: what follows is aligned for typed arrays. */
const MAGIC = Buffer.from('archimg1')
const HEAD = 16

/** A binary record on the disk, for pruning. */
export interface BinaryFile {
  readonly path: string
  readonly kind: string
  readonly bytes: number
  /** Milliseconds since 1970, to the day. */
  readonly used: number
}

function binaryPath(root: string, kind: string, key: string): string {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(kind)) throw new TypeError(`"${kind}" is no kind of record`)
  return join(root, NAMES.binaries, kind, hashHex('sha256', Buffer.from(key)).slice(0, 40))
}

/** Undefined when it is not there or damaged. */
export function readBinary(root: string, kind: string, key: string): Uint8Array | undefined {
  let fd: number
  try {
    fd = openSync(binaryPath(root, kind, key), 'r')
  } catch (error) {
    if (error instanceof TypeError) throw error
    return undefined
  }
  try {
    const stat = fstatSync(fd)
    const bytes = Buffer.allocUnsafeSlow(stat.size)
    if (readSync(fd, bytes) !== bytes.length || bytes.length < HEAD || !bytes.subarray(0, 8).equals(MAGIC))
      return undefined
    const value = bytes.subarray(HEAD)
    if (Number(bytes.readBigUInt64LE(8)) !== checksum(`${kind}\0${key}`, value)) return undefined
    markUsed(fd, stat)
    return value
  } catch {
    return undefined
  } finally {
    closeSync(fd)
  }
}

/** Throws NO_SPACE, PERMISSION. */
export function writeBinary(root: string, kind: string, key: string, value: Uint8Array): void {
  const path = binaryPath(root, kind, key)
  const file = Buffer.allocUnsafeSlow(HEAD + value.length)
  file.set(MAGIC)
  file.writeBigUInt64LE(BigInt(checksum(`${kind}\0${key}`, value)), 8)
  file.set(value, HEAD)
  makeDir(join(root, NAMES.binaries), 0o700)
  makeDir(join(root, NAMES.binaries, kind), 0o700)
  writeFileAtomic(path, file, 0o644, join(root, NAMES.tmp))
}

export function removeBinary(root: string, kind: string, key: string): boolean {
  return removeFile(binaryPath(root, kind, key))
}

export function listBinaries(root: string): BinaryFile[] {
  return listFiles(join(root, NAMES.binaries)).flatMap(({ name: kind }) =>
    listFiles(join(root, NAMES.binaries, kind)).flatMap(({ path, stat }) =>
      stat.isFile() ? [{ path, kind, bytes: stat.size, used: stat.mtimeMs }] : [],
    ),
  )
}

/** What lies in a directory; nothing when there is no such directory. */
export function listFiles(dir: string) {
  let names: string[]
  try {
    names = readdirSync(dir)
  } catch {
    return []
  }
  return names.flatMap(name => {
    const path = join(dir, name)
    const stat = statSync(path, { throwIfNoEntry: false })
    return stat === undefined ? [] : [{ name, path, stat }]
  })
}
