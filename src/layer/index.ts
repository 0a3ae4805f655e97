import { ArchimageError, cancelled } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import { createHasher, type Hasher, hashHex } from '../sys/hash.ts'
import type { TarEntry } from '../tar/entry.ts'
import { type TarHandler, TarReader } from '../tar/reader.ts'
import type { Entry } from './entry.ts'

/** One record of a layer in the order of its tar. */
export interface LayerRecord {
  /** Where it stands in the root filesystem; "" is the root. */
  readonly path: string
  /** `whiteout` hides what lower layers have at `path`, `opaque` what they have inside the directory `path`. */
  readonly kind: 'entry' | 'whiteout' | 'opaque'
  /** The entry, when `kind` is `entry` and it is not a hard link. */
  readonly entry?: Entry
  /** Path that a hard link names, in this layer or a lower one. */
  readonly link?: string
  /** What the header of a hard link says of the file: tools that unpack it apply that to the file, under all its names. */
  readonly inode?: Pick<Entry, 'mode' | 'uid' | 'gid' | 'mtime' | 'xattrs'>
}

/** All that is in a layer except the bytes of its files: enough to compute trees without unpacking (DESIGN §4). */
export interface LayerIndex {
  readonly diffId: Digest
  /** Bytes of the uncompressed tar. */
  readonly size: number
  readonly entries: readonly LayerRecord[]
  /** The bytes of etc/passwd and etc/group, by path, where the layer has them. */
  readonly files?: Readonly<Record<string, Uint8Array>>
}

export interface IndexOptions {
  /** What the layer is called in messages. */
  readonly name?: string
  /** The diff ID that the uncompressed bytes must have; DIGEST_MISMATCH otherwise. */
  readonly diffId?: Digest
  /** A windows layer: the tree is what stands below Files/. */
  readonly windows?: boolean
  /** False for an archive that is no layer: names that begin with ".wh." are names like others. */
  readonly whiteouts?: boolean
  readonly signal?: AbortSignal
}

/** Files whose bytes an index keeps: `--chown` and USER look names up in them. */
export const CAPTURED: readonly string[] = ['etc/passwd', 'etc/group']
export const MAX_CAPTURED = 1 << 20
const MAX_ENTRIES = 5_000_000
const EMPTY_SHA256: Digest = `sha256:${hashHex('sha256', new Uint8Array())}`

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * Reads the uncompressed tar of a layer and makes its index, with the sha256 of every file. Throws TAR_INVALID, and
 * DIGEST_MISMATCH when the bytes are not those of `diffId`.
 */
export async function indexLayer(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: IndexOptions = {},
): Promise<LayerIndex> {
  const name = options.name ?? 'layer'
  const hasher = createHasher()
  const collector = new Collector(name, options.windows ?? false, options.whiteouts ?? true)
  // the diff ID proves that nothing is missing: tools exist that leave the end marker out
  const reader = new TarReader(collector, { name, endOptional: options.diffId !== undefined })
  for await (const chunk of source) {
    if (options.signal?.aborted) throw cancelled(options.signal.reason)
    hasher.update(chunk)
    reader.push(chunk)
  }
  const diffId: Digest = `sha256:${hasher.hex()}`
  if (options.diffId !== undefined && options.diffId !== diffId)
    throw new ArchimageError(
      'DIGEST_MISMATCH',
      `${name}: its content is ${diffId}, the image config says ${options.diffId}`,
    )
  reader.finish()
  return collector.index(diffId, reader.offset)
}

/** What a tar entry's name means in a layer (image-spec, layer.md, whiteouts); undefined for what is to be ignored. */
export function recordKind(path: string): { readonly kind: LayerRecord['kind']; readonly path: string } | undefined {
  const slash = path.lastIndexOf('/')
  if (!path.startsWith('.wh.', slash + 1)) return { kind: 'entry', path }
  const hidden = path.slice(slash + 5)
  const dir = slash < 0 ? '' : path.slice(0, slash)
  if (hidden === '.wh..opq') return { kind: 'opaque', path: dir }
  // other names with the prefix twice are bookkeeping of aufs (.wh..wh.plnk, .wh..wh.aufs)
  if (hidden.startsWith('.wh.')) return undefined
  return { kind: 'whiteout', path: dir === '' ? hidden : `${dir}/${hidden}` }
}

class Collector implements TarHandler {
  readonly #name: string
  readonly #windows: boolean
  readonly #whiteouts: boolean
  readonly #records: LayerRecord[] = []
  readonly #files = new Map<string, Uint8Array>()
  /** Content of files, completed when digest and diff ID are known. */
  readonly #contents: { diffId: Digest }[] = []
  /** The file that is being read and, once it turns out to come in several pieces, its hasher. */
  #file: Writable<Entry> | undefined
  #hasher: Hasher | undefined
  #capture: { readonly path: string; readonly chunks: Buffer[] } | undefined

  constructor(name: string, windows: boolean, whiteouts: boolean) {
    this.#name = name
    this.#whiteouts = whiteouts
    this.#windows = windows
  }

  entry(tar: TarEntry, offset: number): void {
    this.#file = undefined
    const place = this.#windows ? belowFiles(tar.path) : tar.path
    if (place === undefined) return
    const record = this.#whiteouts ? recordKind(place) : { kind: 'entry' as const, path: place }
    if (record === undefined) return
    const { kind, path } = record
    if (kind === 'whiteout' && /(?:^|\/)\.{0,2}$/.test(path))
      throw new ArchimageError('TAR_INVALID', `${this.#name}: "${tar.path}" is a whiteout of nothing`)
    if (this.#records.length >= MAX_ENTRIES)
      throw new ArchimageError('TAR_INVALID', `${this.#name}: it has more than ${MAX_ENTRIES} entries`)
    if (kind !== 'entry') this.#records.push({ kind, path })
    else if (tar.type === 'hardlink') this.#records.push({ kind, path, link: this.#target(tar), inode: inodeOf(tar) })
    else {
      const entry = this.#entry(tar, path, offset)
      this.#records.push({ kind, path, entry })
    }
  }

  data(chunk: Uint8Array): void {
    if (this.#file === undefined) return
    this.#capture?.chunks.push(Buffer.from(chunk))
    if (chunk.length === this.#file.size) this.#file.digest = `sha256:${hashHex('sha256', chunk)}`
    else {
      this.#hasher ??= createHasher()
      this.#hasher.update(chunk)
    }
  }

  end(): void {
    if (this.#file !== undefined && this.#hasher !== undefined) this.#file.digest = `sha256:${this.#hasher.hex()}`
    if (this.#capture !== undefined) this.#files.set(this.#capture.path, Buffer.concat(this.#capture.chunks))
    this.#file = undefined
    this.#hasher = undefined
    this.#capture = undefined
  }

  index(diffId: Digest, size: number): LayerIndex {
    for (const content of this.#contents) content.diffId = diffId
    const files = Object.fromEntries(this.#files)
    return { diffId, size, entries: this.#records, ...(this.#files.size > 0 && { files }) }
  }

  #entry(tar: TarEntry, path: string, offset: number): Entry {
    const { xattrs, pax, link } = tar
    const entry: Writable<Entry> = {
      type: tar.type as Entry['type'],
      mode: tar.mode,
      uid: tar.uid,
      gid: tar.gid,
      mtime: Math.floor(tar.mtime),
      size: tar.size,
    }
    if (link !== undefined) entry.link = this.#windows && link.startsWith('Files/') ? link.slice(6) : link
    if (tar.major !== undefined) entry.major = tar.major
    if (tar.minor !== undefined) entry.minor = tar.minor
    if (xattrs !== undefined) entry.xattrs = base64Values(xattrs)
    if (pax !== undefined) entry.pax = pax
    if (tar.type === 'file') {
      const content = { kind: 'layer' as const, diffId: 'sha256:' as Digest, offset }
      this.#contents.push(content)
      entry.content = content
      this.#file = entry
      if (tar.size === 0) entry.digest = EMPTY_SHA256
      if (CAPTURED.includes(path) && tar.size <= MAX_CAPTURED) this.#capture = { path, chunks: [] }
      else this.#files.delete(path)
    }
    return entry
  }

  #target(tar: TarEntry): string {
    const target = this.#windows ? belowFiles(tar.link!) : tar.link!
    if (target !== undefined && target !== '') return target
    throw new ArchimageError('TAR_INVALID', `${this.#name}: "${tar.path}" is a hard link to outside of Files/`)
  }
}

function inodeOf({ mode, uid, gid, mtime, xattrs }: TarEntry): NonNullable<LayerRecord['inode']> {
  return { mode, uid, gid, mtime: Math.floor(mtime), ...(xattrs && { xattrs: base64Values(xattrs) }) }
}

function belowFiles(path: string): string | undefined {
  return path === 'Files' ? '' : path.startsWith('Files/') ? path.slice(6) : undefined
}

function base64Values(values: Readonly<Record<string, Uint8Array>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([key, v]) => [
      key,
      Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString('base64'),
    ]),
  )
}
