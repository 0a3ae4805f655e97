import type { Digest } from '../oci/digest.ts'
import {
  type Descriptor,
  describe,
  encodeIndex,
  type ImageManifest,
  isAttestation,
  type Manifest,
} from '../oci/manifest.ts'
import { samePlatform } from '../oci/platform.ts'
import { convertImage, convertIndex, isImage, needsWork } from './convert.ts'
import { type PlannedManifest, platformOf, warnOfLoss } from './plan.ts'
import { Recompressor } from './recompress.ts'
import type { CopyImage, CopyTools, Recompression } from './request.ts'
import { onSide } from './side.ts'

/** By this podman finds the entries of an index that are zstd. */
const ZSTD = 'io.github.containers.compression.zstd'

/** Images whose layers are compressed anew: the manifests that follow, and the bytes behind them. Close it. */
export class Transformer {
  readonly #tools: CopyTools
  readonly #recompressor = new Recompressor()
  readonly #bodies = new Map<Digest, () => ReadableStream<Uint8Array>>()

  constructor(tools: CopyTools) {
    this.#tools = tools
  }

  close(): void {
    this.#recompressor.close()
  }

  /** The bytes of a blob that was made here. */
  body(digest: Digest): (() => ReadableStream<Uint8Array>) | undefined {
    return this.#bodies.get(digest)
  }

  /** The tree as it is to be at the destination. A single image that gets a second compression becomes an index. */
  async tree(root: PlannedManifest, image: CopyImage): Promise<PlannedManifest> {
    const { manifest } = root
    const itself = await this.#node(root, image)
    if (manifest?.kind !== 'image' || image.options.addCompression === undefined) return itself
    const platform = await platformOf(manifest, onSide(image.source.transport, 'source'), this.#tools.signal)
    const own: Descriptor = describe(itself.manifest!, platform)
    const second = await this.#second({ ...own, digest: manifest.digest }, manifest, [], image)
    if (second === undefined) return itself
    const entry = { ...second.descriptor, ...(own.platform && { platform: own.platform }) }
    const index = encodeIndex({ docker: false, manifests: [own, entry] })
    return { ...leaf(index), children: [itself, second] }
  }

  async #node(node: PlannedManifest, image: CopyImage): Promise<PlannedManifest> {
    const { manifest } = node
    if (manifest === undefined) return node
    const { compression, addCompression, format } = image.options
    const oci = compression?.format === 'zstd' || addCompression !== undefined
    const to = format !== undefined ? { docker: format === 'docker' } : oci ? { docker: false } : {}
    if (to.docker === true) warnOfLoss(manifest, image, this.#tools)
    if (manifest.kind === 'image') return leaf(await this.#image(manifest, image, to, compression))
    const children: PlannedManifest[] = []
    for (const child of node.children) children.push(await this.#node(child, image))
    const more: PlannedManifest[] = []
    for (const [i, { manifest: child }] of node.children.entries()) {
      const entry = manifest.manifests[i]!
      const second = child?.kind === 'image' ? await this.#second(entry, child, manifest.manifests, image) : undefined
      if (second !== undefined) more.push(second)
    }
    const index = convertIndex(
      manifest,
      children.map(({ descriptor }) => descriptor),
      { ...to, more: more.map(({ descriptor }) => descriptor) },
    )
    return { ...leaf(index), children: [...children, ...more] }
  }

  /** The entry beside `entry` whose layers have the other compression; none where there is one already. */
  async #second(
    entry: Descriptor,
    child: ImageManifest,
    entries: readonly Descriptor[],
    image: CopyImage,
  ): Promise<PlannedManifest | undefined> {
    const to = image.options.addCompression
    if (to === undefined || isAttestation(entry) || !isImage(child)) return undefined
    const marked = (one: Descriptor): boolean => one.annotations?.[ZSTD] === 'true'
    const twin = entries.some(
      one => marked(one) && one.platform && entry.platform && samePlatform(one.platform, entry.platform),
    )
    if (marked(entry) || twin) return undefined
    const made = await this.#image(child, image, { docker: false }, to)
    if (!child.layers.some(layer => needsWork(child, layer, to))) return undefined
    const descriptor: Descriptor = {
      ...describe(made),
      annotations: { ...entry.annotations, [ZSTD]: 'true' },
      ...(entry.platform === undefined ? {} : { platform: entry.platform }),
    }
    return { ...leaf(made), descriptor }
  }

  async #image(
    image: ImageManifest,
    of: CopyImage,
    to: { readonly docker?: boolean },
    compression: Recompression | undefined,
  ): Promise<ImageManifest> {
    const wanted = compression === undefined ? [] : image.layers.filter(layer => needsWork(image, layer, compression))
    const { emit, signal } = this.#tools
    const source = onSide(of.source.transport, 'source')
    const layers = new Map<Digest, Descriptor>()
    for (const layer of wanted) {
      const report = (current: number, done: boolean): void =>
        emit({
          ...{ type: 'blob', digest: layer.digest, target: of.target.label, doing: 'compressing' },
          ...{ current, total: layer.size, done },
        })
      const open = () => source.blob(layer, { signal, progress: bytes => report(bytes, false) })
      const made = await this.#recompressor.layer(layer, compression!, to.docker === true, open, signal)
      report(layer.size, true)
      layers.set(layer.digest, made.descriptor)
      this.#bodies.set(made.descriptor.digest, made.body)
    }
    return convertImage(image, { ...to, layers })
  }
}

function leaf(manifest: Manifest): PlannedManifest {
  return { descriptor: describe(manifest), there: false, manifest, children: [] }
}
