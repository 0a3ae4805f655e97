import { closeSync, fstatSync, futimesSync, openSync, renameSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { checkedStream } from '../sys/checked-stream.ts'
import { makeDir, readFully } from '../sys/files.ts'
import { hashHex } from '../sys/hash.ts'
import { NAMES } from './home.ts'
import type { BlobFile } from './types.ts'

const DAY = 86_400_000
const CHUNK = 256 * 1024

export function blobPath(root: string, digest: Digest): string {
  return join(root, NAMES.blobs, algorithmOf(digest), hexOf(digest))
}

/** Size in bytes, undefined when it is not there. */
export function blobSize(root: string, digest: Digest): number | undefined {
  const stat = statSync(blobPath(root, digest), { throwIfNoEntry: false })
  return stat?.isFile() ? stat.size : undefined
}

/** The whole of a blob, checked. Throws NOT_FOUND, DIGEST_MISMATCH, MANIFEST_INVALID when it is larger than `limit`. */
export function readBlob(root: string, digest: Digest, limit: number): Buffer {
  const { fd, stat } = openBlob(root, digest)
  let bytes: Buffer
  try {
    if (stat.size > limit)
      throw new ArchimageError('MANIFEST_INVALID', `blob ${digest} has ${stat.size} bytes, at most ${limit} are read`, {
        hint: 'it is no manifest and no image config; whatever names it as one is wrong',
      })
    bytes = Buffer.allocUnsafeSlow(stat.size)
    if (readFully(fd, bytes, 0) < bytes.length) throw damaged(root, digest)
  } finally {
    closeSync(fd)
  }
  if (hashHex(algorithmOf(digest), bytes) !== hexOf(digest)) throw damaged(root, digest)
  return bytes
}

/**
 * A blob as a stream from byte `start`, checked as a whole: the last bytes come only when size and digest are right,
 * else the stream fails with DIGEST_MISMATCH. Throws NOT_FOUND at once.
 */
export function streamBlob(
  root: string,
  descriptor: Pick<Descriptor, 'digest' | 'size'>,
  start = 0,
): ReadableStream<Uint8Array> {
  const { digest, size } = descriptor
  const found = blobSize(root, digest)
  if (found === undefined) throw missing(root, digest)
  if (found !== size) throw wrongSize(root, digest, found, size)
  let fd: number | undefined
  const read = (into: Uint8Array, at: number): number => {
    fd ??= openBlob(root, digest).fd
    return readFully(fd, into, at)
  }
  const close = (): void => {
    if (fd !== undefined) closeSync(fd)
  }
  const bytes = {
    ...{ size, algorithm: algorithmOf(digest), hex: hexOf(digest), chunk: CHUNK },
    ...{ read, close, damaged: () => damaged(root, digest) },
  }
  return checkedStream(bytes, start)
}

/** For reading anywhere in a blob; the caller checks what it reads. Throws NOT_FOUND. */
export function openBlobFile(root: string, digest: Digest): BlobFile {
  const { fd, stat } = openBlob(root, digest)
  let open = true
  return {
    fd,
    size: stat.size,
    read: (position, length) => {
      const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(length, stat.size - position)))
      return bytes.subarray(0, readFully(fd, bytes, position))
    },
    close: () => {
      if (open) closeSync(fd)
      open = false
    },
  }
}

function openBlob(root: string, digest: Digest): { readonly fd: number; readonly stat: Stats } {
  let fd: number
  try {
    fd = openSync(blobPath(root, digest), 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw missing(root, digest)
    throw systemError(error, `reading blob ${digest}`)
  }
  const stat = fstatSync(fd)
  markUsed(fd, stat)
  return { fd, stat }
}

/** The time of a file in the store is when it was last used, to the day: what pruning goes by. */
export function markUsed(fd: number, stat: Stats): void {
  const now = Date.now()
  if (now - stat.mtimeMs < DAY) return
  try {
    futimesSync(fd, now / 1000, now / 1000)
  } catch {}
}

function missing(root: string, digest: Digest): ArchimageError {
  return new ArchimageError('NOT_FOUND', `the store ${root} has no blob ${digest}`, {
    hint: 'build or pull the image again; it may have been pruned meanwhile',
  })
}

function wrongSize(root: string, digest: Digest, found: number, size: number): ArchimageError {
  // A file of the right digest but another size than said: what is wrong may be the descriptor, so the blob stays.
  return new ArchimageError('DIGEST_MISMATCH', `blob ${digest} in ${root} has ${found} bytes instead of ${size}`, {
    hint: 'build or pull the image again',
  })
}

/** Sets a damaged blob aside: to the next run it is absent and comes again. */
function damaged(root: string, digest: Digest): ArchimageError {
  let aside = true
  try {
    makeDir(join(root, NAMES.tmp), 0o700)
    renameSync(blobPath(root, digest), join(root, NAMES.tmp, `damaged-${hexOf(digest)}`))
  } catch {
    aside = false
  }
  return new ArchimageError('DIGEST_MISMATCH', `blob ${digest} in the store ${root} is damaged`, {
    hint: aside
      ? 'it has been set aside: run the command again, or pull the image again; if this repeats, check the disk and the memory'
      : `remove ${blobPath(root, digest)} and run the command again`,
  })
}
