import { createHasher } from './hash.ts'

/** Bytes that can be read anywhere, and what they are said to be. */
export interface CheckedBytes {
  readonly size: number
  readonly algorithm: 'sha256' | 'sha512'
  /** Their digest, lower-case hexadecimal. */
  readonly hex: string
  /** Most bytes of a piece. */
  readonly chunk: number
  /** Fills `into` from byte `at` on; gives how much of it, less than all only where the bytes end. */
  read(into: Uint8Array, at: number): number
  /** Called once, when nothing more is read. */
  close(): void
  /** What to throw when they end too early (`cut`), or are others. */
  damaged(how: 'cut' | 'other'): Error
}

/** A stream from byte `start`, checked as a whole: the last bytes come only when the digest of all of them is right. */
export function checkedStream(
  bytes: CheckedBytes,
  start: number,
  progress?: (bytes: number) => void,
): ReadableStream<Uint8Array> {
  const { size } = bytes
  const hasher = createHasher(bytes.algorithm)
  let at = 0
  let open = true
  const close = (): void => {
    if (open) bytes.close()
    open = false
  }
  const next = (): Uint8Array => {
    const chunk = Buffer.allocUnsafeSlow(Math.min(bytes.chunk, size - at))
    if (bytes.read(chunk, at) < chunk.length) throw bytes.damaged('cut')
    hasher.update(chunk)
    at += chunk.length
    if (at === size && hasher.hex() !== bytes.hex) throw bytes.damaged('other')
    return chunk
  }
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        try {
          let chunk = next()
          // what lies before `start` is hashed too: the promise is about the whole
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
