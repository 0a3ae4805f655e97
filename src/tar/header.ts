import { decodePath } from './path-bytes.ts'

/** The fields of one header block as they stand there. */
export interface RawHeader {
  readonly name: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly type: string
  readonly link: string
  readonly major: number
  readonly minor: number
}

export function isZero(bytes: Buffer, at: number): boolean {
  for (let i = at; i < at + 512; i++) if (bytes[i] !== 0) return false
  return true
}

/** The header block at `at`, or what is wrong with it. Dialects: v7, ustar, GNU, star. */
export function readHeader(bytes: Buffer, at: number): RawHeader | string {
  let unsigned = 0
  for (let i = at; i < at + 512; i++) unsigned += bytes[i]!
  for (let i = at + 148; i < at + 156; i++) unsigned += 0x20 - bytes[i]!
  const expected = numeric(bytes, at + 148, 8)
  if (expected !== unsigned && expected !== signedSum(bytes, at))
    return 'the checksum of a header is wrong: this is no tar archive, or it is damaged'
  const magic = bytes.toString('latin1', at + 257, at + 265)
  const posix = magic.startsWith('ustar\0')
  const known = posix || magic.startsWith('ustar ')
  // star keeps times behind a shorter prefix and says so at the end of the block
  const prefixEnd = bytes.toString('latin1', at + 508, at + 512) === 'tar\0' ? 131 : 155
  const prefix = posix ? text(bytes, at + 345, prefixEnd) : ''
  const name = text(bytes, at, 100)
  const type = String.fromCharCode(bytes[at + 156]!)
  const device = known && (type === '3' || type === '4')
  const header = {
    name: prefix === '' ? name : `${prefix}/${name}`,
    mode: numeric(bytes, at + 100, 8),
    uid: numeric(bytes, at + 108, 8),
    gid: numeric(bytes, at + 116, 8),
    size: numeric(bytes, at + 124, 12),
    mtime: numeric(bytes, at + 136, 12),
    type,
    link: text(bytes, at + 157, 100),
    major: device ? numeric(bytes, at + 329, 8) : 0,
    minor: device ? numeric(bytes, at + 337, 8) : 0,
  }
  for (const [key, value] of Object.entries(header)) if (Number.isNaN(value)) return `its ${key} is not a number`
  return header
}

function signedSum(bytes: Buffer, at: number): number {
  let sum = 8 * 0x20
  for (let i = 0; i < 512; i++) if (i < 148 || i > 155) sum += bytes.readInt8(at + i)
  return sum
}

function text(bytes: Buffer, at: number, length: number): string {
  let end = at
  let ascii = true
  while (end < at + length && bytes[end] !== 0) if (bytes[end++]! > 0x7f) ascii = false
  return ascii ? bytes.toString('latin1', at, end) : decodePath(bytes.subarray(at, end))
}

/** Octal digits between spaces or NULs, or base-256 (GNU: first bit set, two's complement); NaN when it is neither. */
function numeric(bytes: Buffer, at: number, length: number): number {
  const first = bytes[at]!
  if (first & 0x80) {
    let value = first & 0x40 ? (first & 0x7f) - 0x80 : first & 0x7f
    for (let i = at + 1; i < at + length; i++) value = value * 256 + bytes[i]!
    return value
  }
  let i = at
  const end = at + length
  while (i < end && bytes[i] === 0x20) i++
  let value = 0
  for (; i < end; i++) {
    const digit = bytes[i]! - 0x30
    if (digit < 0 || digit > 7) break
    value = value * 8 + digit
  }
  for (; i < end; i++) if (bytes[i] !== 0 && bytes[i] !== 0x20) return Number.NaN
  return value
}
