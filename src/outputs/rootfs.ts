import { ArchimageError } from '../errors/error.ts'
import { applyLayer } from '../layer/apply.ts'
import { decodeIndex, encodeIndex } from '../layer/codec.ts'
import { LayerContent } from '../layer/content.ts'
import type { Entry } from '../layer/entry.ts'
import { indexLayer, type LayerIndex } from '../layer/index.ts'
import { Tree } from '../layer/tree.ts'
import { parseImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { compressionOf, isForeignLayer } from '../oci/media-types.ts'
import { formatPlatform, type Platform, platformSlug } from '../oci/platform.ts'
import { decompress } from '../sys/compress.ts'
import { outputFailed } from '../sys/target.ts'
import { nameOf, type OutputImage, type OutputMember, type OutputTools } from './image.ts'

/** Record kinds of the native engine: the index of a layer by diff ID; which blob holds a diff ID. */
const INDEX = 'layer-index'
const BLOB = 'layer-blob'
/** Layers above this are refused, as the engine refuses them: 64 GiB uncompressed. */
const MAX_LAYER = 64 * 2 ** 30

/** One flattened root filesystem, and the folder that it goes into (none: the destination itself). */
export interface Root {
  readonly folder?: string
  readonly tree: Tree
}

/** The root filesystems of an image, and how to read their files. */
export interface Roots {
  readonly roots: readonly Root[]
  readonly content: LayerContent
}

/**
 * The flattened root filesystems of all platforms: in folders with buildx's names when there are several or `split` says so, as
 * one when it is false. Throws OUTPUT_FAILED where two platforms differ in a file that is to be one. The caller closes `content`.
 */
export async function readRoots(image: OutputImage, split: boolean | undefined, tools: OutputTools): Promise<Roots> {
  const layers = new Map<Digest, Descriptor>()
  const trees: Tree[] = []
  for (const member of image.members) trees.push(await rootTree(image, member, layers, tools))
  const content = layerContent(layers, tools)
  if (!(split ?? trees.length > 1)) return { roots: [{ tree: merged(image, trees) }], content }
  const names = folderNames(image.members.map(member => member.platform))
  return { roots: trees.map((tree, i) => ({ folder: names[i]!, tree })), content }
}

/** buildx's folders: `linux_arm_v7`; the os.version only where two would be the same. */
export function folderNames(platforms: readonly Platform[]): string[] {
  const slugs = platforms.map(platformSlug)
  return platforms.map((platform, i) => {
    const slug = slugs[i]!
    const name = slugs.filter(other => other === slug).length > 1 ? formatPlatform(platform) : slug
    return name.replace(/[/\\:]/g, '_')
  })
}

async function rootTree(
  image: OutputImage,
  { manifest, platform }: OutputMember,
  layers: Map<Digest, Descriptor>,
  tools: OutputTools,
): Promise<Tree> {
  const name = `${nameOf(image)}, ${formatPlatform(platform)}`
  await tools.fetch(manifest.config)
  const { os, rootfs } = parseImageConfig(tools.store.read(manifest.config.digest), `${name}: config`)
  if (rootfs.diff_ids.length !== manifest.layers.length)
    throw new ArchimageError(
      'MANIFEST_INVALID',
      `${name}: it has ${manifest.layers.length} layers, but its config names ${rootfs.diff_ids.length}`,
    )
  const windows = os === 'windows'
  const indexes: LayerIndex[] = []
  for (const [i, layer] of manifest.layers.entries()) {
    const diffId = rootfs.diff_ids[i]!
    layers.set(diffId, layer)
    const index = await layerIndex(diffId, layer, name, windows, tools)
    if (index !== undefined) indexes.push(index)
  }
  const tree = new Tree({ caseInsensitive: windows })
  for (const index of indexes) applyLayer(tree, index)
  return tree
}

/** Undefined for a foreign layer, which is left out with a warning. */
async function layerIndex(
  diffId: Digest,
  layer: Descriptor,
  name: string,
  windows: boolean,
  tools: OutputTools,
): Promise<LayerIndex | undefined> {
  const { store } = tools
  if (isForeignLayer(layer.mediaType) && !store.has(layer.digest, layer.size)) {
    tools.emit.warning(`${name}: layer ${layer.digest} lies outside of any registry; its files are left out`)
    return undefined
  }
  const bytes = store.records.blob(INDEX, diffId)
  const known = bytes && decodeIndex(bytes)
  if (known) return known
  await tools.fetch(layer)
  const compression = compressionOf(layer.mediaType)
  if (compression === undefined)
    throw new ArchimageError('UNSUPPORTED', `${name}: a layer is ${layer.mediaType}, which archimage cannot read`)
  const what = `layer ${layer.digest.slice(0, 19)} of ${name}`
  const stream = decompress(compression, store.open(layer), { name: what, limit: MAX_LAYER, signal: tools.signal })
  const index = await indexLayer(stream, { diffId, name: what, windows, signal: tools.signal })
  store.records.putBlob(INDEX, diffId, encodeIndex(index))
  return index
}

function layerContent(layers: ReadonlyMap<Digest, Descriptor>, { store, fetch }: OutputTools): LayerContent {
  return new LayerContent({
    locate: async diffId => {
      const layer = layers.get(diffId)!
      await fetch(layer)
      const record = store.records.get<{ digest: Digest; members?: readonly number[] }>(BLOB, diffId)
      return {
        path: store.blobPath(layer.digest),
        compression: compressionOf(layer.mediaType) ?? 'none',
        ...(record?.members !== undefined && record.digest === layer.digest ? { members: record.members } : {}),
      }
    },
    tarPath: diffId => store.tarPath(diffId),
  })
}

/** All trees laid over each other: folders meet, everything else must be the same where two have it. */
function merged(image: OutputImage, trees: readonly Tree[]): Tree {
  const [first, ...others] = trees
  if (others.length === 0) return first!
  const out = new Tree()
  const from = new Map<string, number>()
  for (const [i, tree] of trees.entries())
    for (const { path, entry } of tree.walk()) {
      const before = out.lookup(path)
      if (path === '' || (before !== undefined && sameEntry(before, entry))) continue
      if (before !== undefined) {
        const [a, b] = [from.get(path)!, i].map(at => formatPlatform(image.members[at]!.platform))
        throw outputFailed(
          `${nameOf(image)}: /${path} of ${b} is not the one of ${a}, and platform-split=false puts both in one place`,
          'leave platform-split=false out: each platform then gets a folder of its own',
        )
      }
      out.put(path, entry)
      from.set(path, i)
    }
  return out
}

function sameEntry(a: Entry, b: Entry): boolean {
  if (a.type === 'dir' && b.type === 'dir') return true
  return (
    a.type === b.type &&
    a.digest === b.digest &&
    a.link === b.link &&
    a.mode === b.mode &&
    a.major === b.major &&
    a.minor === b.minor
  )
}
