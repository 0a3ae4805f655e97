import { ArchimageError } from '../errors/error.ts'
import { clampTimes } from '../layer/clamp.ts'
import { indexLayer } from '../layer/index.ts'
import { type HistoryEntry, type ImageConfig, parseImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor, ImageManifest } from '../oci/manifest.ts'
import { layerType } from '../oci/media-types.ts'
import { formatPlatform } from '../oci/platform.ts'
import { decompress } from '../sys/compress.ts'
import type { ArchivedImage, ArchivedLayer } from './archive.ts'
import type { BuildTools, Cell } from './engine.ts'
import { type ImageLayer, putImage } from './image.ts'
import { IncomingLayer, type LayerFile } from './incoming-layer.ts'
import { MAX_LAYER, rememberIndex } from './native/base.ts'

/** Layers of the bases of a cell by diff ID: they keep their blobs, whatever form an engine gave them. */
export function baseLayers({ lowered }: Pick<Cell, 'lowered'>): Map<Digest, Descriptor> {
  const out = new Map<Digest, Descriptor>()
  for (const { manifest, config } of lowered.bases)
    for (const [i, layer] of manifest.layers.entries()) {
      const diffId = config.rootfs.diff_ids[i]
      if (diffId !== undefined) out.set(diffId, layer)
    }
  return out
}

/** Of layers that the result shares with bases, nothing is read. */
export function knownLayers(cell: Cell): ReadonlySet<string> {
  const known = new Set<string>()
  for (const [diffId, { digest }] of baseLayers(cell)) {
    known.add(diffId.slice(diffId.indexOf(':') + 1))
    known.add(digest.slice(digest.indexOf(':') + 1))
  }
  return known
}

/**
 * Makes the image of a cell of what another engine built: each new layer is read once, so that its tar is sound and its diff ID
 * true; layers of bases keep their blobs; what a container gets from the config is as the Dockerfile says, as with every
 * engine, times and history are the engine's. Throws PLATFORM_MISMATCH, MANIFEST_INVALID, DIGEST_MISMATCH, TAR_INVALID.
 */
export async function takeImage(
  image: ArchivedImage,
  cell: Cell,
  engine: string,
  tools: BuildTools,
): Promise<ImageManifest> {
  const { lowered, options } = cell
  const built = parseImageConfig(image.config, `the image that ${engine} built: config`)
  const { config } = lowered.target
  if (built.os !== config.os || built.architecture !== config.architecture)
    throw new ArchimageError(
      'PLATFORM_MISMATCH',
      `${engine} built an image for ${built.os}/${built.architecture} instead of ${formatPlatform(cell.platform)}`,
      { hint: `see that ${engine} can build for ${formatPlatform(cell.platform)}, or leave that platform out` },
    )
  const diffIds = built.rootfs.diff_ids
  if (diffIds.length !== image.layers.length)
    throw new ArchimageError(
      'MANIFEST_INVALID',
      `the image that ${engine} built has ${image.layers.length} layers, its config names ${diffIds.length}`,
    )
  const bases = baseLayers(cell)
  const layers: ImageLayer[] = []
  for (const [i, layer] of image.layers.entries()) {
    const diffId = diffIds[i]!
    const base = bases.get(diffId)
    layers.push(base ? { diffId, descriptor: base } : await newLayer(layer, diffId, cell, engine, tools))
  }
  return putImage({ ...config, ...engineTimes(built, cell) }, layers, options, tools.store)
}

async function newLayer(
  layer: ArchivedLayer,
  diffId: Digest,
  cell: Cell,
  engine: string,
  { store, signal }: BuildTools,
): Promise<ImageLayer> {
  if (layer.kind === 'foreign') return { diffId, descriptor: layer.descriptor }
  if (layer.kind === 'known')
    throw new ArchimageError(
      'MANIFEST_INVALID',
      `the image that ${engine} built: layer ${diffId} is not in the archive`,
    )
  const { compression, times } = cell.options
  const { fixed } = times
  const name = `a layer that ${engine} built`
  const windows = cell.platform.os === 'windows'
  const asBuilt = (): AsyncIterable<Uint8Array> =>
    decompress(layer.compression, store.open(layer), { name, limit: MAX_LAYER, signal })
  const plain = fixed === undefined ? asBuilt : () => clampTimes(asBuilt(), fixed, name)
  let index = await indexLayer(asBuilt(), { diffId, name, windows, signal })
  if (fixed !== undefined) index = await indexLayer(plain(), { name, windows, signal })
  // A layer from an engine's cache may be compressed as another build wanted it.
  const kept = fixed === undefined && layer.compression === compression
  const { digest, size, members } = kept ? layer : await recompressed(plain(), engine, cell, store)
  const mediaType = layerType(compression, false)
  rememberIndex(store, index, { digest, size, mediaType, ...(members?.length ? { members } : {}) })
  return { diffId: index.diffId, descriptor: { mediaType, digest, size } }
}

async function recompressed(
  bytes: AsyncIterable<Uint8Array>,
  from: string,
  { options: { compression, level, workers } }: Cell,
  store: BuildTools['store'],
): Promise<LayerFile> {
  const layer = new IncomingLayer(
    {
      ...{ store, from, compression },
      ...(level === undefined ? {} : { level }),
      ...(workers === undefined ? {} : { workers }),
    },
    undefined,
  )
  try {
    for await (const chunk of bytes) await layer.push(chunk)
    return await layer.end()
  } catch (error) {
    layer.abort()
    throw error
  }
}

/** When the engine says that the image and its layers were made; not after the moment that the build asks for. */
function engineTimes(built: ImageConfig, { options, lowered }: Cell): Pick<ImageConfig, 'created' | 'history'> {
  const { fixed } = options.times
  const history = (built.history ?? []).map(({ comment, ...entry }): HistoryEntry => {
    const late = fixed !== undefined && !(Date.parse(entry.created ?? '') <= fixed * 1000)
    return {
      ...entry,
      ...(late ? { created: lowered.target.config.created! } : {}),
      // podman names the image that a step stood on, which here has a name for the time of the build only.
      ...(comment === undefined || comment.startsWith('FROM ') ? {} : { comment }),
    }
  })
  const created = fixed === undefined ? built.created : lowered.target.config.created
  return { history, ...(created === undefined ? {} : { created }) }
}
