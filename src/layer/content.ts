import { closeSync, mkdirSync, openSync, readSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import { ArchimageError, systemError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { decompress, decompressMember, MEMBER_SIZE } from '../sys/compress.ts'
import { readFully, removeFile, temporaryName, writeAll } from '../sys/files.ts'
import { createHasher } from '../sys/hash.ts'
import type { Entry } from './entry.ts'

/** Where the bytes of a layer are on this machine. */
export interface LayerBlob {
  /** The blob's file. */
  readonly path: string
  readonly compression: 'gzip' | 'zstd' | 'none'
  /** Where each 1 MiB of the tar begins in the blob, for layers that writeLayer made. */
  readonly members?: readonly number[]
}

/** What the store knows: passed in, so that this room needs nothing of it. */
export interface LayerSource {
  /** The blob of a layer, fetched first if need be. Throws NOT_FOUND when it cannot be had. */
  locate(diffId: Digest): LayerBlob | Promise<LayerBlob>
  /** Where the uncompressed tar of a foreign layer is, or may be put (in an existing directory). */
  tarPath(diffId: Digest): string
}

interface OpenLayer {
  readonly fd: number
  /** Set when the blob is read through its members. */
  readonly seek?: { readonly members: readonly number[]; readonly format: 'gzip' | 'zstd' }
}

/** Files up to this size are given in one piece. */
const WHOLE = MEMBER_SIZE
const MAX_CACHED = 16

/**
 * Reads files of layers. Layers of ours are read through their members; of a foreign compressed layer the first read
 * writes an uncompressed tar, checked against the diff ID. Files stay open until `close`.
 */
export class LayerContent {
  readonly #source: LayerSource
  readonly #layers = new Map<Digest, OpenLayer>()
  readonly #opening = new Map<Digest, Promise<OpenLayer>>()
  readonly #members = new Map<string, Uint8Array>()
  #closed = false

  constructor(source: LayerSource) {
    this.#source = source
  }

  /**
   * The bytes of a file: in one piece when it is small (at once if its layer is open already), else in chunks. Content of
   * kind `host` is not this class's business. The digest is for the caller to check while the bytes pass.
   */
  open(entry: Entry): Uint8Array | AsyncIterable<Uint8Array> | Promise<Uint8Array | AsyncIterable<Uint8Array>> {
    const { content, size } = entry
    if (content?.kind === 'bytes') return content.bytes
    if (content?.kind !== 'layer') throw new Error('an entry without content in a layer')
    const { diffId, offset } = content
    if (size === 0) return new Uint8Array()
    const layer = this.#layers.get(diffId)
    if (layer !== undefined) return this.#from(layer, diffId, offset, size)
    return this.#prepare(diffId).then(ready => this.#from(ready, diffId, offset, size))
  }

  /** The whole file in memory; throws TAR_INVALID beyond `limit` bytes, DIGEST_MISMATCH when the bytes are wrong. */
  async read(entry: Entry, limit: number = 64 << 20): Promise<Buffer> {
    if (entry.size > limit)
      throw new ArchimageError('TAR_INVALID', `a file of ${entry.size} bytes is too big for this use`)
    const bytes = await this.open(entry)
    const whole = bytes instanceof Uint8Array ? Buffer.from(bytes) : Buffer.concat(await Array.fromAsync(bytes))
    const hasher = createHasher()
    hasher.update(whole)
    const digest = `sha256:${hasher.hex()}`
    if (entry.digest !== undefined && entry.digest !== digest)
      throw new ArchimageError('DIGEST_MISMATCH', `a stored file has digest ${digest} instead of ${entry.digest}`)
    return whole
  }

  close(): void {
    this.#closed = true
    for (const { fd } of this.#layers.values()) closeSync(fd)
    this.#layers.clear()
    this.#members.clear()
  }

  #from(layer: OpenLayer, diffId: Digest, offset: number, size: number): Uint8Array | AsyncIterable<Uint8Array> {
    return size <= WHOLE ? this.#piece(layer, diffId, offset, size) : this.#pieces(layer, diffId, offset, size)
  }

  async *#pieces(layer: OpenLayer, diffId: Digest, offset: number, size: number): AsyncGenerator<Uint8Array> {
    for (let at = offset; at < offset + size; ) {
      // up to the end of a member, so that each is decompressed once
      const length = Math.min(MEMBER_SIZE - (at % MEMBER_SIZE), offset + size - at)
      yield this.#piece(layer, diffId, at, length)
      at += length
    }
  }

  #piece(layer: OpenLayer, diffId: Digest, offset: number, length: number): Uint8Array {
    if (layer.seek === undefined) return readAt(layer.fd, offset, length, diffId)
    const first = Math.floor(offset / MEMBER_SIZE)
    const last = Math.floor((offset + length - 1) / MEMBER_SIZE)
    const parts: Uint8Array[] = []
    for (let i = first; i <= last; i++) {
      const base = i * MEMBER_SIZE
      const member = this.#member(layer, layer.seek, diffId, i)
      parts.push(member.subarray(Math.max(0, offset - base), offset + length - base))
    }
    const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    if (bytes.length !== length) throw damaged(diffId)
    return bytes
  }

  #member(layer: OpenLayer, seek: NonNullable<OpenLayer['seek']>, diffId: Digest, i: number): Uint8Array {
    const key = `${diffId} ${i}`
    const cached = this.#members.get(key)
    if (cached !== undefined) return cached
    const start = seek.members[i]
    const end = seek.members[i + 1]
    if (start === undefined) throw damaged(diffId)
    const bytes = end === undefined ? readToEnd(layer.fd, start) : readAt(layer.fd, start, end - start, diffId)
    const member = decompressMember(seek.format, bytes)
    if (this.#members.size >= MAX_CACHED) this.#members.delete(this.#members.keys().next().value!)
    this.#members.set(key, member)
    return member
  }

  #prepare(diffId: Digest): Promise<OpenLayer> {
    let opening = this.#opening.get(diffId)
    if (opening === undefined) {
      opening = this.#openLayer(diffId).finally(() => this.#opening.delete(diffId))
      this.#opening.set(diffId, opening)
    }
    return opening
  }

  async #openLayer(diffId: Digest): Promise<OpenLayer> {
    const tar = this.#source.tarPath(diffId)
    let layer = openIfThere(tar)
    if (layer === undefined) {
      const { path, compression, members } = await this.#source.locate(diffId)
      if (compression === 'none') layer = { fd: openBlob(path) }
      else if (members !== undefined && members.length > 0)
        layer = { fd: openBlob(path), seek: { members, format: compression } }
      else {
        await writeTar(path, compression, tar, diffId)
        layer = { fd: openBlob(tar) }
      }
    }
    if (this.#closed) {
      closeSync(layer.fd)
      throw new ArchimageError('CANCELLED', 'interrupted')
    }
    this.#layers.set(diffId, layer)
    return layer
  }
}

function openIfThere(path: string): OpenLayer | undefined {
  try {
    return { fd: openSync(path, 'r') }
  } catch {
    return undefined
  }
}

function openBlob(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw (error as { code?: string }).code === 'ENOENT'
      ? new ArchimageError('NOT_FOUND', `the layer ${path} is not in the store any more`, { cause: error })
      : systemError(error, `opening ${path}`)
  }
}

function readAt(fd: number, offset: number, length: number, diffId: Digest): Buffer<ArrayBuffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  if (readFully(fd, bytes, offset) < length) throw damaged(diffId)
  return bytes
}

/** The last member: it cannot be bigger than a member that does not compress at all, with the frame around it. */
function readToEnd(fd: number, offset: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.allocUnsafeSlow(MEMBER_SIZE + 4096)
  return bytes.subarray(0, readFully(fd, bytes, offset))
}

function damaged(diffId: Digest): ArchimageError {
  return new ArchimageError('STORE_BROKEN', `the stored layer with diff ID ${diffId} is damaged`, {
    hint: 'remove it with "archimage cache prune" and build again',
  })
}

/** Decompresses a blob into `tar`, which appears by rename when its digest is the diff ID. */
async function writeTar(blob: string, format: 'gzip' | 'zstd', tar: string, diffId: Digest): Promise<void> {
  const temporary = `${tar}.${temporaryName()}`
  const source = openBlob(blob)
  let fd: number | undefined
  try {
    mkdirSync(dirname(tar), { recursive: true, mode: 0o700 })
    fd = openSync(temporary, 'wx', 0o600)
    const hasher = createHasher()
    for await (const chunk of decompress(format, chunksOf(source), { name: `layer ${diffId}` })) {
      hasher.update(chunk)
      writeAll(fd, chunk)
    }
    const found = `sha256:${hasher.hex()}`
    if (found !== diffId)
      throw new ArchimageError('DIGEST_MISMATCH', `a layer should have diff ID ${diffId}, its content has ${found}`)
    closeSync(fd)
    fd = undefined
    renameSync(temporary, tar)
  } catch (error) {
    if (fd !== undefined) closeSync(fd)
    removeFile(temporary)
    throw systemError(error, `writing ${tar}`)
  } finally {
    closeSync(source)
  }
}

function* chunksOf(fd: number): Generator<Uint8Array> {
  for (;;) {
    const bytes = Buffer.allocUnsafeSlow(MEMBER_SIZE)
    const count = readSync(fd, bytes, 0, bytes.length, null)
    if (count === 0) return
    yield bytes.subarray(0, count)
  }
}
