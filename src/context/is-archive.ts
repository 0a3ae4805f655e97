import { closeSync, openSync, readSync } from 'node:fs'
import { sniffCompression } from '../sys/compress.ts'
import { isZero, readHeader } from '../tar/header.ts'

/** How many bytes of the beginning are looked at. */
const ARCHIVE_HEAD = 512

/**
 * Whether a file that begins so is meant as an archive: compressed with gzip, bzip2, xz or zstd, or with the header of a tar.
 * What begins otherwise is a Dockerfile, where either could come (BuildKit, dockerui).
 */
export function isArchive(head: Uint8Array): boolean {
  if (sniffCompression(head) !== 'none') return true
  const block = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  return block.length >= ARCHIVE_HEAD && !isZero(block, 0) && typeof readHeader(block, 0) !== 'string'
}

/** The same for a file of this machine. */
export function isArchiveFile(path: string): boolean {
  const head = Buffer.alloc(ARCHIVE_HEAD)
  const fd = openSync(path, 'r')
  try {
    return isArchive(head.subarray(0, readSync(fd, head)))
  } finally {
    closeSync(fd)
  }
}
