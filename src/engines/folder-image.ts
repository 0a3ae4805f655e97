import { type LayerItem, writeLayer } from '../layer/write.ts'
import { OCI } from '../oci/media-types.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { BaseImage } from '../plan/lowered.ts'
import type { SourceTree } from '../plan/source-tree.ts'
import type { BuildTools } from './engine.ts'
import { putImage } from './image.ts'
import { rememberIndex } from './native/base.ts'
import { layerContent } from './native/layer-content.ts'

/** A folder as an image of one layer: for engines that copy and mount from images by name, and not from folders. */
export async function folderImage(
  name: string,
  tree: SourceTree,
  platform: Platform,
  tools: BuildTools,
): Promise<BaseImage> {
  const { store, signal } = tools
  const windows = platform.os === 'windows'
  // Files of an archive are in a layer of the store.
  const content = layerContent(tools)
  const written = await writeLayer({
    entries: itemsOf(tree, ''),
    ...{ windows, signal, compression: 'none', sink: store.create(), open: entry => content.open(entry) },
  }).finally(() => content.close())
  const { digest, size, diffId, index } = written
  const mediaType = OCI.layer
  rememberIndex(store, index, { digest, size, mediaType })
  const { os, architecture, variant } = platform
  const config = {
    ...{ architecture, os, ...(variant === undefined ? {} : { variant }), config: {} },
    rootfs: { type: 'layers' as const, diff_ids: [diffId] },
  }
  const layer = { diffId, descriptor: { mediaType, digest, size } }
  const manifest = putImage(config, [layer], { docker: false, annotations: {} }, store)
  return { name: `${name} for ${formatPlatform(platform)}`, manifest, config, platform, exact: true }
}

function* itemsOf(tree: SourceTree, folder: string): Generator<LayerItem> {
  for (const name of tree.list(folder)) {
    const path = folder === '' ? name : `${folder}/${name}`
    const entry = tree.lookup(path)
    if (entry === undefined) continue
    const digest = entry.type === 'file' && entry.digest === undefined ? { digest: tree.digest(path) } : {}
    yield { path, entry: { ...entry, ...digest } }
    if (entry.type === 'dir') yield* itemsOf(tree, path)
  }
}
