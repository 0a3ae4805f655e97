import { posix } from 'node:path'
import { ArchimageError } from '../errors/error.ts'
import { algorithmOf, type Digest, digestLike, hexOf, isDigest } from '../oci/digest.ts'
import { isRecord, MAX_JSON } from '../oci/json.ts'
import { type Descriptor, isAttestation, parseManifest } from '../oci/manifest.ts'
import { compressionOf, isForeignLayer, OCI } from '../oci/media-types.ts'
import type { TarEntry } from '../tar/entry.ts'
import { TarReader } from '../tar/reader.ts'
import { IncomingLayer, type IncomingOptions, type LayerFile } from './incoming-layer.ts'

export interface ArchiveOptions extends IncomingOptions {
  /** Hexadecimal digests and diff IDs of layers that are at hand: nothing of theirs is read. */
  readonly known: ReadonlySet<string>
}

/** A layer of an archive. */
export type ArchivedLayer =
  | { readonly kind: 'known' }
  /** One that lies outside, as the archive's manifest says. */
  | { readonly kind: 'foreign'; readonly descriptor: Descriptor }
  | LayerFile

/** An image of one platform as it was in the archive; blobs are in the store, the config is as it came. */
export interface ArchivedImage {
  readonly config: Uint8Array
  readonly layers: readonly ArchivedLayer[]
}

/** Files up to this size stay in memory until it is known what they are: manifests, configs, small layers. */
const SMALL = 1 << 20
const MOST_IN_MEMORY = 64 << 20
const MOST_FILES = 100_000
const MOST_LINKS = 16

type File =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'link'; readonly path: string }
  | Exclude<ArchivedLayer, { kind: 'foreign' }>

/**
 * Takes the archive that docker, podman or BuildKit write of one image, layout or `docker save`, into the store while it
 * streams in: each blob is hashed, and layers that are plain tars are compressed on the way. Throws MANIFEST_INVALID,
 * DIGEST_MISMATCH, TAR_INVALID for what is not such an archive.
 */
export class ImageArchive {
  readonly #options: ArchiveOptions
  readonly #files = new Map<string, File>()
  readonly #reader: TarReader
  #inMemory = 0
  #current: IncomingLayer | undefined
  #small: Buffer[] | undefined
  #path = ''
  #work: Promise<void>[] = []

  constructor(options: ArchiveOptions) {
    this.#options = options
    this.#reader = new TarReader(
      { entry: entry => this.#entry(entry), data: chunk => this.#data(chunk), end: () => this.#end() },
      { name: `the archive of ${options.from}` },
    )
  }

  /** Await it before the next piece: it bounds memory. */
  async push(chunk: Uint8Array): Promise<void> {
    this.#reader.push(chunk)
    const work = this.#work
    this.#work = []
    await Promise.all(work)
  }

  /** Gives up; calling it after `finish` does nothing. */
  abort(): void {
    this.#current?.abort()
  }

  async finish(): Promise<ArchivedImage> {
    this.#reader.finish()
    const index = this.#files.get('index.json')
    return index ? this.#layout() : this.#saved()
  }

  #bad(why: string): ArchimageError {
    return new ArchimageError('MANIFEST_INVALID', `the archive of ${this.#options.from}: ${why}`)
  }

  #entry({ path, type, size, link }: TarEntry): void {
    this.#path = path
    if (this.#files.size >= MOST_FILES) throw this.#bad(`it has more than ${MOST_FILES} files`)
    if (type === 'symlink' || type === 'hardlink')
      this.#files.set(path, {
        kind: 'link',
        path: type === 'hardlink' ? link! : posix.join(posix.dirname(path), link!),
      })
    if (type !== 'file') return
    const names = path.match(/[0-9a-f]{64,}/g) ?? []
    if (names.some(name => this.#options.known.has(name))) this.#files.set(path, { kind: 'known' })
    else if (size <= SMALL && this.#inMemory + size <= MOST_IN_MEMORY) {
      this.#inMemory += size
      this.#small = []
    } else this.#current = new IncomingLayer(this.#options, digestIn(path))
  }

  #data(chunk: Uint8Array): void {
    this.#small?.push(Buffer.from(chunk))
    const promise = this.#current?.push(chunk)
    if (promise) this.#work.push(promise)
  }

  #end(): void {
    const path = this.#path
    if (this.#small) this.#files.set(path, { kind: 'bytes', bytes: Buffer.concat(this.#small) })
    this.#small = undefined
    const layer = this.#current
    this.#current = undefined
    if (layer) this.#work.push(layer.end().then(file => void this.#files.set(path, file)))
  }

  #find(path: string): Exclude<File, { kind: 'link' }> {
    let at = posix.normalize(path)
    for (let links = 0; links < MOST_LINKS; links++) {
      const file = this.#files.get(at)
      if (file === undefined) throw this.#bad(`${path} is missing`)
      if (file.kind !== 'link') return file
      at = file.path
    }
    throw this.#bad(`${path} leads through too many links`)
  }

  /** A document, checked against the digest when there is one. */
  #document(path: string, digest?: Digest): Buffer {
    const file = this.#find(path)
    if (file.kind !== 'bytes') throw this.#bad(`${path} is no document`)
    if (file.bytes.length > MAX_JSON) throw this.#bad(`${path} has ${file.bytes.length} bytes`)
    if (digest !== undefined && digestLike(digest, file.bytes) !== digest)
      throw new ArchimageError('DIGEST_MISMATCH', `the archive of ${this.#options.from}: ${path} has another digest`)
    return file.bytes
  }

  /** An image layout (image-spec, image-layout.md) with one image; attestations are left out. */
  async #layout(): Promise<ArchivedImage> {
    let document = this.#document('index.json')
    let mediaType: string = OCI.index
    for (let depth = 0; depth < 4; depth++) {
      const manifest = parseManifest(document, mediaType, `the archive of ${this.#options.from}`)
      if (manifest.kind === 'image') {
        const config = this.#document(blobPath(manifest.config.digest), manifest.config.digest)
        const layers: ArchivedLayer[] = []
        for (const layer of manifest.layers) layers.push(await this.#layer(blobPath(layer.digest), layer))
        return { config, layers }
      }
      // The same image may stand there once for each of its names.
      const images = new Map(
        manifest.manifests.filter(entry => !isAttestation(entry)).map(entry => [entry.digest, entry]),
      )
      if (images.size !== 1) throw this.#bad(`it holds ${images.size} images, and one was asked for`)
      const [entry] = images.values()
      mediaType = entry!.mediaType
      document = this.#document(blobPath(entry!.digest), entry!.digest)
    }
    throw this.#bad('its indexes are too deep')
  }

  /** What `docker save` wrote before it wrote layouts, and podman still does. */
  async #saved(): Promise<ArchivedImage> {
    let images: unknown
    try {
      images = JSON.parse(this.#document('manifest.json').toString())
    } catch (error) {
      if (error instanceof SyntaxError) throw this.#bad('manifest.json is not valid JSON')
      throw error
    }
    const [image, ...more] = Array.isArray(images) ? images : []
    if (!isRecord(image) || more.length > 0) throw this.#bad('manifest.json does not name one image')
    const { Config: config, Layers: paths } = image
    if (typeof config !== 'string' || !Array.isArray(paths) || paths.some(path => typeof path !== 'string'))
      throw this.#bad('manifest.json names no config or no layers')
    const layers: ArchivedLayer[] = []
    for (const path of paths as string[]) layers.push(await this.#layer(path))
    return { config: this.#document(config), layers }
  }

  async #layer(path: string, descriptor?: Descriptor): Promise<ArchivedLayer> {
    if (descriptor && isForeignLayer(descriptor.mediaType) && !this.#files.has(path))
      return { kind: 'foreign', descriptor }
    if (descriptor && compressionOf(descriptor.mediaType) === undefined)
      throw this.#bad(`a layer is ${descriptor.mediaType}, which archimage cannot read`)
    const file = this.#find(path)
    if (file.kind !== 'bytes') return file
    const large = new IncomingLayer(this.#options, digestIn(path))
    await large.push(file.bytes)
    return large.end()
  }
}

function blobPath(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`
}

function digestIn(path: string): Digest | undefined {
  const [, algorithm, hex] = /^blobs\/(sha256|sha512)\/([0-9a-f]+)$/.exec(path) ?? []
  const digest = `${algorithm}:${hex}`
  return isDigest(digest) ? digest : undefined
}
