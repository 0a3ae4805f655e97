import { ArchimageError } from '../errors/error.ts'
import type { LayerContent } from '../layer/content.ts'
import type { Entry } from '../layer/entry.ts'
import { createHasher } from '../sys/hash.ts'

/** The bytes of a file, hashed on their way; the last of them do not come when they are not those of its index (DIGEST_MISMATCH). */
export async function* checked(path: string, entry: Entry, content: LayerContent): AsyncGenerator<Uint8Array> {
  const hasher = createHasher()
  let left = entry.size
  const opened = content.open(entry)
  const bytes = opened instanceof Promise ? await opened : opened
  const check = (chunk: Uint8Array): void => {
    hasher.update(chunk)
    left -= chunk.length
    if (left < 0 || (left === 0 && entry.digest !== undefined && `sha256:${hasher.hex()}` !== entry.digest))
      throw mismatch(path)
  }
  if (bytes instanceof Uint8Array) {
    check(bytes)
    yield bytes
  } else
    for await (const chunk of bytes) {
      check(chunk)
      yield chunk
    }
  if (left !== 0) throw mismatch(path)
}

function mismatch(path: string): ArchimageError {
  return new ArchimageError('DIGEST_MISMATCH', `/${path} in the store is not what the index of its layer says`, {
    hint: 'the stored layer is damaged: remove it with "archimage cache prune" and build again',
  })
}
