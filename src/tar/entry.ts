/**
 * One entry of a tar archive. Paths are strings without a leading "./" or "/" and without a trailing "/" as the reader
 * delivers them; bytes that are not UTF-8 are kept as lone surrogates U+DC80–U+DCFF (see path-bytes.ts).
 */
export interface TarEntry {
  readonly path: string
  readonly type: 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'
  /** Permission bits, 07777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of content; 0 for everything but files. */
  readonly size: number
  /** Seconds since 1970, may have a fraction or be negative; the writer writes whole seconds. */
  readonly mtime: number
  /** Target of a symbolic link as it stands there, or the path of the entry that a hard link names (cleaned like `path`). */
  readonly link?: string
  readonly major?: number
  readonly minor?: number
  /** Extended attributes (PAX SCHILY.xattr.*), values as they are. */
  readonly xattrs?: Readonly<Record<string, Uint8Array>>
  /** Further PAX records that are kept (MSWINDOWS.*, LIBARCHIVE.creationtime …). */
  readonly pax?: Readonly<Record<string, string>>
}
