import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'

/**
 * How a name came into the store; only what was built, tagged or loaded here takes part in resolving references (DESIGN §5). A
 * `list` is an index that is being put together: its manifests are here, its blobs may be in registries only.
 */
export type Origin = 'built' | 'tagged' | 'loaded' | 'pulled' | 'list'

export interface Ref {
  /** Whole reference: `docker.io/library/nginx:1.27`. */
  readonly name: string
  readonly descriptor: Descriptor
  readonly origin: Origin
  /** When the name got this descriptor (ISO 8601); other tools do not say. */
  readonly stored?: string
}

/** Random reads of a blob; not checked against the digest. */
export interface BlobFile {
  readonly fd: number
  readonly size: number
  /** Reads up to `length` bytes at `position`; fewer at the end. */
  read(position: number, length: number): Uint8Array
  close(): void
}

/** A blob on its way into the store; it appears under its digest by rename at `commit`, or never. */
export interface BlobWriter {
  /** Writes at once (synchronously) and hashes. Throws NO_SPACE when the disk is full. */
  write(chunk: Uint8Array): void
  /** Throws DIGEST_MISMATCH when the bytes are not what was expected. */
  commit(expected?: { readonly digest: Digest; readonly size: number }): {
    readonly digest: Digest
    readonly size: number
  }
  abort(): void
}
