import { closeSync, openSync, readSync } from 'node:fs'
import type { Entry } from '../../layer/entry.ts'
import { indexLayer, type LayerIndex, type LayerRecord } from '../../layer/index.ts'
import type { Digest } from '../../oci/digest.ts'
import { OCI } from '../../oci/media-types.ts'
import type { SourceMatch } from '../../plan/sources.ts'
import { decompress, sniffCompression } from '../../sys/compress.ts'
import { isZero, readHeader } from '../../tar/header.ts'
import { fsPath } from '../../tar/path-bytes.ts'
import type { BuildTools } from '../engine.ts'
import { BLOB, knownIndex, type LayerBlob, putIndex } from './base.ts'

/** Record kind: the diff ID of an archive of the context by its digest; empty when the file is no archive. */
const ARCHIVE = 'archive'
/** Record kind: the index of an archive by diff ID. Unlike a layer's it has no whiteouts, only files of such names. */
const ARCHIVE_INDEX = 'archive-index'
const MAX_TAR = 64 * 2 ** 30

/** One entry of an archive: something of its own, or a further name of the file at `link`, which its header describes. */
export interface ArchiveEntry {
  readonly path: string
  readonly entry?: Entry
  readonly link?: string
  readonly inode?: LayerRecord['inode']
}

/**
 * The entries of a file that ADD unpacks: a tar, plain or compressed with gzip, bzip2, xz or zstd, told by its content as
 * docker does. Undefined for any other file. The uncompressed tar is kept in the store's cache.
 */
export async function archiveEntries(
  match: SourceMatch,
  tools: BuildTools,
): Promise<readonly ArchiveEntry[] | undefined> {
  const { entry } = match
  if (entry.type !== 'file' || entry.content?.kind !== 'host' || entry.digest === undefined) return undefined
  const { store } = tools
  const known = store.records.get<{ diffId?: Digest }>(ARCHIVE, entry.digest)
  if (known && known.diffId === undefined) return undefined
  const stored =
    known?.diffId !== undefined && store.tar(known.diffId) ? knownIndex(store, known.diffId, ARCHIVE_INDEX) : undefined
  const index = stored ?? (await unpack(match, entry.content.path, tools))
  store.records.put(ARCHIVE, entry.digest, index ? { diffId: index.diffId } : {})
  return index?.entries
}

async function unpack(match: SourceMatch, path: string | Buffer, tools: BuildTools): Promise<LayerIndex | undefined> {
  const { store, signal } = tools
  const name = typeof path === 'string' ? fsPath(path) : path
  const format = sniffCompression(firstBytes(name))
  const tar = store.createTar()
  let started = false
  try {
    const source = decompress(format, fileChunks(name), { name: match.path, limit: MAX_TAR, signal })
    const checked = async function* (): AsyncGenerator<Uint8Array> {
      let head = Buffer.alloc(0)
      for await (const chunk of source) {
        tar.write(chunk)
        if (started) {
          yield chunk
          continue
        }
        head = Buffer.concat([head, chunk])
        if (head.length < 512) continue
        if (!isTar(head)) return
        started = true
        yield head
      }
    }
    const index = await indexLayer(checked(), { name: match.path, signal, whiteouts: false })
    tar.commit()
    putIndex(store, index, ARCHIVE_INDEX)
    // A layer with the same bytes has a blob that can be fetched again.
    if (!store.records.get<LayerBlob>(BLOB, index.diffId))
      store.records.put(BLOB, index.diffId, { digest: index.diffId, size: index.size, mediaType: OCI.layer })
    return index
  } catch (error) {
    tar.abort()
    // Compressed or not: without a tar inside it is a file like any other.
    if (!started) return undefined
    throw error
  }
}

function isTar(head: Buffer): boolean {
  return !isZero(head, 0) && typeof readHeader(head, 0) !== 'string'
}

function firstBytes(path: string | Buffer): Buffer {
  const fd = openSync(path, 'r')
  try {
    const head = Buffer.alloc(512)
    return head.subarray(0, readSync(fd, head, 0, 512, 0))
  } finally {
    closeSync(fd)
  }
}

function* fileChunks(path: string | Buffer): Generator<Uint8Array> {
  const fd = openSync(path, 'r')
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafeSlow(1 << 20)
      const length = readSync(fd, buffer, 0, buffer.length, null)
      if (length === 0) return
      yield buffer.subarray(0, length)
    }
  } finally {
    closeSync(fd)
  }
}
