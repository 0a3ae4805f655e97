import type { Digest } from '../oci/digest.ts'
import type { Descriptor, Manifest } from '../oci/manifest.ts'

/** Bytes that can be produced again for another attempt; each call gives a fresh stream. */
export type BodySource = () => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>

export interface TransferOptions {
  readonly signal?: AbortSignal
  /** Called with the number of bytes that have gone over so far. */
  readonly progress?: (bytes: number) => void
}

export interface PutBlobOptions extends TransferOptions {
  /** Names of repositories of the same registry that are known to have the blob; tried as mounts first. */
  readonly from?: readonly string[]
  /** The body is what another transport's `blob` gives, from its first byte: digest and size are checked there, and not again. */
  readonly checked?: boolean
  /** The same bytes from an offset on, for an upload that was cut and goes on. Without it the body is made anew, and read past. */
  readonly tail?: (start: number) => ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>
}

/**
 * One repository of images, wherever it is: a registry, the store, a layout, an archive, a daemon. Everything that comes out
 * is checked against digest and size while it streams; what is absent is `undefined`, not an exception. What a place cannot
 * do at all it has no function for.
 */
export interface Transport {
  /** For messages: "registry 127.0.0.1:5000, repository demo/api". */
  readonly name: string
  /** The manifest that a tag or digest names, with its raw bytes. */
  manifest(tagOrDigest: string, options?: TransferOptions): Promise<Manifest | undefined>
  /** Its descriptor only. */
  head(tagOrDigest: string, options?: TransferOptions): Promise<Descriptor | undefined>
  hasBlob(descriptor: Descriptor, options?: TransferOptions): Promise<boolean>
  blob(
    descriptor: Descriptor,
    options?: TransferOptions & { readonly start?: number },
  ): Promise<ReadableStream<Uint8Array>>
  /** The blob is there afterwards, or this throws. */
  putBlob(
    descriptor: Descriptor,
    body: BodySource,
    options?: PutBlobOptions,
  ): Promise<'exists' | 'mounted' | 'uploaded'>
  /** Without `tag` by digest only. */
  putManifest(manifest: Manifest, tag?: string, options?: TransferOptions): Promise<Digest>
  tags?(options?: TransferOptions): AsyncIterable<string>
  /**
   * Throws UNSUPPORTED for what could not be written here under this name, before any of it is brought. `find` gives the manifests below
   * `top` that would come along. Where everything fits there is no such function.
   */
  fits?(top: Manifest, name: string, find: (digest: Digest) => Manifest | undefined): void
  deleteManifest?(tagOrDigest: string, options?: TransferOptions): Promise<boolean>
  /**
   * Takes a tag away; the manifest and its other tags stay. False when there was none. Throws UNSUPPORTED where a tag does not
   * go without its manifest.
   */
  deleteTag?(tag: string, options?: TransferOptions): Promise<boolean>
  /** What has `subject` as its subject: signatures, SBOMs (distribution-spec, listing referrers). */
  referrers?(subject: Digest, options?: TransferOptions & { readonly artifactType?: string }): AsyncIterable<Descriptor>
  /** Where what is written appears as a whole (archives, daemons): now it does. Elsewhere it is there already. */
  commit?(options?: TransferOptions): Promise<void>
  /** Gives back what is held; what was written and not committed is gone. */
  close?(): Promise<void>
}
