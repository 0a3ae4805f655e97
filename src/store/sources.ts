import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Records } from './records.ts'

/** Record kind: where a blob that was seen but perhaps not fetched can be had, as `registry/repository`. */
export const SOURCE = 'source'

interface Holder {
  readonly records: Records
}

/** Remembers that a repository (`registry/repository`) has these blobs. */
export function rememberSource({ records }: Holder, blobs: readonly Descriptor[], repository: string): void {
  for (const { digest } of blobs)
    if (records.get<string>(SOURCE, digest) !== repository) records.put(SOURCE, digest, repository)
}

/** `registry/repository` that a blob came from, if it did not begin here. */
export function sourceOf({ records }: Holder, digest: Digest): string | undefined {
  return records.get<string>(SOURCE, digest)
}
