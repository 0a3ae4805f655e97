/** A file that can be read anywhere. `read` gives fewer bytes than asked for only at the end of the file. */
export interface Bytes {
  readonly size: number
  read(offset: number, length: number): Uint8Array
}

export function bytesOf(bytes: Uint8Array): Bytes {
  return { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) }
}

/** A view of exactly these bytes; undefined where the file ends before. */
export function viewOf(file: Bytes, offset: number, length: number): DataView | undefined {
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > file.size) return undefined
  const bytes = file.read(offset, length)
  return bytes.length < length ? undefined : new DataView(bytes.buffer, bytes.byteOffset, length)
}

/** Bytes as text, one character each: paths and lines that nobody promised to be UTF-8. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}
