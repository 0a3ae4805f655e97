import type { Location } from '../context/location.ts'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { configPlatform, type ImageConfig, parseImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import { type Descriptor, describe, type ImageManifest, isAttestation, type Manifest } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import { formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts'
import { familiarReference, formatReference, parseReference, type Reference, withDefaultTag } from '../oci/reference.ts'
import type { BaseImage } from '../plan/lowered.ts'
import type { Registry } from '../registry/registry.ts'
import type { Store } from '../store/store.ts'
import type { BlobFetcher } from './blobs.ts'
import type { Emit } from './events.ts'
import { Layout } from './layout.ts'

/** Record kind: the digest that a reference had when it was last looked up. */
const RESOLVED = 'resolved'

export interface ImageOptions {
  /** Forbids the last known digest: the registry must answer. */
  readonly pull: boolean
  /** Forbids the network. */
  readonly offline: boolean
}

/** Where blobs come from that the store lacks. */
interface Origin {
  readonly repository?: string
  readonly layout?: Layout
}

/** Where an image was found: an index or a single manifest, and how to read what it points to. */
interface Top extends Origin {
  readonly manifest: Manifest
}

export interface LookedUp {
  readonly index: boolean
  readonly platform: Platform
  readonly config: ImageConfig
}

/**
 * Resolves references of Dockerfiles that are no service: images that this store built, tagged or loaded, then the registry
 * (DESIGN §5, references). Each reference is looked up once in a run; with the registry out of reach the last known digest
 * serves, and a line says so.
 */
export class Images {
  private readonly store: Store
  private readonly registry: Registry
  private readonly blobs: BlobFetcher
  private readonly options: ImageOptions
  private readonly emit: Emit
  private readonly signal: AbortSignal
  private readonly tops = new Map<string, Promise<Top>>()
  private readonly chosen = new Map<string, Promise<BaseImage>>()

  constructor(input: {
    store: Store
    registry: Registry
    blobs: BlobFetcher
    options: ImageOptions
    emit: Emit
    signal: AbortSignal
  }) {
    this.store = input.store
    this.registry = input.registry
    this.blobs = input.blobs
    this.options = input.options
    this.emit = input.emit
    this.signal = input.signal
  }

  /**
   * The image of one platform; with `published` what this store built does not count. Throws PLATFORM_MISSING, NOT_FOUND,
   * and what the registry says.
   */
  image(text: string, platform: Platform, published = false): Promise<BaseImage> {
    const reference = withDefaultTag(parseReference(text))
    const key = `${formatReference(reference)} ${formatPlatform(platform)} ${published}`
    let promise = this.chosen.get(key)
    if (!promise) {
      promise = this.choose(reference, platform, published)
      this.chosen.set(key, promise)
    }
    return promise
  }

  /**
   * What a reference leads to, for checks: an index with an image of this platform, or a single image of whatever platform.
   * Throws as `image`.
   */
  async look(text: string, platform: Platform, published = false): Promise<LookedUp> {
    const reference = withDefaultTag(parseReference(text))
    const top = await this.top(reference, published)
    if (top.manifest.kind === 'image') {
      const config = await this.config(top.manifest, familiarReference(reference), top)
      return { index: false, platform: configPlatform(config), config }
    }
    const { config, platform: have } = await this.image(text, platform, published)
    return { index: true, platform: have, config }
  }

  /** What a manifest in the store is as a base: a service of the project, or an image of `top`. */
  async local(name: string, manifest: ImageManifest, exact: boolean, service?: string): Promise<BaseImage> {
    const config = await this.config(manifest, name, {})
    return { name, manifest, config, platform: configPlatform(config), exact, ...(service ? { service } : {}) }
  }

  /** The image of one platform in an OCI layout; all of it is then in the store. Throws PLATFORM_MISSING, NOT_FOUND. */
  async layout(location: Location & { readonly kind: 'layout' }, platform: Platform): Promise<BaseImage> {
    const layout = new Layout(location.path, this.store)
    const top = { manifest: await layout.top(location), layout }
    const image = await this.select(top, `oci-layout://${location.path}`, platform)
    for (const layer of image.manifest.layers) if (!isForeignLayer(layer.mediaType)) await layout.bring(layer)
    return image
  }

  private async choose(reference: Reference, platform: Platform, published: boolean): Promise<BaseImage> {
    return this.select(await this.top(reference, published), familiarReference(reference), platform)
  }

  private async select(top: Top, name: string, platform: Platform): Promise<BaseImage> {
    const { repository } = top
    if (top.manifest.kind === 'image') {
      const config = await this.config(top.manifest, name, top)
      const have = configPlatform(config)
      const match = selectPlatform(platform, [have])
      if (!match) throw wrongPlatform(name, platform, [have], ': it is an image of one platform only')
      if (repository) this.blobs.seen(top.manifest.layers, repository)
      return {
        name,
        manifest: top.manifest,
        config,
        platform: have,
        exact: match.exact,
        ...(repository ? { repository } : {}),
      }
    }
    const entries = top.manifest.manifests.filter(entry => !isAttestation(entry))
    const platforms = await Promise.all(entries.map(entry => entry.platform ?? this.platformOf(entry, name, top)))
    const match = selectPlatform(platform, platforms)
    if (!match) throw wrongPlatform(name, platform, platforms)
    const manifest = await this.child(entries[match.index]!, name, top)
    const config = await this.config(manifest, name, top)
    const have = configPlatform(config)
    if (!selectPlatform(platform, [have]))
      throw new ArchimageError(
        'PLATFORM_MISMATCH',
        `${name}: the index says ${formatPlatform(platforms[match.index]!)}, but the config of that image says ${formatPlatform(have)}`,
        { hint: 'the image was published wrongly; use another tag, or tell those who publish it' },
      )
    if (repository) this.blobs.seen(manifest.layers, repository)
    return { name, manifest, config, platform: have, exact: match.exact, ...(repository ? { repository } : {}) }
  }

  private top(reference: Reference, published: boolean): Promise<Top> {
    const key = formatReference(reference)
    let promise = this.tops.get(`${key} ${published}`)
    if (!promise) {
      promise = this.lookUp(reference, key, published)
      this.tops.set(`${key} ${published}`, promise)
    }
    return promise
  }

  private async lookUp(reference: Reference, key: string, published: boolean): Promise<Top> {
    const ref = published ? undefined : this.store.ref(key)
    if (ref && ref.origin !== 'pulled' && ref.origin !== 'list' && this.store.has(ref.descriptor.digest))
      return { manifest: this.store.manifest(ref.descriptor.digest) }
    const repository = `${reference.registry}/${reference.repository}`
    const known = this.store.records.get<Descriptor>(RESOLVED, key)
    const fromStore = (digest: Digest): Top | undefined =>
      this.store.has(digest) ? { manifest: this.store.manifest(digest), repository } : undefined
    if (reference.digest !== undefined) {
      const stored = fromStore(reference.digest)
      if (stored) return stored
    }
    if (this.options.offline) {
      const stored = known && fromStore(known.digest)
      if (stored) return stored
      throw new ArchimageError(
        'OFFLINE',
        `${familiarReference(reference)} is not in the store, and --offline forbids to fetch it`,
        {
          hint: 'build once without --offline',
        },
      )
    }
    try {
      const remote = this.registry.repository(reference)
      const name = reference.digest ?? reference.tag ?? 'latest'
      const head = known && this.store.has(known.digest) ? await remote.head(name, { signal: this.signal }) : undefined
      const same = head && fromStore(head.digest)
      if (same) {
        if (head.digest !== known?.digest) this.store.records.put(RESOLVED, key, head)
        return same
      }
      const manifest = await remote.manifest(name, { signal: this.signal })
      if (!manifest) throw notFound(reference)
      this.store.put(manifest.raw)
      this.store.records.put(RESOLVED, key, describe(manifest))
      return { manifest, repository }
    } catch (error) {
      const stored = known && fromStore(known.digest)
      if (!stored || this.options.pull || !isArchimageError(error) || error.code !== 'REGISTRY_UNREACHABLE') throw error
      this.emit({
        type: 'warning',
        message: `${reference.registry} cannot be reached; ${familiarReference(reference)} is taken as it was last seen (${known.digest.slice(7, 19)})`,
      })
      return stored
    }
  }

  private async child(entry: Descriptor, name: string, { repository, layout }: Origin): Promise<ImageManifest> {
    let manifest: Manifest | undefined
    if (layout !== undefined) manifest = await layout.manifest(entry)
    else if (this.store.has(entry.digest)) manifest = this.store.manifest(entry.digest)
    else if (repository !== undefined) {
      manifest = await this.registry
        .repository(parseReference(repository))
        .manifest(entry.digest, { signal: this.signal })
      if (manifest) this.store.put(manifest.raw)
    }
    if (!manifest)
      throw new ArchimageError('NOT_FOUND', `${name}: its manifest ${entry.digest} is not there`, {
        hint: 'the image was published wrongly, or part of it was deleted; use another tag, or tell those who publish it',
      })
    if (manifest.raw.byteLength !== entry.size)
      throw new ArchimageError(
        'DIGEST_MISMATCH',
        `${name}: manifest ${entry.digest} has ${manifest.raw.byteLength} bytes, its index says that its size is ${entry.size}`,
        { hint: 'the image was published wrongly; use another tag, or tell those who publish it' },
      )
    if (manifest.kind !== 'image')
      throw new ArchimageError('MANIFEST_INVALID', `${name}: an index inside an index is no base`)
    return manifest
  }

  private async platformOf(entry: Descriptor, name: string, origin: Origin): Promise<Platform> {
    return configPlatform(await this.config(await this.child(entry, name, origin), name, origin))
  }

  private async config(manifest: ImageManifest, name: string, origin: Origin): Promise<ImageConfig> {
    const { repository, layout } = origin
    await layout?.bring(manifest.config)
    if (!this.store.has(manifest.config.digest) && repository !== undefined) {
      this.blobs.seen([manifest.config], repository)
      await this.blobs.ensure(manifest.config, this.signal)
    }
    return parseImageConfig(this.store.read(manifest.config.digest), `${name}: config`)
  }
}

function notFound(reference: Reference): ArchimageError {
  return new ArchimageError('NOT_FOUND', `${familiarReference(reference)} does not exist in ${reference.registry}`, {
    hint: 'check the name and the tag; a private image needs: archimage login',
  })
}

function wrongPlatform(name: string, wanted: Platform, have: readonly Platform[], why = ''): ArchimageError {
  return new ArchimageError('PLATFORM_MISSING', `${name} has no image for ${formatPlatform(wanted)}${why}`, {
    hint: `it has ${[...new Set(have.map(formatPlatform))].join(', ')}; take another base, or leave ${formatPlatform(wanted)} out`,
  })
}
