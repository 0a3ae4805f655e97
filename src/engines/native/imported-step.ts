import { ArchimageError } from '../../errors/error.ts'
import { indexLayer, type LayerIndex } from '../../layer/index.ts'
import type { LayerItem } from '../../layer/write.ts'
import { compressionOf } from '../../oci/media-types.ts'
import { FORMAT } from '../../plan/key.ts'
import { decompress } from '../../sys/compress.ts'
import type { ImportedStep } from '../cached-steps.ts'
import type { BuildTools } from '../engine.ts'
import { MAX_LAYER, rememberIndex } from './base.ts'
import { rememberLayer } from './layers.ts'
import { rememberStepLayer } from './step-layer.ts'
import { canonical, encodeStep, STEP, withContent } from './step-record.ts'

/**
 * Records what a step left on another machine as if it had run here. Its layer is read once, against its digest and diff ID, and
 * must be what a step can leave, and give the step's own digest. Throws DIGEST_MISMATCH, TAR_INVALID, NOT_FOUND, and what
 * registries say.
 */
export async function importStep(
  { step, from, written, fetch }: ImportedStep,
  { store, signal }: Pick<BuildTools, 'store' | 'signal'>,
): Promise<void> {
  const { key, seconds, emulated, left } = step
  if (left === undefined) {
    store.records.putBlob(STEP, key, encodeStep({ items: [], seconds, emulated }))
    return
  }
  const { id, diffId, layer } = left
  await fetch(signal)
  const name = `layer ${layer.digest.slice(0, 19)} of ${from}`
  const bytes = decompress(compressionOf(layer.mediaType)!, store.open(layer), { name, limit: MAX_LAYER, signal })
  const index = await indexLayer(bytes, { diffId, name, signal })
  const { id: found, items } = canonical(layerItems(index, name))
  if (found !== id)
    throw new ArchimageError('DIGEST_MISMATCH', `${name}: what is in it is ${found}, the cache says ${id}`)
  const blob = { digest: layer.digest, size: layer.size, mediaType: layer.mediaType, diffId }
  rememberIndex(store, index, blob)
  rememberStepLayer(store, id, blob)
  // as `Steps.recall` gives them, which is what layers are written of
  if (written.format === FORMAT)
    rememberLayer(
      store,
      withContent(items, id, () => undefined),
      written,
      blob,
    )
  store.records.putBlob(STEP, key, encodeStep({ id, items, seconds, emulated }))
}

/**
 * What a step left, from the layer that was written of it. Throws TAR_INVALID for what no step leaves: an entry twice, without the
 * directory that it is in, or linked to what is not in the layer.
 */
export function layerItems({ entries }: LayerIndex, name: string): readonly LayerItem[] {
  const fail = (path: string): never => {
    throw new ArchimageError('TAR_INVALID', `${name}: "${path.slice(0, 200)}" is nothing that a step leaves`)
  }
  const items = new Map<string, LayerItem>()
  const linked = new Set<string>()
  const out: LayerItem[] = []
  for (const { path, kind, entry, link } of entries) {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')))
    const place = kind === 'opaque' ? path : parent
    if (path === '' || (place !== '' && items.get(place)?.entry?.type !== 'dir')) return fail(path)
    if (kind === 'opaque') {
      out.push({ path, kind })
      continue
    }
    if (items.has(path)) return fail(path)
    const target = link === undefined ? undefined : items.get(link)?.entry
    if (link !== undefined && (target === undefined || target.type === 'dir')) return fail(path)
    if (link !== undefined) linked.add(link)
    const own = entry ?? (target && { ...target, inode: link! })
    const item: LayerItem = { path, kind, ...(own ? { entry: own } : {}) }
    items.set(path, item)
    out.push(item)
  }
  return out.map(item =>
    item.entry && linked.has(item.path) ? { ...item, entry: { ...item.entry, inode: item.path } } : item,
  )
}
