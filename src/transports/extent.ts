import { readSync } from 'node:fs'
import { ArchimageError, cancelled } from '../errors/error.ts'
import { algorithmOf, type Digest, hexOf } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { createHasher, hashHex } from '../sys/hash.ts'
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
    const wanted = Math.min(into.length, size - at)
    let done = 0
    while (done < wanted) {
      const count = readSync(fd, into, done, wanted - done, offset + at + done)
      if (count === 0) break
      done += count
    }
    return done
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
  const hasher = createHasher(algorithmOf(digest))
  let at = 0
  let open = true
  const close = (): void => {
    if (open) extent.release()
    open = false
  }
  const next = (): Uint8Array => {
    if (signal?.aborted) throw cancelled(signal.reason)
    const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK, size - at))
    if (extent.read(chunk, at) < chunk.length) throw damaged(place, digest, 'it was cut short while it was read')
    hasher.update(chunk)
    at += chunk.length
    if (at === size && hasher.hex() !== hexOf(digest)) throw damaged(place, digest, 'its bytes have another digest')
    return chunk
  }
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        try {
          let chunk = next()
          // what lies before `start` is hashed too: the promise is about the whole blob
          while (at <= start && at < size) chunk = next()
          if (at > start) {
            controller.enqueue(chunk.subarray(Math.max(0, chunk.length - (at - start))))
            progress?.(at)
          }
          if (at < size) return
          close()
          controller.close()
        } catch (error) {
          close()
          throw error
        }
      },
      cancel: close,
    },
    { highWaterMark: 0 },
  )
}

function damaged(place: string, digest: Digest, why: string): ArchimageError {
  return new ArchimageError('DIGEST_MISMATCH', `${place}: blob ${digest} is damaged: ${why}`, {
    hint: 'make it again, or copy it again from where it came from',
    details: { digest },
  })
}
