import { ArchimageError } from '../errors/error.ts'
import { applyLayer } from '../layer/apply.ts'
import { decodeIndex, encodeIndex } from '../layer/codec.ts'
import type { Entry } from '../layer/entry.ts'
import { indexLayer, type LayerIndex } from '../layer/index.ts'
import { Tree } from '../layer/tree.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { compressionOf, isForeignLayer } from '../oci/media-types.ts'
import type { Store } from '../store/store.ts'
import { decompress } from '../sys/compress.ts'
import type { Transport } from '../transports/transport.ts'
import type { ImageNode } from './read.ts'

/** Record kind of the store: the index of a layer by diff ID, as builds keep it. */
const INDEX = 'layer-index'
/** Layers above this are refused: 64 GiB uncompressed. */
const MAX_LAYER = 64 * 2 ** 30

export interface FileChange {
  /** Without "/" in front. */
  readonly path: string
  readonly change: 'added' | 'removed' | 'changed'
  readonly type: Entry['type']
  /** Bytes afterwards; of a removed file before. */
  readonly size: number
  /** Of a changed one what: `content`, `mode 644 → 755`, `owner 0:0 → 1:1`, `link`, `type`, `xattrs`. Times alone are no change. */
  readonly what: readonly string[]
}

type LayerDescriptor = Pick<Descriptor, 'mediaType' | 'digest' | 'size'>

export interface IndexTools {
  readonly transport: Transport
  readonly store: Store
  readonly signal?: AbortSignal
}

/**
 * The root filesystem that layers make, from the bottom. They are read once per machine: what is in them is remembered by
 * their diff ID. Throws TAR_INVALID, DIGEST_MISMATCH, UNSUPPORTED for foreign layers and unknown kinds.
 */
export async function rootOf(
  layers: readonly { readonly descriptor: LayerDescriptor; readonly diffId: Digest }[],
  windows: boolean,
  name: string,
  tools: IndexTools,
): Promise<Tree> {
  const tree = new Tree({ caseInsensitive: windows })
  for (const { descriptor, diffId } of layers)
    applyLayer(tree, await layerIndex(descriptor, diffId, name, windows, tools))
  return tree
}

/** The same of an image; throws MANIFEST_INVALID when its config names other layers than its manifest. */
export async function rootOfImage({ manifest, config }: ImageNode, name: string, tools: IndexTools): Promise<Tree> {
  if (manifest?.kind !== 'image' || config === undefined)
    throw new ArchimageError('UNSUPPORTED', `${name} is no image with files`)
  const { diff_ids } = config.rootfs
  if (diff_ids.length !== manifest.layers.length)
    throw new ArchimageError(
      'MANIFEST_INVALID',
      `${name}: it has ${manifest.layers.length} layers, but its config names ${diff_ids.length}`,
    )
  const layers = manifest.layers.map((descriptor, i) => ({ descriptor, diffId: diff_ids[i]! }))
  return rootOf(layers, config.os === 'windows', name, tools)
}

/** What is in a layer: as the store remembers it, else read from where the image is. */
export async function layerIndex(
  layer: LayerDescriptor,
  diffId: Digest,
  name: string,
  windows: boolean,
  { transport, store, signal }: IndexTools,
): Promise<LayerIndex> {
  const bytes = store.records.blob(INDEX, diffId)
  const known = bytes && decodeIndex(bytes)
  if (known) return known
  const what = `layer ${layer.digest.slice(0, 19)} of ${name}`
  if (isForeignLayer(layer.mediaType) && !(await transport.hasBlob(layer, signal && { signal })))
    throw new ArchimageError('UNSUPPORTED', `${what} lies outside of any registry: its files are not known`)
  const compression = compressionOf(layer.mediaType)
  if (compression === undefined)
    throw new ArchimageError('UNSUPPORTED', `${what} is ${layer.mediaType}, which archimage cannot read`)
  const stream = await transport.blob(layer, signal && { signal })
  const plain = decompress(compression, stream, { name: what, limit: MAX_LAYER, ...(signal && { signal }) })
  const index = await indexLayer(plain, { diffId, name: what, windows, ...(signal && { signal }) })
  store.records.putBlob(INDEX, diffId, encodeIndex(index))
  return index
}

/** What is different in `after`, in the order of paths. A directory that is there in both and only got other times is none. */
export function changedFiles(before: Tree, after: Tree): FileChange[] {
  const changes: FileChange[] = []
  for (const { path, entry } of before.walk())
    if (path !== '' && after.lookup(path) === undefined) changes.push(removed(path, entry))
  for (const { path, entry } of after.walk()) {
    if (path === '') continue
    const old = before.lookup(path)
    const { type, size } = entry
    if (old === undefined) changes.push({ path, change: 'added', type, size, what: [] })
    else {
      const what = whatChanged(old, entry)
      if (what.length > 0) changes.push({ path, change: 'changed', type, size, what })
    }
  }
  return changes.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
}

function removed(path: string, { type, size }: Entry): FileChange {
  return { path, change: 'removed', type, size, what: [] }
}

function whatChanged(old: Entry, now: Entry): string[] {
  if (old.type !== now.type) return [`${old.type} → ${now.type}`]
  const out: string[] = []
  if (old.digest !== now.digest)
    out.push(old.size === now.size ? 'content' : `content, ${old.size} → ${now.size} bytes`)
  if (old.link !== now.link) out.push(`link ${old.link} → ${now.link}`)
  if (old.mode !== now.mode) out.push(`mode ${old.mode.toString(8)} → ${now.mode.toString(8)}`)
  if (old.uid !== now.uid || old.gid !== now.gid) out.push(`owner ${old.uid}:${old.gid} → ${now.uid}:${now.gid}`)
  if (old.major !== now.major || old.minor !== now.minor) out.push('device')
  if (flat(old.xattrs) !== flat(now.xattrs)) out.push('xattrs')
  return out
}

function flat(map: Readonly<Record<string, string>> = {}): string {
  return JSON.stringify(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)))
}
