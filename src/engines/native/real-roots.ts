import { applyLayer } from '../../layer/apply.ts'
import type { LayerContent } from '../../layer/content.ts'
import { Tree } from '../../layer/tree.ts'
import { compressionOf } from '../../oci/media-types.ts'
import type { BaseImage } from '../../plan/lowered.ts'
import { layerBytes, type Snapshots, type UnpackTools } from '../../rootfs/snapshots.ts'
import type { BuildTools } from '../engine.ts'
import { imageLayers, knownIndex } from './base.ts'
import { chainId, chainOf, contentOf, identity, type Root } from './root.ts'
import { type StepLayer, stepLayer } from './step-layer.ts'

type Tools = Pick<BuildTools, 'store' | 'fetch' | 'signal'>

/** Makes roots real: the directories of their layers, the lowest first, unpacked once for all steps of a run. */
export class RealRoots {
  readonly #snapshots: Snapshots
  readonly #content: LayerContent
  readonly #tools: Tools
  readonly #images = new Map<string, Promise<readonly string[]>>()

  constructor(snapshots: Snapshots, content: LayerContent, tools: Tools) {
    this.#snapshots = snapshots
    this.#content = content
    this.#tools = tools
  }

  /** At least one directory, also for an empty root. */
  async directories(root: Root): Promise<readonly string[]> {
    const found = await this.#directories(root)
    return found.length > 0 ? found : [await this.#snapshots.items('nothing', () => [], this.#unpack())]
  }

  async #directories(root: Root): Promise<readonly string[]> {
    if (root.kind === 'empty') return []
    if (root.kind === 'image') return this.#image(root.image)
    const [below, own] = await Promise.all([this.#directories(root.below), this.#own(root)])
    return [...below, own]
  }

  #own(root: Root & { readonly kind: 'items' | 'step' }): Promise<string> {
    if (root.kind === 'items') return this.#snapshots.items(contentOf(root.items), () => root.items, this.#unpack())
    const { directory, id, items } = root.result
    const known = this.#snapshots.step(id!)
    if (known !== undefined) return Promise.resolve(known)
    // With other marks than are needed here.
    if (directory !== undefined) return this.#snapshots.again(id!, () => items, this.#unpack())
    const layer = stepLayer(this.#tools.store, id!)!
    const index = knownIndex(this.#tools.store, layer.diffId)!
    const chain = chainId(identity(root.below), id!)
    return this.#snapshots.layer(
      { index, chainId: chain, stream: () => this.#bytes(layer) },
      root.before,
      this.#unpack(),
    )
  }

  #image(image: BaseImage): Promise<readonly string[]> {
    const key = chainOf(image)
    let promise = this.#images.get(key)
    if (promise === undefined) {
      promise = this.#unpackImage(image)
      promise.catch(() => this.#images.delete(key))
      this.#images.set(key, promise)
    }
    return promise
  }

  async #unpackImage(image: BaseImage): Promise<readonly string[]> {
    const tree = new Tree()
    let chain = ''
    const made: Promise<string>[] = []
    for (const [i, index] of (await imageLayers(image, this.#tools)).entries()) {
      const below = tree.fork()
      applyLayer(tree, index)
      chain = chainId(chain, index.diffId)
      const layer = image.manifest.layers[i]!
      const stream = (): AsyncIterable<Uint8Array> => this.#bytes(layer)
      made.push(this.#snapshots.layer({ index, chainId: chain as StepLayer['diffId'], stream }, below, this.#unpack()))
    }
    return Promise.all(made)
  }

  async *#bytes(layer: Pick<StepLayer, 'digest' | 'size' | 'mediaType'>): AsyncGenerator<Uint8Array> {
    await this.#tools.fetch(layer)
    const compression = compressionOf(layer.mediaType) ?? 'none'
    yield* layerBytes({ path: this.#tools.store.blobPath(layer.digest), compression })
  }

  #unpack(): UnpackTools {
    return { open: entry => this.#content.open(entry), signal: this.#tools.signal }
  }
}
