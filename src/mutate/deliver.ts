import { copy } from '../copy/copy.ts'
import type { Place } from '../copy/request.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { Platform } from '../oci/platform.ts'
import type { LayerTools } from './layers.ts'
import { type Mutated, mutatedSource } from './mutate.ts'

export interface Delivery {
  /** Where the image was read. */
  readonly source: Place
  readonly target: Place
  /** Names of the result there; none: by digest. */
  readonly tags: readonly string[]
  /** For places that hold one platform only: which. */
  readonly platforms?: readonly Platform[]
  /** Source and target are one store of content: what the image had is there already, or known to be somewhere. */
  readonly inPlace?: boolean
}

const AT_ONCE = 4

/**
 * Brings an edited image to where it shall be: what is new first, then the rest as any copy. Gives the digest that is there. Throws
 * what a copy throws.
 */
export async function deliver(mutated: Mutated, delivery: Delivery, tools: LayerTools): Promise<Digest> {
  const { source, target, tags, platforms } = delivery
  const { signal } = tools
  const from = mutatedSource(source.transport, mutated, tools)
  const fresh = newBlobs(mutated)
  let next = 0
  const send = async (): Promise<void> => {
    for (let blob = fresh[next++]; blob !== undefined; blob = fresh[next++]) {
      const { digest, mediaType, size } = blob
      await target.transport.putBlob(blob, () => from.blob({ digest, mediaType, size }, { signal }), { signal })
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, send))
  for (const one of ended) if (one.status === 'rejected') throw one.reason
  if (delivery.inPlace === true) {
    for (const manifest of mutated.manifests) await target.transport.putManifest(manifest, undefined, { signal })
    for (const tag of tags) await target.transport.putManifest(mutated.top, tag, { signal })
    return mutated.top.digest
  }
  const image = {
    source: { ...source, transport: from },
    name: mutated.top.digest,
    target,
    tags,
    options: platforms === undefined ? {} : { platforms },
  }
  const [outcome] = (await copy([image], { signal, emit: () => {} })).images
  if (outcome?.error !== undefined) throw outcome.error
  return outcome?.digest ?? mutated.top.digest
}

/** Blobs of the result that its source does not have, each once. */
function newBlobs({ manifests, blobs, made, elsewhere }: Mutated): Descriptor[] {
  const fresh = new Set([...blobs.map(({ descriptor }) => descriptor.digest), ...made, ...elsewhere.keys()])
  const found = new Map<Digest, Descriptor>()
  for (const manifest of manifests)
    if (manifest.kind === 'image')
      for (const blob of [manifest.config, ...manifest.layers]) if (fresh.has(blob.digest)) found.set(blob.digest, blob)
  return [...found.values()]
}
