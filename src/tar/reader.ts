import { ArchimageError } from '../errors/error.ts'
import type { TarEntry } from './entry.ts'
import { isZero, type RawHeader, readHeader } from './header.ts'
import { cleanPath, decodePath, encodePath } from './path-bytes.ts'
import { type PaxRecords, parsePax } from './pax.ts'

/** Receives an archive in order. `data` and `end` follow `entry` for files, also for empty ones. */
export interface TarHandler {
  /** `offset`: where the content begins in the uncompressed archive. */
  entry(entry: TarEntry, offset: number): void
  /** A piece of the content; a view that is valid only during the call. */
  data?(chunk: Uint8Array): void
  end?(): void
}

export interface TarOptions {
  /** What the archive is called in messages. */
  readonly name?: string
  /** Accept an archive that ends without its two blocks of zeros (when a digest proves that it is whole). */
  readonly endOptional?: boolean
}

/** Most bytes of a PAX header or a GNU long name; Go's reader has the same limit. */
const MAX_META = 1 << 20
/** Bytes of a name or of a link's target: Linux has no longer ones (PATH_MAX), and deep ones are work for everybody. */
const MAX_NAME = 4096
/** Bytes of the global PAX records that hold at one time, with 32 for each: every entry inherits them. */
const MAX_GLOBAL = 16 * 1024
/** Bytes of all names, links and extended attributes of one archive: whoever reads it keeps them in memory. */
const MAX_KEPT = 512 << 20
const MAX_ID = 0xffffffff
const EMPTY: PaxRecords = new Map()

/**
 * Reads ustar, GNU and PAX archives that are pushed in pieces of any size; nothing is buffered but headers. Throws
 * TAR_INVALID, with the entry and the reason, for whatever is damaged, hostile, or cannot be represented.
 */
export class TarReader {
  readonly #handler: TarHandler
  readonly #name: string
  readonly #endOptional: boolean
  #offset = 0
  #state: 'header' | 'meta' | 'data' | 'skip' | 'end' = 'header'
  #left = 0
  #pad = 0
  readonly #block = Buffer.alloc(512)
  #filled = 0
  #meta = Buffer.alloc(0)
  #metaFilled = 0
  #metaType = ''
  #zeros = 0
  #current = ''
  #global: PaxRecords = EMPTY
  #kept = 0
  #local: PaxRecords = EMPTY
  #longName: string | undefined
  #longLink: string | undefined

  constructor(handler: TarHandler, options: TarOptions = {}) {
    this.#handler = handler
    this.#name = options.name ?? 'tar archive'
    this.#endOptional = options.endOptional ?? false
  }

  /** Bytes read so far. */
  get offset(): number {
    return this.#offset
  }

  /** The two blocks of zeros have come: what is behind them counts for nothing. */
  get ended(): boolean {
    return this.#state === 'end'
  }

  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let at = 0
    while (at < bytes.length) {
      if (this.#state === 'end') {
        this.#offset += bytes.length - at
        return
      }
      if (this.#state === 'header') {
        if (this.#filled === 0 && bytes.length - at >= 512) {
          this.#offset += 512
          this.#header(bytes, at)
          at += 512
          continue
        }
        const taken = bytes.copy(this.#block, this.#filled, at, at + 512 - this.#filled)
        at += taken
        this.#offset += taken
        this.#filled += taken
        if (this.#filled < 512) return
        this.#filled = 0
        this.#header(this.#block, 0)
        continue
      }
      const taken = Math.min(this.#left, bytes.length - at)
      if (taken > 0) {
        if (this.#state === 'data') this.#handler.data?.(bytes.subarray(at, at + taken))
        else if (this.#state === 'meta') {
          bytes.copy(this.#meta, this.#metaFilled, at, at + taken)
          this.#metaFilled += taken
        }
        at += taken
        this.#offset += taken
        this.#left -= taken
        if (this.#left > 0) return
      }
      this.#contentEnds()
    }
  }

  /**
   * For sources that can seek, after a whole number of pushes of 512 bytes: passes over the content and padding that come
   * next, and gives their number. The handler hears nothing of them. 0 where a header comes next.
   */
  skip(): number {
    if (this.#state !== 'data' && this.#state !== 'skip') return 0
    const count = this.#left + this.#pad
    this.#state = 'header'
    this.#left = 0
    this.#pad = 0
    this.#offset += count
    return count
  }

  /** Says that no more bytes come. */
  finish(): void {
    const between = this.#state === 'header' && this.#filled === 0
    if (this.#state === 'end' || (between && (this.#zeros > 0 || this.#endOptional))) return
    if (between) throw this.#bad('the end of the archive is missing: it was cut off', this.#current)
    throw this.#bad('the archive ends in the middle of an entry: it was cut off', this.#current)
  }

  #bad(reason: string, entry?: string): ArchimageError {
    const where = entry ? `${this.#name}: "${entry.slice(0, 200)}"` : this.#name
    return new ArchimageError('TAR_INVALID', `${where}: ${reason}`, { details: { offset: this.#offset } })
  }

  /** All bytes of a content have come: act on it, then skip its padding. */
  #contentEnds(): void {
    if (this.#state === 'data') this.#handler.end?.()
    else if (this.#state === 'meta') this.#takeMeta()
    if (this.#pad === 0) this.#state = 'header'
    else {
      this.#state = 'skip'
      this.#left = this.#pad
      this.#pad = 0
    }
  }

  #content(state: 'meta' | 'data' | 'skip', size: number): void {
    this.#state = state
    this.#left = size
    this.#pad = (512 - (size % 512)) % 512
    if (size === 0) this.#contentEnds()
  }

  #takeMeta(): void {
    const bytes = this.#meta
    if (this.#metaType === 'L' || this.#metaType === 'K') {
      const nul = bytes.indexOf(0)
      const name = decodePath(nul < 0 ? bytes : bytes.subarray(0, nul))
      if (this.#metaType === 'L') this.#longName = name
      else this.#longLink = name
    } else if (this.#metaType === 'g') {
      this.#global = merge(this.#global, parsePax(bytes, `${this.#name}: global header`))
      let size = 0
      for (const [key, value] of this.#global) size += key.length + value.length + 32
      if (size > MAX_GLOBAL) throw this.#bad(`its global headers hold more than ${MAX_GLOBAL} bytes`)
    } else this.#local = parsePax(bytes, `${this.#name}: header after "${this.#current}"`)
  }

  #header(bytes: Buffer, at: number): void {
    if (bytes[at] === 0 && isZero(bytes, at)) {
      if (++this.#zeros === 2) this.#state = 'end'
      return
    }
    if (this.#zeros > 0) throw this.#bad('a single block of zeros is followed by more: the archive is damaged')
    const header = readHeader(bytes, at)
    if (typeof header === 'string') throw this.#bad(header, this.#current && `after ${this.#current}`)
    const { type } = header
    if (type === 'x' || type === 'X' || type === 'g' || type === 'L' || type === 'K') {
      if (!(header.size >= 0 && header.size <= MAX_META))
        throw this.#bad(`its extended header claims ${header.size} bytes (at most ${MAX_META})`, header.name)
      this.#metaType = type
      this.#meta = Buffer.alloc(header.size)
      this.#metaFilled = 0
      this.#content('meta', header.size)
      return
    }
    if (type === 'V') this.#content('skip', 0)
    else this.#entry(header)
    this.#local = EMPTY
    this.#longName = undefined
    this.#longLink = undefined
  }

  #entry(header: RawHeader): void {
    const pax = this.#global.size === 0 ? this.#local : merge(this.#global, this.#local)
    const text = (key: string): string | undefined => {
      const value = pax.size === 0 ? undefined : pax.get(key)
      return value === undefined || value.length === 0 ? undefined : decodePath(value)
    }
    const rawName = text('path') ?? this.#longName ?? header.name
    const rawLink = text('linkpath') ?? this.#longLink ?? header.link
    this.#current = rawName
    const bad = (reason: string) => this.#bad(reason, rawName)
    const number = (key: string, raw: number, allowed: RegExp): number => {
      const value = text(key)
      if (value === undefined) return raw
      if (!allowed.test(value)) throw bad(`PAX record ${key} is not a number: "${value.slice(0, 40)}"`)
      return Number(value)
    }
    const type = typeOf(header.type, rawName)
    if (type === undefined)
      throw bad(
        header.type === 'S'
          ? SPARSE
          : `entries of type "${header.type}" are not supported (multi-volume or foreign archive)`,
      )
    if (rawName.includes('\0') || rawLink.includes('\0')) throw bad('its name contains a NUL byte')
    if (isLong(rawName)) throw bad(`its name has more than ${MAX_NAME} bytes`)
    if (isLong(rawLink)) throw bad(`its link target has more than ${MAX_NAME} bytes`)
    const path = cleanPath(rawName)
    if (path === undefined) throw bad('its name leaves the root of the archive through ".."')
    if (path === '' && type !== 'dir') throw bad('it has no name')
    const size = number('size', header.size, DIGITS)
    const uid = number('uid', header.uid, DIGITS)
    const gid = number('gid', header.gid, DIGITS)
    const mtime = number('mtime', header.mtime, DECIMAL)
    if (!(Number.isSafeInteger(size) && size >= 0)) throw bad('its size is not a possible number')
    if (!(uid >= 0 && uid <= MAX_ID && gid >= 0 && gid <= MAX_ID)) throw bad(`its owner ${uid}:${gid} is not possible`)
    if (!(Math.abs(mtime) <= Number.MAX_SAFE_INTEGER)) throw bad('its time is not a possible number')

    let link: string | undefined
    if (type === 'symlink') link = rawLink
    else if (type === 'hardlink') {
      link = cleanPath(rawLink)
      if (link === undefined) throw bad(`it is a hard link that leaves the root: "${rawLink.slice(0, 200)}"`)
    }
    if (link === '') throw bad('it is a link without a target')
    const device = type === 'char' || type === 'block'
    // only files have content whatever the size field says, as in Go's reader
    const length = type === 'file' ? size : 0
    const more = pax.size > 0 ? extras(pax, bad) : undefined
    this.#kept += rawName.length + rawLink.length
    if (more !== undefined)
      for (const value of Object.values({ ...more.xattrs, ...more.pax })) this.#kept += value.length
    if (this.#kept > MAX_KEPT) throw bad(`names and attributes up to here have more than ${MAX_KEPT} bytes`)
    const entry: TarEntry = {
      path,
      type,
      mode: header.mode & 0o7777,
      uid,
      gid,
      size: length,
      mtime,
      ...(link !== undefined && { link }),
      ...(device && { major: header.major, minor: header.minor }),
      ...more,
    }
    this.#handler.entry(entry, this.#offset)
    if (type === 'file') this.#content('data', length)
  }
}

const DIGITS = /^\d{1,16}$/
const DECIMAL = /^-?\d{1,16}(?:\.\d*)?$/
const SPARSE = 'it is stored as a sparse file, which is not supported: repack the archive without --sparse'

function typeOf(flag: string, name: string): TarEntry['type'] | undefined {
  switch (flag) {
    case '0':
    case '7':
      return 'file'
    case '\0':
      // archives from before POSIX mark directories by the name alone
      return name.endsWith('/') ? 'dir' : 'file'
    case '1':
      return 'hardlink'
    case '2':
      return 'symlink'
    case '3':
      return 'char'
    case '4':
      return 'block'
    case '5':
      return 'dir'
    case '6':
      return 'fifo'
  }
  return undefined
}

/** xattrs and the PAX records that travel with an entry. */
function extras(pax: PaxRecords, bad: (reason: string) => ArchimageError): Pick<TarEntry, 'xattrs' | 'pax'> {
  const xattrs = new Map<string, Uint8Array>()
  const kept = new Map<string, string>()
  for (const [key, value] of pax) {
    if (key.startsWith('SCHILY.xattr.')) xattrs.set(key.slice(13), value)
    else if (key.startsWith('LIBARCHIVE.xattr.')) {
      // libarchive writes both; its own form has an encoded name and a base64 value
      const name = percentDecoded(key.slice(17))
      if (!pax.has(`SCHILY.xattr.${name}`)) xattrs.set(name, Buffer.from(value.toString('latin1'), 'base64'))
    } else if (key.startsWith('GNU.sparse.')) throw bad(SPARSE)
    else if (key.startsWith('MSWINDOWS.') || key === 'LIBARCHIVE.creationtime') kept.set(key, decodePath(value))
  }
  return {
    ...(xattrs.size > 0 && { xattrs: Object.fromEntries(xattrs) }),
    ...(kept.size > 0 && { pax: Object.fromEntries(kept) }),
  }
}

function percentDecoded(text: string): string {
  const bytes = Buffer.from(text, 'utf8').toString('latin1')
  return decodePath(
    Buffer.from(
      bytes.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
      'latin1',
    ),
  )
}

const isLong = (name: string): boolean => name.length > MAX_NAME / 3 && encodePath(name).length > MAX_NAME

function merge(below: PaxRecords, above: PaxRecords): PaxRecords {
  return new Map([...below, ...above])
}

/** Reads a whole archive. The source is left (its iterator closed) when something is wrong. */
export async function readTar(
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  handler: TarHandler,
  options: TarOptions = {},
): Promise<void> {
  const reader = new TarReader(handler, options)
  for await (const chunk of source) reader.push(chunk)
  reader.finish()
}
