import type { Digest } from '../oci/digest.ts'
import type { Entry } from './entry.ts'

/** One record of a layer in the order of its tar. */
export interface LayerRecord {
  /** Where it stands in the root filesystem; "" is the root. */
  readonly path: string
  /** `whiteout` hides what lower layers have at `path`, `opaque` what they have inside the directory `path`. */
  readonly kind: 'entry' | 'whiteout' | 'opaque'
  /** The entry, when `kind` is `entry` and it is not a hard link. */
  readonly entry?: Entry
  /** Path that a hard link names, in this layer or a lower one. */
  readonly link?: string
}

/** All that is in a layer except the bytes of its files: enough to compute trees without unpacking (DESIGN §4). */
export interface LayerIndex {
  readonly diffId: Digest
  /** Bytes of the uncompressed tar. */
  readonly size: number
  readonly entries: readonly LayerRecord[]
  /** The bytes of etc/passwd and etc/group, by path, where the layer has them. */
  readonly files?: Readonly<Record<string, Uint8Array>>
}
