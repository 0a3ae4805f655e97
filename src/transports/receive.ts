import { setImmediate } from 'node:timers/promises'
import { ArchimageError, cancelled } from '../errors/error.ts'
import { algorithmOf, hexOf } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { createHasher } from '../sys/hash.ts'
import type { BodySource, PutBlobOptions } from './transport.ts'

/** Milliseconds after which the event loop gets a turn, so that Ctrl-C is heard. */
const TURN = 20

/**
 * Takes the bytes of a blob in, each chunk given to `write` with its place, and checks size and digest: throws DIGEST_MISMATCH after the
 * last one, or as soon as there are too many. Throws CANCELLED and what the body throws.
 */
export async function receive(
  descriptor: Descriptor,
  body: BodySource,
  write: (chunk: Uint8Array, at: number) => void,
  { signal, progress, checked = false }: PutBlobOptions = {},
): Promise<void> {
  const { digest, size } = descriptor
  const hasher = checked ? undefined : createHasher(algorithmOf(digest))
  let done = 0
  let turn = performance.now()
  for await (const chunk of await body()) {
    if (signal?.aborted) throw cancelled(signal.reason)
    if (done + chunk.length > size)
      throw mismatch(descriptor, `there are more than the ${size} bytes that it should have`)
    hasher?.update(chunk)
    write(chunk, done)
    done += chunk.length
    progress?.(done)
    if (performance.now() - turn < TURN) continue
    await setImmediate()
    turn = performance.now()
  }
  if (done !== size) throw mismatch(descriptor, `it ends after ${done} of ${size} bytes`)
  if (hasher !== undefined && hasher.hex() !== hexOf(digest))
    throw mismatch(descriptor, 'its bytes have another digest')
}

function mismatch({ digest }: Descriptor, why: string): ArchimageError {
  return new ArchimageError('DIGEST_MISMATCH', `what came for blob ${digest} is not what was promised: ${why}`, {
    hint: 'try again; if it repeats, the place that it comes from is damaged',
    details: { digest },
  })
}
