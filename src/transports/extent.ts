import { ArchimageError, cancelled } from '../errors/error.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { checkedStream } from '../sys/checked-stream.ts'
import { readFully } from '../sys/files.ts'
import { hashHex } from '../sys/hash.ts'
import type { TransferOptions } from './transport.ts'

/** Where the bytes of a blob are said to be: a file, a piece of one, memory. */
export interface Extent {
  readonly size: number
  /** Where they are, for those who can read them in other ways. */
  readonly source: { readonly fd: number; readonly offset: number } | { readonly bytes: Uint8Array }
  /** Fills `into` from byte `at` on; gives how much of it, less than all only where the bytes end. */
  read(into: Uint8Array, at: number): number
  /** The reader is done with it. */
  release(): void
}

/** `size` bytes of an open file. */
export function fileExtent(fd: number, offset: number, size: number, release = (): void => {}): Extent {
  const read = (into: Uint8Array, at: number): number => {
    return readFully(fd, into.subarray(0, Math.max(0, size - at)), offset + at)
  }
  return { size, source: { fd, offset }, read, release }
}

export function memoryExtent(bytes: Uint8Array): Extent {
  const read = (into: Uint8Array, at: number): number => {
    const part = bytes.subarray(at, at + into.length)
    into.set(part)
    return part.length
  }
  return { size: bytes.length, source: { bytes }, read, release: () => {} }
}

const CHUNK = 1 << 20

/** All of a blob, checked. `place` is for messages: "layout out". Throws MANIFEST_INVALID, DIGEST_MISMATCH. */
export function readExtent(extent: Extent, digest: Digest, place: string): Buffer {
  try {
    if (extent.size > MAX_JSON)
      throw new ArchimageError(
        'MANIFEST_INVALID',
        `${place}: ${digest} has ${extent.size} bytes, too many for a manifest`,
      )
    const bytes = Buffer.allocUnsafeSlow(extent.size)
    if (extent.read(bytes, 0) < bytes.length || hashHex(algorithmOf(digest), bytes) !== hexOf(digest))
      throw damaged(place, digest, 'its bytes have another digest')
    return bytes
  } finally {
    extent.release()
  }
}

/** A blob as a stream from byte `start`; its last bytes come only when the whole has size and digest of the descriptor. */
export function streamExtent(
  extent: Extent,
  { digest, size }: Descriptor,
  place: string,
  { start = 0, signal, progress }: TransferOptions & { readonly start?: number } = {},
): ReadableStream<Uint8Array> {
  if (extent.size !== size) {
    extent.release()
    throw damaged(place, digest, `it has ${extent.size} bytes instead of ${size}`)
  }
  const read = (into: Uint8Array, at: number): number => {
    if (signal?.aborted) throw cancelled(signal.reason)
    return extent.read(into, at)
  }
  const why = { cut: 'it was cut short while it was read', other: 'its bytes have another digest' }
  const bytes = {
    ...{ size, algorithm: algorithmOf(digest), hex: hexOf(digest), chunk: CHUNK },
    ...{ read, close: () => extent.release(), damaged: (how: keyof typeof why) => damaged(place, digest, why[how]) },
  }
  return checkedStream(bytes, start, progress)
}

function damaged(place: string, digest: Digest, why: string): ArchimageError {
  return new ArchimageError('DIGEST_MISMATCH', `${place}: blob ${digest} is damaged: ${why}`, {
    hint: 'make it again, or copy it again from where it came from',
    details: { digest },
  })
}
