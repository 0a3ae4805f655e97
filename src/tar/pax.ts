import { ArchimageError } from '../errors/error.ts'
import { decodePath, encodePath } from './path-bytes.ts'

/** Keyword → value as bytes: PAX values may hold anything but what the keyword forbids. */
export type PaxRecords = ReadonlyMap<string, Buffer>

/** Parses `length keyword=value\n` records (POSIX.1-2017, pax, extended header). Throws TAR_INVALID, naming `where`. */
export function parsePax(block: Buffer, where: string): PaxRecords {
  const records = new Map<string, Buffer>()
  for (let at = 0; at < block.length; ) {
    const space = block.indexOf(0x20, at)
    const digits = space < 0 || space - at > 10 ? '' : block.toString('latin1', at, space)
    const end = at + Number(digits)
    const equals = block.indexOf(0x3d, space)
    if (!/^[1-9]\d*$/.test(digits) || end > block.length || block[end - 1] !== 0x0a || equals < 0 || equals >= end)
      throw new ArchimageError('TAR_INVALID', `${where}: a PAX record is not well formed`)
    const key = decodePath(block.subarray(space + 1, equals))
    if (key === '') throw new ArchimageError('TAR_INVALID', `${where}: a PAX record has no name`)
    records.set(key, block.subarray(equals + 1, end - 1))
    at = end
  }
  return records
}

/** The records as a PAX header's content, in the byte order of their keywords. */
export function encodePax(records: PaxRecords): Buffer {
  const parts: Buffer[] = []
  const keyed = Array.from(records, ([key, value]) => [encodePath(key), value] as const)
  for (const [key, value] of keyed.sort((a, b) => Buffer.compare(a[0], b[0]))) {
    const rest = key.length + value.length + 3
    let length = rest + String(rest).length
    if (String(length).length > String(rest).length) length = rest + String(length).length
    parts.push(Buffer.from(`${length} `), key, Buffer.from('='), value, Buffer.from('\n'))
  }
  return Buffer.concat(parts)
}
