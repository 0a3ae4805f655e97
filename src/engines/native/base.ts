import { ArchimageError } from '../../errors/error.ts'
import { applyLayer } from '../../layer/apply.ts'
import { decodeIndex, encodeIndex } from '../../layer/codec.ts'
import { indexLayer, type LayerIndex } from '../../layer/index.ts'
import { Tree } from '../../layer/tree.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { compressionOf, isForeignLayer } from '../../oci/media-types.ts'
import type { BaseImage } from '../../plan/lowered.ts'
import type { Store } from '../../store/store.ts'
import { decompress } from '../../sys/compress.ts'
import type { BuildTools } from '../engine.ts'

/** Record kinds: the index of a layer by diff ID; which blob holds a diff ID. */
export const INDEX = 'layer-index'
export const BLOB = 'layer-blob'

export interface LayerBlob {
  readonly digest: Digest
  readonly size: number
  readonly mediaType: string
  /** Where each compressed member begins, for layers that archimage wrote. */
  readonly members?: readonly number[]
}

/** Layers above this are refused: nobody means to make them. 64 GiB uncompressed. */
export const MAX_LAYER = 64 * 2 ** 30

const decoded = new Map<string, LayerIndex>()

type Tools = Pick<BuildTools, 'store' | 'fetch' | 'signal'>

/** The root filesystem of an image as a tree: its layers' indexes merged; a layer is read once and never unpacked. */
export async function imageTree(image: BaseImage, tools: Tools): Promise<Tree> {
  const tree = new Tree({ caseInsensitive: image.config.os === 'windows' })
  for (const index of await imageLayers(image, tools)) applyLayer(tree, index)
  return tree
}

/** The indexes of an image's layers, the lowest first. */
export async function imageLayers(image: BaseImage, tools: Tools): Promise<readonly LayerIndex[]> {
  const windows = image.config.os === 'windows'
  const diffIds = image.config.rootfs.diff_ids
  if (diffIds.length !== image.manifest.layers.length)
    throw new ArchimageError(
      'MANIFEST_INVALID',
      `${image.name}: ${image.manifest.layers.length} layers, but its config names ${diffIds.length}`,
    )
  return Promise.all(image.manifest.layers.map((layer, i) => layerIndex(diffIds[i]!, layer, image, windows, tools)))
}

/** The index of a layer that is known, without network. `kind`: that of an archive reads the same bytes in another way. */
export function knownIndex(store: Store, diffId: Digest, kind: string = INDEX): LayerIndex | undefined {
  const key = `${store.root} ${kind} ${diffId}`
  const cached = decoded.get(key)
  if (cached) return cached
  const bytes = store.records.blob(kind, diffId)
  const index = bytes && decodeIndex(bytes)
  if (index) decoded.set(key, index)
  return index
}

export function rememberIndex(store: Store, index: LayerIndex, blob: LayerBlob): void {
  putIndex(store, index, INDEX)
  store.records.put(BLOB, index.diffId, blob)
}

export function putIndex(store: Store, index: LayerIndex, kind: string): void {
  decoded.set(`${store.root} ${kind} ${index.diffId}`, index)
  store.records.putBlob(kind, index.diffId, encodeIndex(index))
}

async function layerIndex(
  diffId: Digest,
  layer: Descriptor,
  image: BaseImage,
  windows: boolean,
  tools: Tools,
): Promise<LayerIndex> {
  const known = knownIndex(tools.store, diffId)
  if (known) return known
  // A foreign layer of a windows base lies where its urls say; what is in it is the system's own.
  if (isForeignLayer(layer.mediaType) && !tools.store.has(layer.digest)) return { diffId, size: 0, entries: [] }
  await tools.fetch(layer)
  const compression = compressionOf(layer.mediaType)
  if (compression === undefined)
    throw new ArchimageError('UNSUPPORTED', `${image.name}: a layer is ${layer.mediaType}, which archimage cannot read`)
  const name = `layer ${layer.digest.slice(0, 19)} of ${image.name}`
  const stream = decompress(compression, tools.store.open(layer), { name, limit: MAX_LAYER, signal: tools.signal })
  const index = await indexLayer(stream, { diffId, name, windows })
  rememberIndex(tools.store, index, { digest: layer.digest, size: layer.size, mediaType: layer.mediaType })
  return index
}
