import type { Digest } from '../../oci/digest.ts'

export interface StoredManifest {
  readonly mediaType: string
  readonly digest: Digest
  readonly bytes: Uint8Array
}

/** Where the bytes of a blob are: in memory, or `size` of them in the file `path`, from `start` (0). */
export type StoredBlob =
  | { readonly size: number; readonly path: string; readonly start?: number }
  | { readonly size: number; readonly bytes: Uint8Array }

export interface StoredReferrer {
  readonly digest: Digest
  /** Its descriptor as the referrers API shows it; undefined when it is gone meanwhile. */
  read(): object | undefined
}

/** What a registry needs for serving pulls: a registry's folder has it, and so has an OCI layout. */
export interface StorageReader {
  /** A blob that `repository` has. */
  blob(repository: string, digest: Digest): StoredBlob | undefined
  manifest(repository: string, digest: Digest): StoredManifest | undefined
  tag(repository: string, tag: string): Digest | undefined
  /** In ASCII order; undefined when there is no such repository. */
  tags(repository: string): readonly string[] | undefined
  /** In ASCII order of their digests. */
  referrers(repository: string, subject: Digest): readonly StoredReferrer[]
  /** The names of all repositories, in ASCII order. */
  repositories(): readonly string[]
}
