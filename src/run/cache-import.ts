import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheManifest, type ImportedStep, parseCache, type StepCache } from '../engines/cached-steps.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { MAX_JSON } from '../oci/json.ts'
import type { Descriptor, Manifest } from '../oci/manifest.ts'
import type { Reference } from '../oci/reference.ts'
import type { Registry } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import type { BlobFetcher } from './blobs.ts'
import type { CacheName } from './cache-places.ts'
import type { Emit } from './events.ts'
import { Layout } from './layout.ts'

interface Tools {
  readonly store: Store
  readonly registry: Registry
  readonly blobs: BlobFetcher
  readonly emit: Emit
  readonly signal: AbortSignal
}

interface Found {
  readonly steps: ReadonlyMap<string, ImportedStep>
}

/**
 * The caches of `--cache-from`. Each is read once, when the first step comes that is not known here; layers are fetched step by
 * step. One that is missing or not right costs a warning, and its steps run.
 */
export class CacheImports {
  readonly #tools: Tools
  readonly #caches = new Map<string, Promise<Found>>()

  constructor(tools: Tools) {
    this.#tools = tools
  }

  /** The first of the caches that has a step. */
  async find(key: string, names: readonly CacheName[]): Promise<ImportedStep | undefined> {
    const caches = await Promise.all(names.map(name => this.#cache(name)))
    return caches.find(({ steps }) => steps.has(key))?.steps.get(key)
  }

  #cache(name: CacheName): Promise<Found> {
    let promise = this.#caches.get(name.text)
    if (promise === undefined) {
      promise = this.#read(name)
      this.#caches.set(name.text, promise)
    }
    return promise
  }

  async #read(name: CacheName): Promise<Found> {
    const { emit, signal } = this.#tools
    try {
      const origin = name.kind === 'local' ? this.#folder(name.folder) : this.#repository(name.reference)
      const top = await origin.manifest(name.kind === 'local' ? name.name : name.reference.tag)
      if (top !== undefined) return { steps: await this.#steps(top, name, origin) }
      emit({ type: 'warning', message: `the cache ${name.text} is not there yet` })
    } catch (error) {
      if (signal.aborted || !isArchimageError(error)) throw error
      emit({ type: 'warning', message: `the cache ${name.text} is not used: ${error.message}` })
    }
    return { steps: new Map() }
  }

  async #steps(top: Manifest, { text }: CacheName, origin: Origin): Promise<ReadonlyMap<string, ImportedStep>> {
    const manifest = cacheManifest(top, text)
    const { config } = manifest
    if (config.size > MAX_JSON)
      throw new ArchimageError('MANIFEST_INVALID', `${text}: its config has ${config.size} bytes`)
    await origin.fetch(config, this.#tools.signal)
    const cache: StepCache = parseCache(manifest, this.#tools.store.read(config.digest), text)
    return new Map(
      cache.steps.map(step => [
        step.key,
        {
          ...{ from: text, step, written: cache.written },
          fetch: signal => (step.left ? origin.fetch(step.left.layer, signal) : Promise.resolve()),
        },
      ]),
    )
  }

  #folder(folder: string): Origin {
    const layout = new Layout(folder, this.#tools.store)
    return {
      manifest: async tag => {
        if (!existsSync(join(folder, 'index.json'))) return undefined
        return layout.find(tag)
      },
      fetch: descriptor => layout.bring(descriptor),
    }
  }

  #repository(reference: Reference): Origin {
    const { registry, blobs, signal } = this.#tools
    // a mirror may be behind what another machine has just written
    const remote = registry.repository(reference).upstream()
    return {
      manifest: tag => remote.manifest(tag, { signal }),
      fetch: (descriptor, stop) => {
        blobs.seen([descriptor], `${reference.registry}/${reference.repository}`)
        return blobs.ensure(descriptor, stop)
      },
    }
  }
}

interface Origin {
  readonly manifest: (tag: string) => Promise<Manifest | undefined>
  readonly fetch: (descriptor: Descriptor, signal: AbortSignal) => Promise<void>
}
