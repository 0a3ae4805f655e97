import { closeSync, openSync, readSync } from 'node:fs'
import { ArchimageError, isArchimageError } from '../../errors/error.ts'
import type { Entry } from '../../layer/entry.ts'
import { indexLayer, type LayerIndex, type LayerRecord } from '../../layer/index.ts'
import { Tree } from '../../layer/tree.ts'
import type { FileBytes } from '../../layer/write.ts'
import type { Digest } from '../../oci/digest.ts'
import { OCI } from '../../oci/media-types.ts'
import type { SourceMatch } from '../../plan/sources.ts'
import type { Store } from '../../store/store.ts'
import { decompress, sniffCompression, withFirst } from '../../sys/compress.ts'
import { isZero, readHeader } from '../../tar/header.ts'
import { fsPath } from '../../tar/path-bytes.ts'
import { BLOB, knownIndex, type LayerBlob, putIndex } from './base.ts'
import { Change } from './change.ts'
import { unpackInto } from './copy.ts'

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

/** What reading archives needs. */
export interface ArchiveTools {
  readonly store: Store
  readonly signal: AbortSignal
  /** Reads files that are in a layer, or in another archive. */
  readonly open: (entry: Entry) => FileBytes | Promise<FileBytes>
}

/**
 * The entries of a file that ADD unpacks: a tar, plain or compressed with gzip, bzip2, xz or zstd, told by its content as
 * docker does. Undefined for any other file. The uncompressed tar is kept in the store's cache.
 */
export async function archiveEntries(
  { path, entry }: Pick<SourceMatch, 'path' | 'entry'>,
  tools: ArchiveTools,
): Promise<readonly ArchiveEntry[] | undefined> {
  if (entry.type !== 'file' || entry.digest === undefined) return undefined
  const { store } = tools
  const known = store.records.get<{ diffId?: Digest }>(ARCHIVE, entry.digest)
  if (known && known.diffId === undefined) return undefined
  const there = known?.diffId !== undefined && (store.has(known.diffId) || store.tar(known.diffId) !== undefined)
  const stored = there ? knownIndex(store, known.diffId!, ARCHIVE_INDEX) : undefined
  const index = stored ?? (await unpack(path, entry, tools))
  store.records.put(ARCHIVE, entry.digest, index ? { diffId: index.diffId } : {})
  return index?.entries
}

export interface ArchiveTree {
  readonly tree: Tree
  /** The time of its newest file, in seconds. */
  readonly newest?: number
}

/** The tree that unpacking an archive into nothing makes; undefined for any other file. */
export async function archiveTree(
  file: Pick<SourceMatch, 'path' | 'entry'>,
  tools: ArchiveTools,
): Promise<ArchiveTree | undefined> {
  const entries = await archiveEntries(file, tools)
  if (entries === undefined) return undefined
  const change = new Change(new Tree())
  try {
    unpackInto(change, '', entries, undefined, file.entry.digest!)
  } catch (error) {
    if (!isArchimageError(error)) throw error
    const { code, message, hint } = error
    throw new ArchimageError(code, `${file.path}: ${message}`, {
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    })
  }
  let newest: number | undefined
  for (const { entry, link, inode } of entries) {
    const time = link === undefined ? (entry?.type === 'file' ? entry.mtime : undefined) : inode?.mtime
    if (time !== undefined && time > (newest ?? Number.NEGATIVE_INFINITY)) newest = time
  }
  return { tree: change.tree, ...(newest === undefined ? {} : { newest }) }
}

async function unpack(path: string, entry: Entry, tools: ArchiveTools): Promise<LayerIndex | undefined> {
  const { store, signal } = tools
  const chunks = await chunksOf(entry, tools)
  const first = await chunks.next()
  const format = sniffCompression(first.done ? new Uint8Array() : first.value)
  const tar = store.createTar()
  let started = false
  try {
    const source = decompress(format, withFirst(first, chunks), { name: path, limit: MAX_TAR, signal })
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
    const index = await indexLayer(checked(), { name: path, signal, whiteouts: false })
    // A plain tar that is a blob already needs no copy.
    if (store.has(index.diffId)) tar.abort()
    else tar.commit()
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

async function chunksOf({ content, ...entry }: Entry, tools: ArchiveTools): Promise<AsyncIterator<Uint8Array>> {
  if (content?.kind === 'host') {
    const { path } = content
    return asyncIterator(fileChunks(typeof path === 'string' ? fsPath(path) : path))
  }
  const bytes = await tools.open({ ...entry, ...(content ? { content } : {}) })
  return bytes instanceof Uint8Array ? asyncIterator([bytes]) : bytes[Symbol.asyncIterator]()
}

async function* asyncIterator(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks
}

function isTar(head: Buffer): boolean {
  return !isZero(head, 0) && typeof readHeader(head, 0) !== 'string'
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
