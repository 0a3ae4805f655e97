import { ArchimageError } from '../errors/error.ts'
import type { TarEntry } from './entry.ts'
import { encodePath } from './path-bytes.ts'
import { encodePax } from './pax.ts'

const TYPES = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', dir: '5', fifo: '6' } as const
const MAX_OCTAL_7 = 0o7777777
const MAX_OCTAL_11 = 0o77777777777

/** Two blocks of zeros: what every archive ends with. */
export const END_OF_ARCHIVE: Uint8Array = new Uint8Array(1024)

/** Zero bytes that follow a content of `size` bytes up to the next block of 512. */
export function padding(size: number): number {
  return (512 - (size % 512)) % 512
}

/**
 * The header of one entry (POSIX.1-2017 ustar), after a PAX header where ustar cannot hold it: long or non-ASCII names,
 * big or negative numbers, xattrs, `pax`. The bytes are part of the format version (DESIGN §4): numeric owners without
 * names, whole seconds, the same entry always gives the same bytes. Throws TAR_INVALID for what tar cannot say at all.
 */
export function encodeHeader(entry: TarEntry): Buffer {
  const pax = new Map<string, Buffer>()
  const name = encodePath(entry.type === 'dir' ? `${entry.path || '.'}/` : entry.path)
  const link = encodePath(entry.link ?? '')
  const size = entry.type === 'file' ? entry.size : 0
  const mtime = Math.floor(entry.mtime)
  const device = entry.type === 'char' || entry.type === 'block'
  const [major, minor] = device ? [entry.major ?? 0, entry.minor ?? 0] : [0, 0]
  for (const number of [size, entry.uid, entry.gid, major, minor])
    if (!Number.isSafeInteger(number) || number < 0) throw unwritable(entry, `${number} is not a size, owner or device`)
  if (!Number.isSafeInteger(mtime)) throw unwritable(entry, 'its time is not a number')
  if (major > MAX_OCTAL_7 || minor > MAX_OCTAL_7) throw unwritable(entry, 'its device number is too big')
  if (name.includes(0) || link.includes(0)) throw unwritable(entry, 'a name contains a NUL byte')

  const place = splitName(name)
  // names that are not UTF-8 stand there as they are, as GNU tar has it; it does not know hdrcharset
  if (place === undefined) pax.set('path', name)
  if (link.length > 100 || !isAscii(link)) pax.set('linkpath', link)
  if (size > MAX_OCTAL_11) pax.set('size', Buffer.from(String(size)))
  if (entry.uid > MAX_OCTAL_7) pax.set('uid', Buffer.from(String(entry.uid)))
  if (entry.gid > MAX_OCTAL_7) pax.set('gid', Buffer.from(String(entry.gid)))
  if (mtime < 0 || mtime > MAX_OCTAL_11) pax.set('mtime', Buffer.from(String(mtime)))
  for (const [key, value] of Object.entries(entry.xattrs ?? {}))
    pax.set(`SCHILY.xattr.${key}`, Buffer.from(value.buffer, value.byteOffset, value.byteLength))
  for (const [key, value] of Object.entries(entry.pax ?? {})) pax.set(key, encodePath(value))
  for (const key of pax.keys()) if (key.includes('=')) throw unwritable(entry, `the attribute "${key}" contains "="`)

  const body = pax.size === 0 ? undefined : encodePax(pax)
  const paxLength = body === undefined ? 0 : 512 + body.length + padding(body.length)
  const out = Buffer.alloc(paxLength + 512)
  if (body !== undefined) {
    writeBlock(out, { name: Buffer.from('././@PaxHeader'), mode: 0o644, size: body.length, type: 'x' })
    body.copy(out, 512)
  }
  writeBlock(out.subarray(paxLength), {
    name: place?.name ?? asciiOnly(name),
    ...(place?.prefix && { prefix: place.prefix }),
    mode: entry.mode,
    uid: entry.uid > MAX_OCTAL_7 ? 0 : entry.uid,
    gid: entry.gid > MAX_OCTAL_7 ? 0 : entry.gid,
    size: size > MAX_OCTAL_11 ? 0 : size,
    mtime: mtime < 0 || mtime > MAX_OCTAL_11 ? 0 : mtime,
    type: TYPES[entry.type],
    link: asciiOnly(link),
    major,
    minor,
  })
  return out
}

interface Block {
  readonly name: Buffer
  readonly prefix?: Buffer
  readonly mode: number
  readonly uid?: number
  readonly gid?: number
  readonly size: number
  readonly mtime?: number
  readonly type: string
  readonly link?: Buffer
  readonly major?: number
  readonly minor?: number
}

function writeBlock(out: Buffer, block: Block): void {
  block.name.copy(out, 0, 0, 100)
  octal(out, 100, 7, block.mode)
  octal(out, 108, 7, block.uid ?? 0)
  octal(out, 116, 7, block.gid ?? 0)
  octal(out, 124, 11, block.size)
  octal(out, 136, 11, block.mtime ?? 0)
  out.fill(0x20, 148, 156)
  out[156] = block.type.charCodeAt(0)
  block.link?.copy(out, 157, 0, 100)
  out.write('ustar\x0000', 257, 'latin1')
  octal(out, 329, 7, block.major ?? 0)
  octal(out, 337, 7, block.minor ?? 0)
  block.prefix?.copy(out, 345, 0, 155)
  let sum = 0
  for (let i = 0; i < 512; i++) sum += out[i]!
  octal(out, 148, 6, sum)
  out[154] = 0
}

function octal(out: Buffer, at: number, digits: number, value: number): void {
  let rest = value
  for (let i = at + digits - 1; i >= at; i--) {
    out[i] = 0x30 + (rest % 8)
    rest = Math.floor(rest / 8)
  }
}

/** Name and prefix fields for a name that ustar can hold, split at the first "/" that lets both fit. */
function splitName(name: Buffer): { readonly name: Buffer; readonly prefix?: Buffer } | undefined {
  if (!isAscii(name)) return undefined
  if (name.length <= 100) return { name }
  const slash = name.indexOf(0x2f, name.length - 101)
  if (slash < 1 || slash > 155 || slash >= name.length - 1) return undefined
  return { name: name.subarray(slash + 1), prefix: name.subarray(0, slash) }
}

function isAscii(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! > 0x7f) return false
  return true
}

/** What readers without PAX see of a name. */
function asciiOnly(bytes: Buffer): Buffer {
  return isAscii(bytes) ? bytes : Buffer.from(bytes.map(byte => (byte > 0x7f ? 0x5f : byte)))
}

function unwritable(entry: TarEntry, reason: string): ArchimageError {
  return new ArchimageError('TAR_INVALID', `cannot write "${entry.path}" into an archive: ${reason}`)
}
