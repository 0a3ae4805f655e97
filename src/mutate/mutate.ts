import { statSync } from 'node:fs'
import { ArchimageError } from '../errors/error.ts'
import { platformOf } from '../inspect/describe.ts'
import { rootOf } from '../inspect/files.ts'
import { imagesOf } from '../inspect/narrow.ts'
import type { ImageNode } from '../inspect/read.ts'
import type { Digest } from '../oci/digest.ts'
import { formatPlatform, type Platform, samePlatform, selectPlatform } from '../oci/platform.ts'
import type { Transport } from '../transports/transport.ts'
import { type Draft, type DraftLayer, draftOf } from './draft.ts'
import { type Change, type ConfigEdits, editAnnotations, editConfig } from './edits.ts'
import { historyOf } from './history.ts'
import { clampLayer, type LayerTools, layerFromTar, layerFromTree } from './layers.ts'
import { rebase } from './rebase.ts'
import { type Rewritten, rewriteImage } from './rewrite.ts'

/** A value for some platforms; for all without a list. */
export interface Scoped<T> {
  readonly platforms?: readonly Platform[]
  readonly value: T
}

/** A base that an image stands on, or shall. */
export interface Base {
  /** As annotations have it. */
  readonly name: string
  readonly top: ImageNode
  readonly transport: Transport
}

/** All that is to be done to an image, in this order: another base, new layers, one layer of all, times, config, annotations. */
export interface Mutation {
  /** Only images of these platforms; the others stay. */
  readonly platforms?: readonly Platform[]
  /** Given the annotations of an image (with those of its index below them). */
  readonly bases?: (
    annotations: Readonly<Record<string, string>>,
  ) => Promise<{ readonly old: Base; readonly new: Base }>
  /** Tar files, and folders whose files go to the root. */
  readonly append?: readonly Scoped<string>[]
  readonly flatten?: boolean
  /** Files younger than this (seconds since 1970) get this time. */
  readonly layerTime?: number
  readonly config?: readonly Scoped<ConfigEdits>[]
  readonly annotations?: readonly Scoped<Change>[]
  readonly indexAnnotations?: Change
  readonly entryAnnotations?: readonly Scoped<Change>[]
  readonly keepAttestations?: boolean
}

export interface Mutated extends Rewritten {
  /** Where blobs are that neither the source has nor `blobs` are: of new bases. Those of new layers are in the store. */
  readonly elsewhere: ReadonlyMap<Digest, Transport>
  /** Digests of layers that were made here. */
  readonly made: ReadonlySet<Digest>
}

const BASE_NAME = 'org.opencontainers.image.base.name'
const BASE_DIGEST = 'org.opencontainers.image.base.digest'

/**
 * Does it to every image of an index, in one pass; nothing is written but new layers into the store. Throws PLATFORM_MISSING
 * for platforms that are asked for in vain, and what the parts throw.
 */
export async function mutate(top: ImageNode, name: string, mutation: Mutation, tools: LayerTools): Promise<Mutated> {
  checkPlatforms(top, name, mutation)
  const elsewhere = new Map<Digest, Transport>()
  const made = new Set<Digest>()
  const appended = new Map<string, ReturnType<typeof layerFromTar>>()
  const indexAnnotations = top.manifest?.kind === 'index' ? top.manifest.annotations : {}

  const image = async (original: Draft, platform: Platform, what: string): Promise<Draft> => {
    if (!applies(mutation, platform)) return original
    let draft = original
    if (mutation.bases !== undefined) {
      const annotations = { ...indexAnnotations, ...(draft.manifest['annotations'] as Record<string, string>) }
      const bases = await mutation.bases(annotations)
      const [old, now] = [baseFor(bases.old, platform), baseFor(bases.new, platform)]
      draft = rebase(draft, { old, new: now }, what)
      for (const { descriptor } of now.layers) elsewhere.set(descriptor.digest, bases.new.transport)
      if (!draft.docker)
        draft = editAnnotations(draft, [
          [BASE_NAME, bases.new.name],
          [BASE_DIGEST, bases.new.top.descriptor.digest],
        ])
    }
    for (const path of valuesFor(mutation.append, platform)) {
      const key = `${draft.docker} ${draft.config['os'] === 'windows'} ${path}`
      const layer = appended.get(key) ?? newLayer(path, draft, tools)
      appended.set(key, layer)
      made.add((await layer).descriptor.digest)
      draft = withLayer(draft, await layer, `archimage mutate --append ${path.split(/[\\/]/).at(-1)}`)
    }
    const reading = { ...tools, transport: withBlobs(tools.transport, elsewhere, made, tools) }
    if (mutation.flatten === true && draft.layers.length > 1) {
      draft = await flattened(draft, what, reading)
      made.add(draft.layers[0]!.descriptor.digest)
    }
    if (mutation.layerTime !== undefined) {
      const layers = []
      for (const layer of draft.layers) {
        const clamped = await clampLayer(layer, mutation.layerTime, draft.docker, reading)
        if (clamped !== layer) made.add(clamped.descriptor.digest)
        layers.push(clamped)
      }
      draft = { ...draft, layers }
    }
    for (const edits of valuesFor(mutation.config, platform)) draft = editConfig(draft, edits)
    return editAnnotations(draft, valuesFor(mutation.annotations, platform).flat())
  }

  const rewritten = await rewriteImage(top, name, {
    image,
    entryAnnotations: platform => valuesFor(mutation.entryAnnotations, platform).flat(),
    ...(mutation.indexAnnotations === undefined ? {} : { indexAnnotations: mutation.indexAnnotations }),
    ...(mutation.keepAttestations === undefined ? {} : { keepAttestations: mutation.keepAttestations }),
  })
  return { ...rewritten, elsewhere, made }
}

/** The source as it would be with what a mutation made: to be copied from. */
export function mutatedSource(source: Transport, mutated: Mutated, tools: LayerTools): Transport {
  const manifests = new Map([mutated.top, ...mutated.manifests].map(manifest => [manifest.digest as string, manifest]))
  const bytes = new Map(mutated.blobs.map(({ descriptor, bytes }) => [descriptor.digest, bytes]))
  const under = withBlobs(source, mutated.elsewhere, mutated.made, tools)
  return {
    ...under,
    manifest: async (name, options) => manifests.get(name) ?? source.manifest(name, options),
    head: async (name, options) => {
      const own = manifests.get(name)
      if (own === undefined) return source.head(name, options)
      return { mediaType: own.mediaType, digest: own.digest, size: own.raw.byteLength }
    },
    hasBlob: async (descriptor, options) => bytes.has(descriptor.digest) || under.hasBlob(descriptor, options),
    blob: async (descriptor, options) => {
      const own = bytes.get(descriptor.digest)
      if (own === undefined) return under.blob(descriptor, options)
      return new Blob([own.slice(options?.start ?? 0) as Uint8Array<ArrayBuffer>]).stream()
    },
  }
}

/** A transport whose blobs come from where they are. */
function withBlobs(
  source: Transport,
  elsewhere: ReadonlyMap<Digest, Transport>,
  made: ReadonlySet<Digest>,
  { store }: LayerTools,
): Transport {
  return {
    name: source.name,
    manifest: (name, options) => source.manifest(name, options),
    head: (name, options) => source.head(name, options),
    hasBlob: async (descriptor, options) =>
      made.has(descriptor.digest) || (elsewhere.get(descriptor.digest) ?? source).hasBlob(descriptor, options),
    blob: async (descriptor, options) =>
      made.has(descriptor.digest)
        ? store.open(descriptor, options?.start === undefined ? {} : { start: options.start })
        : (elsewhere.get(descriptor.digest) ?? source).blob(descriptor, options),
    putBlob: (descriptor, body, options) => source.putBlob(descriptor, body, options),
    putManifest: (manifest, tag, options) => source.putManifest(manifest, tag, options),
  }
}

/** Of a tar file, or of what is in a folder. */
async function newLayer(path: string, draft: Draft, tools: LayerTools): Promise<DraftLayer> {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) return layerFromTar(path, draft.docker, tools)
  const { folderTree } = await import('./folder.ts')
  return layerFromTree(folderTree(path), [], { docker: draft.docker, windows: draft.config['os'] === 'windows' }, tools)
}

async function flattened(draft: Draft, name: string, tools: LayerTools): Promise<Draft> {
  const windows = draft.config['os'] === 'windows'
  const tree = await rootOf(draft.layers, windows, name, tools)
  const layer = await layerFromTree(tree, draft.layers, { docker: draft.docker, windows }, tools)
  const created = draft.config['created']
  const step = { ...(created === undefined ? {} : { created }), created_by: 'archimage mutate --flatten' }
  const history = draft.config['history'] === undefined ? {} : { history: [step] }
  return { ...draft, layers: [layer], config: { ...draft.config, ...history } }
}

function withLayer(draft: Draft, layer: Draft['layers'][number], createdBy: string): Draft {
  const { created, history } = draft.config
  const step = { ...(created === undefined ? {} : { created }), created_by: createdBy }
  return {
    ...draft,
    layers: [...draft.layers, layer],
    config: history === undefined ? draft.config : { ...draft.config, history: [...historyOf(draft), step] },
  }
}

function baseFor({ name, top }: Base, platform: Platform): Draft & { readonly name: string } {
  const images = imagesOf(top)
  const single = top.manifest?.kind === 'image' ? images[0] : undefined
  const found = single ?? images[selectPlatform(platform, images.map(platformOf))?.index ?? -1]
  if (found?.manifest?.kind !== 'image')
    throw new ArchimageError('PLATFORM_MISSING', `the base ${name} is not there for ${formatPlatform(platform)}`, {
      hint: `it is there for ${images.map(node => formatPlatform(platformOf(node)!)).join(', ') || 'no platform at all'}`,
    })
  return { ...draftOf({ manifest: found.manifest, rawConfig: found.rawConfig! }, name), name }
}

function applies({ platforms }: Mutation, platform: Platform): boolean {
  return platforms === undefined || platforms.some(one => samePlatform(one, platform))
}

function valuesFor<T>(list: readonly Scoped<T>[] | undefined, platform: Platform): readonly T[] {
  return (list ?? []).flatMap(({ platforms, value }) =>
    platforms === undefined || platforms.some(one => samePlatform(one, platform)) ? [value] : [],
  )
}

/** A platform in vain is a typing mistake, or the wrong image. One platform for many images makes them the same. */
function checkPlatforms(top: ImageNode, name: string, mutation: Mutation): void {
  const there = imagesOf(top).map(node => platformOf(node)!)
  const { platforms, append, config, annotations, entryAnnotations } = mutation
  const asked = [append, config, annotations, entryAnnotations].flatMap(list => (list ?? []) as Scoped<unknown>[])
  for (const platform of [...(platforms ?? []), ...asked.flatMap(one => one.platforms ?? [])])
    if (!there.some(one => samePlatform(one, platform)))
      throw new ArchimageError('PLATFORM_MISSING', `${name} is not there for ${formatPlatform(platform)}`, {
        hint: `it is there for ${there.map(formatPlatform).join(', ') || 'no platform at all'}`,
      })
  const many = there.filter(
    platform => applies(mutation, platform) && valuesFor(config, platform).some(edits => edits.platform !== undefined),
  )
  if (many.length > 1)
    throw new ArchimageError(
      'USAGE',
      `${name} is there for ${many.map(formatPlatform).join(', ')}: they cannot all be one`,
      {
        hint: 'say which of them it is, with --platform',
      },
    )
}
