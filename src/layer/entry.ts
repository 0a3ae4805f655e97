import type { Digest } from '../oci/digest.ts'

/** Where a file's bytes are. */
export type Content =
  /** In the uncompressed tar of the layer with this diff ID, from this offset. */
  | { readonly kind: 'layer'; readonly diffId: Digest; readonly offset: number }
  /** In a file of this machine; read and hashed again when it is written (a difference is CONTEXT_CHANGED). */
  | { readonly kind: 'host'; readonly path: string | Buffer }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }

/** One entry of a root filesystem (DESIGN §4: a tree of entries, not a directory). The path is the tree's business. */
export interface Entry {
  readonly type: 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo'
  /** Permission bits, 07777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Whole seconds since 1970, may be negative. */
  readonly mtime: number
  /** Bytes; 0 for everything but files. */
  readonly size: number
  /** sha256 of a file's bytes. */
  readonly digest?: Digest
  readonly content?: Content
  /** Target of a symbolic link. */
  readonly link?: string
  /** Entries of one tree with the same inode are hard links to each other. */
  readonly inode?: string
  readonly major?: number
  readonly minor?: number
  /** Extended attributes, values in base64. */
  readonly xattrs?: Readonly<Record<string, string>>
  /** PAX records that are kept with the entry (windows layers). */
  readonly pax?: Readonly<Record<string, string>>
}
