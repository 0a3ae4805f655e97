import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Platform } from '../oci/platform.ts'
import type { Transport } from '../transports/transport.ts'

/** One end of a copy: a repository somewhere. */
export interface Place {
  readonly transport: Transport
  /** As people write it, without the tag: `registry.example.com/team/app`, `oci:out`. */
  readonly label: string
  /** Host, and name of the repository there, of a registry: between repositories of one host blobs are mounted. */
  readonly site?: Site
  /** Where a single blob is in a registry, of a place whose blobs are in several. */
  readonly siteOf?: (blob: Descriptor) => Site | undefined
}

export interface Site {
  readonly registry: string
  readonly repository: string
}

/** One image to be copied: what a name leads to, with all below it. */
export interface CopyImage {
  readonly source: Place
  /** Its tag or digest there. */
  readonly name: string
  readonly target: Place
  /** Names that it gets there; none: by digest only. */
  readonly tags: readonly string[]
  readonly options: CopyOptions
}

export interface Recompression {
  readonly format: 'gzip' | 'zstd'
  readonly level?: number
  /** Layers that have the format already, too. */
  readonly force?: boolean
}

export interface CopyOptions {
  /**
   * Only these, each of which has to be there, and the attestations of theirs: in an index of just those. One alone is the
   * image itself, without an index, unless `index`.
   */
  readonly platforms?: readonly Platform[]
  readonly index?: boolean
  /** The index stays as it is, and leads to more than there will be. */
  readonly sparse?: boolean
  /** What has a copied manifest as its subject, and so on. */
  readonly referrers?: boolean
  /** Tags of cosign and of the fallback scheme: `sha256-HEX.sig`. */
  readonly digestTags?: boolean
  readonly format?: 'oci' | 'docker'
  readonly compression?: Recompression
  /** Each image a second time in the index, with layers compressed so. */
  readonly addCompression?: Recompression
  /** An error where the digest would be another one. */
  readonly preserveDigests?: boolean
  /** Layers that say where else they can be had, too. */
  readonly foreignLayers?: boolean
  /** A tag that is there and leads elsewhere: stays (`keep`), or is an error (`refuse`). */
  readonly existing?: 'keep' | 'refuse'
  /** Look behind what is there already. */
  readonly thorough?: boolean
}

/** What a copy tells while it goes on. */
export type CopyEvent =
  | { readonly type: 'image-started'; readonly image: string }
  | {
      readonly type: 'image-ended'
      readonly image: string
      readonly state: CopyState
      readonly digest?: Digest
      readonly seconds: number
      readonly why?: string
      /** What was copied is seen only when its destination is committed. */
      readonly unseen?: true
    }
  /** A blob on its way; with `done` it is over. */
  | {
      readonly type: 'blob'
      readonly digest: Digest
      readonly target: string
      readonly doing: 'sending' | 'compressing'
      readonly current: number
      readonly total: number
      readonly done: boolean
    }
  | { readonly type: 'warning'; readonly message: string }

/** `same`: nothing had to be done. `kept`: its tag leads elsewhere and stays. */
export type CopyState = 'copied' | 'same' | 'kept' | 'failed'

export interface CopyTools {
  readonly signal: AbortSignal
  readonly emit: (event: CopyEvent) => void
  /** Images at a time; 4. */
  readonly jobs?: number
}
