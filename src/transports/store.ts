import { isArchimageError } from '../errors/error.ts'
import { algorithmOf, type Digest, isDigest } from '../oci/digest.ts'
import { type Descriptor, describe, type Manifest } from '../oci/manifest.ts'
import { sourceOf } from '../store/sources.ts'
import type { Store } from '../store/store.ts'
import type { Origin } from '../store/types.ts'
import { receive } from './receive.ts'
import { referrersAmong, referrersTag, withReferrer } from './referrers.ts'
import type { Transport } from './transport.ts'

/**
 * A repository of the store: `repository` is its whole name (`docker.io/library/nginx`), `origin` how tags that are put
 * here came about. Blobs that are not here, but were seen in a registry, are read through `elsewhere` from the repository that it
 * is given.
 */
export function storeTransport(
  store: Store,
  repository: string,
  origin: Origin = 'tagged',
  elsewhere?: (repository: string) => Transport,
): Transport {
  const prefix = `${repository}:`
  const find = (tagOrDigest: string): Descriptor | undefined => {
    if (!isDigest(tagOrDigest)) return store.ref(prefix + tagOrDigest)?.descriptor
    if (!store.has(tagOrDigest)) return undefined
    return store.refs().find(ref => ref.descriptor.digest === tagOrDigest)?.descriptor ?? readDescriptor(tagOrDigest)
  }
  const readDescriptor = (digest: Digest): Descriptor => describe(store.manifest(digest))
  const absent = <T>(work: () => T): T | undefined => {
    try {
      return work()
    } catch (error) {
      if (isArchimageError(error) && error.code === 'NOT_FOUND') return undefined
      throw error
    }
  }
  const tags = (): string[] =>
    store
      .refs()
      .filter(ref => ref.name.startsWith(prefix))
      .map(ref => ref.name.slice(prefix.length))
      .filter(tag => !tag.includes('/'))

  const listedFor = (subject: Digest): readonly Descriptor[] => {
    const found = find(referrersTag(subject))
    const index = found && absent(() => store.manifest(found.digest, found.mediaType))
    return index?.kind === 'index' ? index.manifests : []
  }
  /** Nothing else would lead to it, and pruning would take it. */
  const keepReferrer = (manifest: Manifest, subject: Digest): void => {
    const index = withReferrer(listedFor(subject), manifest)
    if (index === undefined) return
    store.put(index.raw)
    store.tag(prefix + referrersTag(subject), describe(index), origin)
  }

  return {
    name: `store ${store.root}, repository ${repository}`,
    manifest: async (tagOrDigest): Promise<Manifest | undefined> => {
      if (isDigest(tagOrDigest)) return absent(() => store.manifest(tagOrDigest))
      const found = find(tagOrDigest)
      return found && absent(() => store.manifest(found.digest, found.mediaType))
    },
    head: async tagOrDigest => absent(() => find(tagOrDigest)),
    hasBlob: async ({ digest, size }) => store.has(digest, size),
    blob: async (descriptor, options) => {
      const source = elsewhere && !store.has(descriptor.digest) ? sourceOf(store, descriptor.digest) : undefined
      if (source !== undefined) return elsewhere!(source).blob(descriptor, options)
      return store.open(descriptor, { start: options?.start ?? 0 })
    },
    putBlob: async (descriptor, body, options = {}) => {
      if (store.has(descriptor.digest, descriptor.size)) return 'exists'
      const { digest } = descriptor
      const writer = store.create(algorithmOf(digest), options.checked === true ? digest : undefined)
      try {
        // the writer hashes what has not been
        await receive(descriptor, body, chunk => writer.write(chunk), { ...options, checked: true })
      } catch (error) {
        writer.abort()
        throw error
      }
      writer.commit(descriptor)
      return 'uploaded'
    },
    putManifest: async (manifest, tag) => {
      const digest = store.put(manifest.raw, algorithmOf(manifest.digest))
      if (tag !== undefined) store.tag(prefix + tag, describe(manifest), origin)
      else if (manifest.subject !== undefined) keepReferrer(manifest, manifest.subject.digest)
      return digest
    },
    tags: async function* () {
      yield* tags()
    },
    referrers: async function* (subject, { artifactType } = {}) {
      yield* referrersAmong(listedFor(subject), subject, artifactType, ({ digest }) =>
        absent(() => store.manifest(digest)),
      )
    },
    deleteTag: async tag => store.untag(prefix + tag),
    deleteManifest: async tagOrDigest => {
      if (!isDigest(tagOrDigest)) return store.untag(prefix + tagOrDigest)
      const gone = tags().filter(tag => find(tag)?.digest === tagOrDigest)
      for (const tag of gone) store.untag(prefix + tag)
      return gone.length > 0
    },
  }
}
