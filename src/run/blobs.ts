import { ArchimageError } from '../errors/error.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { parseReference } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'
import { rememberSource, sourceOf } from '../store/sources.ts'
import type { Store } from '../store/store.ts'
import type { Transport } from '../transports/transport.ts'
import type { Emit } from './events.ts'

/**
 * Brings blobs of bases into the store when they are needed, each at most once in a run. Base layers that nothing reads and
 * that the target already has are never fetched (DESIGN §4).
 */
export class BlobFetcher {
  private readonly store: Store
  private readonly registry: Registry
  private readonly emit: Emit
  private readonly running = new Map<Digest, Promise<void>>()

  constructor(store: Store, registry: Registry, emit: Emit) {
    this.store = store
    this.registry = registry
    this.emit = emit
  }

  /** Remembers that a repository has these blobs. */
  seen(descriptors: readonly Descriptor[], repository: string): void {
    rememberSource(this.store, descriptors, repository)
  }

  /** `registry/repository` that a blob came from, if it did not begin here. */
  sourceOf(digest: Digest): string | undefined {
    return sourceOf(this.store, digest)
  }

  /** Makes sure that the store has the blob. Throws NOT_FOUND when nobody is known to have it. */
  ensure(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    if (this.store.has(descriptor.digest, descriptor.size)) return Promise.resolve()
    let promise = this.running.get(descriptor.digest)
    if (!promise) {
      promise = this.fetch(descriptor, signal).finally(() => this.running.delete(descriptor.digest))
      this.running.set(descriptor.digest, promise)
    }
    return promise
  }

  private async fetch(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    const source = this.sourceOf(descriptor.digest)
    if (source === undefined)
      throw new ArchimageError(
        'NOT_FOUND',
        `${descriptor.digest} is not in the store, and no registry is known to have it`,
        {
          hint: 'build once more with --pull, so that the bases are looked up again',
        },
      )
    const id = `pull ${descriptor.digest}`
    const report = (current: number, done: boolean): void =>
      this.emit({
        type: 'transfer',
        id,
        direction: 'pull',
        what: `${source} ${descriptor.digest.slice(7, 19)}`,
        current,
        total: descriptor.size,
        done,
      })
    const writer = this.store.create()
    try {
      const stream = await this.registry
        .repository(parseReference(source))
        .blob(descriptor, { signal, progress: bytes => report(bytes, false) })
      for await (const chunk of stream) writer.write(chunk)
      writer.commit({ digest: descriptor.digest, size: descriptor.size })
    } catch (error) {
      writer.abort()
      throw error
    } finally {
      report(descriptor.size, true)
    }
  }
}

/** Layers of bases that nothing read yet are still in the registry of the base: they count as there. */
export function withSources(transport: Transport, blobs: BlobFetcher): Transport {
  return {
    name: transport.name,
    manifest: (name, options) => transport.manifest(name, options),
    head: (name, options) => transport.head(name, options),
    hasBlob: async (descriptor, options) =>
      (await transport.hasBlob(descriptor, options)) || blobs.sourceOf(descriptor.digest) !== undefined,
    blob: (descriptor, options) => transport.blob(descriptor, options),
    putBlob: (descriptor, body, options) => transport.putBlob(descriptor, body, options),
    putManifest: (manifest, tag, options) => transport.putManifest(manifest, tag, options),
  }
}
