import { setImmediate } from 'node:timers/promises'
import { ArchimageError, cancelled } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { type Compressor, createCompressor } from '../sys/compress.ts'
import { createHasher, hashHex } from '../sys/hash.ts'
import type { TarEntry } from '../tar/entry.ts'
import { END_OF_ARCHIVE, encodeHeader, padding } from '../tar/writer.ts'
import type { Entry } from './entry.ts'
import { HostFile } from './host-file.ts'
import { CAPTURED, type LayerIndex, type LayerRecord, MAX_CAPTURED } from './index.ts'
import { asWindows, windowsTop } from './windows.ts'

/** What a layer shall contain at `path`; `kind` as in an index (default `entry`). */
export interface LayerItem {
  readonly path: string
  readonly kind?: LayerRecord['kind']
  readonly entry?: Entry
}

/** Bytes of a file: at once, or in pieces. */
export type FileBytes = Uint8Array | AsyncIterable<Uint8Array>

/** Where the blob goes (the store's BlobWriter is one): it hashes, and the blob appears at `commit` or never. */
export interface LayerSink {
  write(chunk: Uint8Array): void
  commit(): { readonly digest: Digest; readonly size: number }
  abort(): void
}

export interface WriteLayerOptions {
  /** In the byte order of paths, parents first; they are written in the order given. */
  readonly entries: Iterable<LayerItem>
  readonly windows?: boolean
  readonly compression: 'gzip' | 'zstd' | 'none'
  readonly level?: number
  readonly workers?: number
  /** Receives the blob; committed at the end, aborted when anything fails. */
  readonly sink: LayerSink
  /** Reads files whose content is in another layer. */
  readonly open?: (entry: Entry) => FileBytes | Promise<FileBytes>
  readonly signal?: AbortSignal
  /** Told now and then how many uncompressed bytes are done. */
  readonly progress?: (bytes: number) => void
}

export interface WrittenLayer {
  /** Of the blob. */
  readonly digest: Digest
  readonly size: number
  readonly diffId: Digest
  /** As `indexLayer` would make it from the blob. */
  readonly index: LayerIndex
  /** Where each 1 MiB of the tar begins in the blob; empty without compression. */
  readonly members: readonly number[]
}

/** Files up to this size are read in one go. */
const SMALL = 256 * 1024
/** Milliseconds after which the event loop gets a turn: signals, workers' answers, the live display. */
const TURN = 10
const EMPTY = new Uint8Array()

/**
 * Writes a layer: tar, compression, blob, index, in one pass and with bounded memory. The same items give the same bytes.
 * Every file is hashed again; throws CONTEXT_CHANGED when one of this machine is not what its entry says, DIGEST_MISMATCH
 * for one from another layer.
 */
export async function writeLayer(options: WriteLayerOptions): Promise<WrittenLayer> {
  const { sink, compression, level, workers } = options
  const compressor = createCompressor({
    format: compression,
    ...(level !== undefined && { level }),
    ...(workers !== undefined && { workers }),
    output: chunk => sink.write(chunk),
  })
  const writer = new LayerWriter(options, compressor)
  try {
    for (const item of options.entries) await writer.item(item)
    const { inputSha256, inputSize, members } = await writer.end()
    const diffId: Digest = `sha256:${inputSha256}`
    const { digest, size } = sink.commit()
    return { digest, size, diffId, members, index: writer.index(diffId, inputSize) }
  } catch (error) {
    compressor.abort()
    sink.abort()
    throw error
  }
}

class LayerWriter {
  readonly #options: WriteLayerOptions
  readonly #out: Compressor
  readonly #records: LayerRecord[] = []
  readonly #contents: { diffId: Digest }[] = []
  readonly #files = new Map<string, Uint8Array>()
  readonly #inodes = new Map<string, string>()
  readonly #scratch = Buffer.allocUnsafe(SMALL + 1)
  #offset = 0
  #turn = performance.now()
  #started = false

  constructor(options: WriteLayerOptions, out: Compressor) {
    this.#options = options
    this.#out = out
  }

  /** A promise only when there is something to wait for: most of 100,000 small files need none. */
  item(item: LayerItem): Promise<void> | undefined {
    const pause = this.#pause()
    return pause === undefined ? this.#item(item) : pause.then(() => this.#item(item))
  }

  async end(): ReturnType<Compressor['finish']> {
    if (!this.#started) await this.#begin(0)
    await this.#push(END_OF_ARCHIVE)
    this.#options.progress?.(this.#offset)
    return await this.#out.finish()
  }

  index(diffId: Digest, size: number): LayerIndex {
    for (const content of this.#contents) content.diffId = diffId
    const files = this.#files.size > 0 && { files: Object.fromEntries(this.#files) }
    return { diffId, size, entries: this.#records, ...files }
  }

  #pause(): Promise<void> | undefined {
    const now = performance.now()
    if (now - this.#turn < TURN) return undefined
    this.#turn = now
    return this.#breathe()
  }

  async #breathe(): Promise<void> {
    const { signal, progress } = this.#options
    progress?.(this.#offset)
    await setImmediate()
    if (signal?.aborted) throw cancelled(signal.reason)
    this.#turn = performance.now()
  }

  #push(bytes: Uint8Array): Promise<void> | undefined {
    this.#offset += bytes.length
    return this.#out.push(bytes)
  }

  async #begin(mtime: number): Promise<void> {
    this.#started = true
    if (!this.#options.windows) return
    for (const top of windowsTop(mtime)) await this.#push(encodeHeader(top))
  }

  async #item(item: LayerItem): Promise<void> {
    const { path, kind = 'entry', entry } = item
    if (!this.#started) await this.#begin(entry?.mtime ?? 0)
    if (kind !== 'entry') return await this.#marker(path, kind)
    if (entry === undefined) throw new Error(`no entry for ${path}`)
    if (this.#options.windows && path === '') return
    const first = entry.inode === undefined ? undefined : this.#inodes.get(entry.inode)
    if (first !== undefined) {
      await this.#header({ ...tarEntry(path, entry), type: 'hardlink', size: 0, link: first })
      const { mode, uid, gid, mtime, xattrs } = entry
      const inode = { mode, uid, gid, mtime: Math.floor(mtime), ...(xattrs && { xattrs }) }
      this.#records.push({ path, kind, link: first, inode })
      return
    }
    if (entry.inode !== undefined && entry.type !== 'dir') this.#inodes.set(entry.inode, path)
    const tar = await this.#header(tarEntry(path, entry))
    const record = indexed(entry, tar)
    this.#records.push({ path, kind, entry: record })
    if (entry.type !== 'file') return
    const content = { kind: 'layer' as const, diffId: 'sha256:' as Digest, offset: this.#offset }
    this.#contents.push(content)
    record.content = content
    const digest = await this.#body(path, entry)
    if (entry.digest !== undefined && entry.digest !== digest) throw changed(path, entry)
    record.digest = digest
    await this.#pad(entry.size)
  }

  #header(tar: TarEntry): TarEntry | Promise<TarEntry> {
    const written = this.#options.windows ? asWindows(tar) : tar
    const wait = this.#push(encodeHeader(written))
    return wait === undefined ? written : wait.then(() => written)
  }

  async #marker(path: string, kind: 'whiteout' | 'opaque'): Promise<void> {
    const slash = path.lastIndexOf('/') + 1
    const below = path === '' ? '' : `${path}/`
    const name = kind === 'opaque' ? `${below}.wh..wh..opq` : `${path.slice(0, slash)}.wh.${path.slice(slash)}`
    await this.#header({ path: name, type: 'file', mode: 0, uid: 0, gid: 0, size: 0, mtime: 0 })
    this.#records.push({ path, kind })
  }

  #pad(size: number): Promise<void> | undefined {
    const zeros = padding(size)
    return zeros === 0 ? undefined : this.#push(END_OF_ARCHIVE.subarray(0, zeros))
  }

  /** Writes the content and returns its digest. Throws when its size is not the entry's. */
  async #body(path: string, entry: Entry): Promise<Digest> {
    const { content, size } = entry
    if (content === undefined && size > 0) throw new Error(`no content for ${path}`)
    if (content?.kind === 'host') return await this.#host(path, entry, content.path)
    const bytes =
      content === undefined ? EMPTY : content.kind === 'bytes' ? content.bytes : await this.#options.open!(entry)
    if (bytes instanceof Uint8Array) {
      if (bytes.length !== size) throw changed(path, entry)
      return await this.#whole(path, bytes)
    }
    const hasher = createHasher()
    let left = size
    for await (const chunk of bytes) {
      left -= chunk.length
      if (left < 0) throw changed(path, entry)
      hasher.update(chunk)
      await this.#push(chunk)
      await this.#pause()
    }
    if (left !== 0) throw changed(path, entry)
    return `sha256:${hasher.hex()}`
  }

  #whole(path: string, bytes: Uint8Array): Digest | Promise<Digest> {
    if (CAPTURED.includes(path) && bytes.length <= MAX_CAPTURED) this.#files.set(path, Buffer.from(bytes))
    const digest: Digest = `sha256:${hashHex('sha256', bytes)}`
    const wait = this.#push(bytes)
    return wait === undefined ? digest : wait.then(() => digest)
  }

  async #host(path: string, entry: Entry, name: string | Buffer): Promise<Digest> {
    const { size } = entry
    const file = HostFile.open(name)
    try {
      if (size <= SMALL) {
        // one byte more than expected shows a file that has grown
        if (file.read(this.#scratch, size + 1) !== size) throw changed(path, entry)
        return await this.#whole(path, this.#scratch.subarray(0, size))
      }
      const hasher = createHasher()
      for (let left = size; left > 0; ) {
        const space = this.#out.space()
        const count = file.read(space, Math.min(space.length, left))
        if (count === 0) throw changed(path, entry)
        hasher.update(space.subarray(0, count))
        left -= count
        this.#offset += count
        await this.#out.wrote(count)
        await this.#pause()
      }
      if (file.read(this.#scratch, 1) !== 0) throw changed(path, entry)
      return `sha256:${hasher.hex()}`
    } finally {
      file.close()
    }
  }
}

/** The header of an entry as a tar has it, without the bytes. */
export function tarEntry(path: string, entry: Entry): TarEntry {
  const { type, mode, uid, gid, size, mtime, link, major, minor, xattrs, pax } = entry
  return {
    path,
    type,
    mode,
    uid,
    gid,
    size,
    mtime,
    ...(link !== undefined && { link }),
    ...((type === 'char' || type === 'block') && { major: major ?? 0, minor: minor ?? 0 }),
    ...(xattrs !== undefined && { xattrs: rawValues(xattrs) }),
    ...(pax !== undefined && { pax }),
  }
}

/** The entry as the index has it: what the tar says, without what only this run knows. */
function indexed(entry: Entry, tar: TarEntry): { -readonly [K in keyof Entry]: Entry[K] } {
  return {
    type: entry.type,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    mtime: Math.floor(entry.mtime),
    size: entry.type === 'file' ? entry.size : 0,
    ...(entry.link !== undefined && { link: entry.link }),
    ...(tar.major !== undefined && { major: tar.major, minor: tar.minor ?? 0 }),
    ...(entry.xattrs !== undefined && { xattrs: entry.xattrs }),
    ...(tar.pax !== undefined && { pax: tar.pax }),
  }
}

function rawValues(values: Readonly<Record<string, string>>): Record<string, Uint8Array> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Buffer.from(value, 'base64')]))
}

function changed(path: string, entry: Entry): ArchimageError {
  if (entry.content?.kind === 'layer')
    return new ArchimageError(
      'DIGEST_MISMATCH',
      `"${path}" of layer ${entry.content.diffId} is not what its index says`,
      {
        hint: 'the stored layer is damaged; remove it with "archimage cache prune" and build again',
      },
    )
  return new ArchimageError('CONTEXT_CHANGED', `${hostName(path, entry)} changed while it was being built`, {
    hint: 'build again when nothing writes there; files that change all the time belong into .dockerignore',
  })
}

function hostName(path: string, entry: Entry): string {
  return entry.content?.kind === 'host' ? String(entry.content.path) : `"${path}"`
}
