import { setImmediate } from 'node:timers/promises'
import { ArchimageError, cancelled } from '../errors/error.ts'
import type { Entry } from '../layer/entry.ts'
import { HostFile } from '../layer/host-file.ts'
import type { FileBytes, LayerItem } from '../layer/write.ts'
import type { Digest } from '../oci/digest.ts'
import type { Extent } from '../store/snapshots.ts'
import { closeFd } from '../sys/at.ts'
import { createHasher, hashHex } from '../sys/hash.ts'
import { EntryWriter } from './entry-writer.ts'
import type { Marks } from './marks.ts'
import { canThread, SMALL, WriteThreads } from './write-threads.ts'

export interface DirectoryOptions {
  readonly marks: Marks
  /** The layer whose uncompressed bytes come with `stream`; files of other layers come from `open`. */
  readonly layer?: { readonly diffId: Digest; readonly stream: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array> }
  readonly open: (entry: Entry) => FileBytes | Promise<FileBytes>
  readonly signal?: AbortSignal
  /** Told now and then how many bytes of files are written. */
  readonly progress?: (bytes: number) => void
}

export interface WrittenDirectory extends Required<Extent> {
  /** Devices that only root of the machine may make; left out, as podman and BuildKit do in a user namespace. */
  readonly devices: number
  /** Attributes that could not be set here: `trusted.*` in a user namespace, any on a file system that has none. */
  readonly attributes: number
}

/** Milliseconds after which the event loop gets a turn. */
const TURN = 10
const BLOCK = 4096
/** Files of a layer that are worth starting threads for. */
const MANY = 2000
/** Bytes of a file of this machine or of another layer that are read at once. */
const PIECE = 1 << 20

/**
 * Fills `root`, an empty directory, with `items` (parents first, every parent among them) as an overlay's directory has
 * them, with `marks` for what is not there. Owners, modes, attributes, times and hard links are those of the entries; attributes of
 * overlays are dropped and devices 0:0 refused (TAR_INVALID), so that a layer can hide or redirect nothing. No link is ever followed: each directory is opened by
 * its name in the one above. Bytes are checked (DIGEST_MISMATCH, CONTEXT_CHANGED). Throws also PERMISSION, where an owner does not exist in the user
 * namespace, NO_SPACE, CANCELLED; what is written by then is the caller's to remove.
 */
export async function writeDirectory(
  root: string,
  items: readonly LayerItem[],
  options: DirectoryOptions,
): Promise<WrittenDirectory> {
  const writer = new DirectoryWriter(root, options)
  try {
    return await writer.write(items)
  } finally {
    writer.close()
  }
}

interface FileItem {
  readonly path: string
  readonly entry: Entry
  readonly offset: number
}

/** A file that bytes are put into as they come. */
interface OpenFile {
  done: number
  put(bytes: Uint8Array): void
  finish(): void
  close(): void
}

async function inThread(threads: WriteThreads, path: string, entry: Entry): Promise<OpenFile> {
  const space = await threads.space(path, entry)
  const file: OpenFile = {
    done: 0,
    put: bytes => space.set(bytes, file.done),
    finish() {},
    close() {},
  }
  return file
}

class DirectoryWriter {
  readonly #options: DirectoryOptions
  readonly #root: string
  readonly #writer: EntryWriter
  #turn = performance.now()
  #written = 0
  #bytes = 0
  #names = 0
  #contents = 0
  #attributes = 0

  constructor(root: string, options: DirectoryOptions) {
    this.#root = root
    this.#writer = new EntryWriter(root)
    this.#options = options
  }

  close(): void {
    this.#writer.close()
  }

  async write(items: readonly LayerItem[]): Promise<WrittenDirectory> {
    const { layer, marks } = this.#options
    const opaque = new Set<string>()
    const dirs: { path: string; entry: Entry }[] = []
    const streamed: FileItem[] = []
    const read: FileItem[] = []
    const links: { path: string; first: string }[] = []
    const inodes = new Map<string, string>()
    for (const { path, kind = 'entry', entry } of items) {
      if (this.#due()) await this.#breathe()
      if (kind === 'opaque') opaque.add(path)
      else if (kind === 'whiteout') {
        this.#writer.whiteout(path, marks)
        this.#names++
      } else if (path !== '' && entry !== undefined) {
        if (entry.type === 'dir') this.#bytes += BLOCK
        if (entry.type === 'file') this.#contents += entry.size
        this.#names++
        const first = entry.inode === undefined || entry.type === 'dir' ? undefined : inodes.get(entry.inode)
        if (first !== undefined) {
          links.push({ path, first })
          continue
        }
        if (entry.inode !== undefined) inodes.set(entry.inode, path)
        if (entry.type === 'file') this.#bytes += Math.ceil(entry.size / BLOCK) * BLOCK
        const { content } = entry
        if (entry.type === 'dir') dirs.push({ path, entry })
        if (entry.type !== 'file') this.#writer.make(path, entry)
        else if (entry.size > 0 && content?.kind === 'layer' && content.diffId === layer?.diffId)
          streamed.push({ path, entry, offset: content.offset })
        else read.push({ path, entry, offset: 0 })
      }
    }
    if (streamed.length > 0) await this.#stream(streamed)
    for (const { path, entry } of read) await this.#file(path, entry)
    for (const { path, first } of links) this.#writer.link(path, first)
    for (const { path, entry } of dirs.reverse()) {
      if (this.#due()) await this.#breathe()
      this.#writer.finishDirectory(path, entry, opaque.has(path) ? marks : undefined)
    }
    const { devices, attributes } = this.#writer
    return {
      ...{ bytes: this.#bytes, names: this.#names - devices, content: this.#contents, devices },
      attributes: attributes + this.#attributes,
    }
  }

  #due(): boolean {
    return performance.now() - this.#turn > TURN
  }

  async #breathe(): Promise<void> {
    const { signal, progress } = this.#options
    progress?.(this.#written)
    await setImmediate()
    if (signal?.aborted) throw cancelled(signal.reason)
    this.#turn = performance.now()
  }

  /** Files of one layer in the order of its tar, from one pass over its bytes, which must be those of the diff ID. */
  async #stream(files: FileItem[]): Promise<void> {
    const { diffId, stream } = this.#options.layer!
    files.sort((a, b) => a.offset - b.offset)
    const threads = files.length > MANY && canThread ? new WriteThreads(this.#root) : undefined
    const whole = createHasher()
    let at = 0
    let next = 0
    let open: OpenFile | undefined
    try {
      for await (const chunk of stream()) {
        whole.update(chunk)
        const end = at + chunk.length
        while (next < files.length) {
          const { path, entry, offset } = files[next]!
          const done = open?.done ?? 0
          if (offset + done >= end) break
          open ??=
            threads !== undefined && entry.size <= SMALL
              ? await inThread(threads, path, entry)
              : this.#open(path, entry)
          const piece = chunk.subarray(offset + done - at, offset + entry.size - at)
          open.put(piece)
          open.done += piece.length
          this.#written += piece.length
          if (open.done < entry.size) break
          open.finish()
          open = undefined
          next++
          if (this.#due()) await this.#breathe()
        }
        at = end
        if (this.#due()) await this.#breathe()
      }
      this.#attributes += (await threads?.end()) ?? 0
    } finally {
      open?.close()
      await threads?.close()
    }
    if (`sha256:${whole.hex()}` !== diffId || next < files.length)
      throw new ArchimageError('DIGEST_MISMATCH', `a layer should have diff ID ${diffId}, its content is another`, {
        hint: 'remove it with "archimage cache prune" and build again',
      })
  }

  #open(path: string, entry: Entry): OpenFile {
    const fd = this.#writer.create(path, entry)
    let open = true
    const close = (): void => {
      if (open) closeFd(fd)
      open = false
    }
    return {
      done: 0,
      put: bytes => this.#writer.put(path, fd, bytes),
      finish: () => {
        this.#writer.finish(path, entry, fd)
        close()
      },
      close,
    }
  }

  async #file(path: string, entry: Entry): Promise<void> {
    const { content, size } = entry
    const file = this.#open(path, entry)
    try {
      if (content?.kind === 'host') await this.#host(path, entry, file, content.path)
      else if (size > 0) {
        const bytes = content?.kind === 'bytes' ? content.bytes : await this.#options.open(entry)
        const hasher = createHasher()
        let left = size
        for await (const chunk of bytes instanceof Uint8Array ? [bytes] : bytes) {
          left -= chunk.length
          if (left < 0) break
          hasher.update(chunk)
          file.put(chunk)
          this.#written += chunk.length
          if (this.#due()) await this.#breathe()
        }
        if (left !== 0 || (entry.digest !== undefined && entry.digest !== `sha256:${hasher.hex()}`))
          throw changed(path, entry)
      }
      file.finish()
    } finally {
      file.close()
    }
    if (this.#due()) await this.#breathe()
  }

  async #host(path: string, entry: Entry, to: OpenFile, from: string | Buffer): Promise<void> {
    const file = HostFile.open(from)
    try {
      const buffer = Buffer.allocUnsafe(Math.min(entry.size + 1, PIECE))
      const hasher = entry.size >= buffer.length ? createHasher() : undefined
      let size = 0
      let digest = ''
      for (let count = buffer.length; count === buffer.length; ) {
        count = file.read(buffer, buffer.length)
        size += count
        if (size > entry.size) throw changed(path, entry)
        const piece = buffer.subarray(0, count)
        if (hasher === undefined) digest = hashHex('sha256', piece)
        else hasher.update(piece)
        to.put(piece)
        this.#written += count
        if (this.#due()) await this.#breathe()
      }
      digest = hasher?.hex() ?? digest
      if (size !== entry.size || (entry.digest !== undefined && entry.digest !== `sha256:${digest}`))
        throw changed(path, entry)
    } finally {
      file.close()
    }
  }
}

function changed(path: string, { content }: Entry): ArchimageError {
  return content?.kind === 'host'
    ? new ArchimageError('CONTEXT_CHANGED', `${content.path} changed while it was being built`, {
        hint: 'build again when nothing writes there; files that change all the time belong into .dockerignore',
      })
    : new ArchimageError('DIGEST_MISMATCH', `"${path}" is not what the index of its layer says`, {
        hint: 'the stored layer is damaged; remove it with "archimage cache prune" and build again',
      })
}
