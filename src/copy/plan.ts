import { ArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { configPlatform, parseImageConfig } from '../oci/config.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import {
  contradiction,
  type Descriptor,
  describe,
  type ImageManifest,
  isAttestation,
  type Manifest,
} from '../oci/manifest.ts'
import { isForeignLayer, isIndexType } from '../oci/media-types.ts'
import { normalizePlatform, type Platform, samePlatform } from '../oci/platform.ts'
import type { Transport } from '../transports/transport.ts'
import { convertImage, convertIndex, isImage, lostInDocker, needsWork } from './convert.ts'
import type { CopyImage, CopyTools } from './request.ts'
import { entriesFor, keepEntries, platformMissing } from './select.ts'
import { onSide } from './side.ts'

/** A manifest that the destination is to hold, with all below it. */
export interface PlannedManifest {
  readonly descriptor: Descriptor
  /** The destination has it, and so all below it. */
  readonly there: boolean
  /** Where it had to be read. */
  readonly manifest?: Manifest
  readonly children: readonly PlannedManifest[]
}

/** One image: what has to be where, before anything is written. */
export interface ImagePlan {
  readonly image: CopyImage
  /** What its name leads to. */
  readonly source: Descriptor
  readonly state: 'copy' | 'same' | 'kept'
  /** What its tags will lead to; before recompression where there is one. */
  readonly root: PlannedManifest
  /** Layers are compressed anew on the way: digests of manifests are known afterwards. */
  readonly recompress: boolean
  /** Referrers and digest tags: copied before the tags of the image are written. */
  readonly extras: readonly { readonly root: PlannedManifest; readonly tag?: string }[]
  /** Names at the destination with what they lead to now. */
  readonly tags: readonly { readonly tag: string; readonly now?: Digest }[]
}

const DEPTH = 8
const MOST = 10_000

/**
 * Looks at both ends of a copy. What is there already costs a HEAD at each end, and no GET. Throws NOT_FOUND,
 * PLATFORM_MISSING, TAG_EXISTS, UNSUPPORTED.
 */
export async function planCopy(image: CopyImage, tools: CopyTools): Promise<ImagePlan> {
  const { options } = image
  const { signal } = tools
  const source = onSide(image.source.transport, 'source')
  const target = onSide(image.target.transport, 'destination')
  const what = nameOf(image)
  const [found, ...heads] = await Promise.all([
    isDigest(image.name) ? undefined : source.head(image.name, { signal }),
    ...image.tags.map(tag => target.head(tag, { signal })),
  ])
  if (!isDigest(image.name) && found === undefined) throw await notFound(image, source, signal)
  const digest = found?.digest ?? (image.name as Digest)
  const tags = image.tags.map((tag, i) => ({ tag, ...(heads[i] && { now: heads[i].digest }) }))
  const changes =
    options.format !== undefined || options.compression !== undefined || options.addCompression !== undefined
  const narrows = options.platforms !== undefined && options.sparse !== true
  const extra = options.referrers === true || options.digestTags === true
  const whole = !changes && !narrows
  const pointed = (to: Digest): boolean => tags.length > 0 && tags.every(({ now }) => now === to)
  const settled = (descriptor: Descriptor, state: 'same' | 'kept'): ImagePlan => ({
    ...{ image, state, tags, recompress: false, extras: [] },
    source: found ?? descriptor,
    root: { descriptor, there: state === 'same', children: [] },
  })
  if (whole && !extra && options.thorough !== true && found !== undefined && pointed(digest))
    return settled(found, 'same')
  /** What stands in the way of a tag's move; true when it is to stay. */
  const blocked = (to: Digest | undefined): boolean => {
    const other = tags.find(({ now }) => now !== undefined && now !== to)
    if (options.existing === undefined || other === undefined) return false
    if (options.existing === 'keep') return true
    throw new ArchimageError(
      'TAG_EXISTS',
      `destination: ${image.target.label}: the tag ${other.tag} is there and is ${other.now}; the source is ${to ?? 'another one'}`,
      { hint: 'choose another tag, or leave --no-clobber away' },
    )
  }
  if (whole && blocked(digest)) return settled(found ?? (await mustHead(source, image, signal)), 'kept')

  const reading = new Reading(image, source, target, { skip: !changes, signal, follow: extra })
  const skip = !changes && !extra && options.thorough !== true
  const [manifest, complete] = await Promise.all([
    source.manifest(digest, { signal }),
    whole && skip ? target.head(digest, { signal }) : undefined,
  ])
  if (manifest === undefined) throw await notFound(image, source, signal)
  const { manifest: selected, positions } = await choose(manifest, reading, what)
  if (options.preserveDigests === true && selected.digest !== digest && selected.kind === 'index')
    throw preserved(`an index of some platforms has another digest than ${digest}`, '--sparse keeps the index as it is')
  const there = complete ?? (narrows && skip ? await target.head(selected.digest, { signal }) : undefined)
  let root: PlannedManifest =
    there !== undefined
      ? { descriptor: describe(selected), there: true, manifest: selected, children: [] }
      : await reading.tree(selected, positions, 0)
  const recompress = needsRecompression(root, options)
  if (changes && !recompress) root = await settle(convert(root, image, tools), target, signal)
  fits(root, image, target)
  const result = recompress ? undefined : root.descriptor.digest
  if (result !== selected.digest) {
    if (options.preserveDigests === true)
      throw preserved('--format or --compression would change it', 'leave one of them away')
    if (extra)
      throw new ArchimageError(
        'USAGE',
        `${what}: signatures and referrers are of the digest that it has, and it would get another`,
        {
          hint: 'leave --format and --compression away, or --referrers and --digest-tags',
        },
      )
  }
  if (!whole && blocked(result)) return settled(root.descriptor, 'kept')
  const extras = extra ? await reading.extras(root) : []
  const named = tags.length === 0 ? root.there : result !== undefined && pointed(result)
  const same = named && options.thorough !== true && extras.length === 0
  return { image, source: found ?? describe(manifest), state: same ? 'same' : 'copy', root, recompress, extras, tags }
}

/** Throws UNSUPPORTED where the destination has no place for an image of this shape. */
export function fits(root: PlannedManifest, { tags }: CopyImage, target: Transport): void {
  if (target.fits === undefined || root.manifest === undefined) return
  const found = new Map<Digest, Manifest>()
  const visit = ({ manifest, children }: PlannedManifest): void => {
    if (manifest !== undefined) found.set(manifest.digest, manifest)
    for (const child of children) visit(child)
  }
  visit(root)
  target.fits(root.manifest, tags[0] ?? root.descriptor.digest, digest => found.get(digest))
}

/** How messages call the source: `registry.example.com/app:1.0`, `oci:out@sha256:…`. */
export function nameOf({ source, name }: Pick<CopyImage, 'source' | 'name'>): string {
  return `${source.label}${isDigest(name) ? '@' : ':'}${name}`
}

interface Choice {
  readonly manifest: Manifest
  /** Entries of it that are wanted, where it keeps the others too. */
  readonly positions?: readonly number[]
}

/** The part of an image that is for the platforms asked for. */
async function choose(manifest: Manifest, reading: Reading, what: string): Promise<Choice> {
  const { platforms, sparse, index } = reading.image.options
  if (platforms === undefined) return { manifest }
  if (manifest.kind === 'image') {
    const platform = await reading.platformOf(manifest)
    const lacking = platforms.filter(wanted => platform === undefined || !samePlatform(platform, wanted))
    if (lacking.length > 0) throw platformMissing(what, lacking, platform === undefined ? [] : [platform])
    return { manifest }
  }
  const known = new Map<number, Platform>()
  for (const [i, entry] of manifest.manifests.entries()) {
    if (entry.platform !== undefined || isAttestation(entry) || isIndexType(entry.mediaType)) continue
    const child = await reading.manifest(entry)
    const platform = child.kind === 'image' ? await reading.platformOf(child) : undefined
    if (platform !== undefined) known.set(i, platform)
  }
  const positions = entriesFor(manifest, platforms, known, what)
  if (sparse === true) return { manifest, positions }
  if (platforms.length === 1 && index !== true) {
    const first = manifest.manifests[positions.find(i => !isAttestation(manifest.manifests[i]!))!]!
    return { manifest: await reading.manifest(first) }
  }
  return { manifest: keepEntries(manifest, positions) }
}

/** Reads what the source has, each manifest once. */
class Reading {
  readonly image: CopyImage
  readonly #source: Transport
  readonly #target: Transport
  readonly #signal: AbortSignal
  /** What the destination has under its digest need not be read. */
  readonly #skip: boolean
  /** Indexes are read nevertheless, as their parts have to be known. */
  readonly #follow: boolean
  readonly #read = new Map<Digest, Promise<Manifest>>()
  readonly #nodes = new Map<Digest, Promise<PlannedManifest>>()

  constructor(
    image: CopyImage,
    source: Transport,
    target: Transport,
    options: { readonly skip: boolean; readonly follow: boolean; readonly signal: AbortSignal },
  ) {
    this.image = image
    this.#source = source
    this.#target = target
    this.#signal = options.signal
    this.#skip = options.skip && image.options.thorough !== true
    this.#follow = options.follow
  }

  manifest(entry: Descriptor): Promise<Manifest> {
    let work = this.#read.get(entry.digest)
    if (work === undefined) {
      if (this.#read.size >= MOST)
        throw new ArchimageError('UNSUPPORTED', `source: ${nameOf(this.image)} has more than ${MOST} manifests`)
      work = this.#fetch(entry)
      this.#read.set(entry.digest, work)
    }
    return work
  }

  async #fetch(entry: Descriptor): Promise<Manifest> {
    const { digest } = entry
    const manifest = await this.#source.manifest(digest, { signal: this.#signal })
    if (manifest !== undefined) {
      const lie = contradiction(entry, manifest)
      if (lie === undefined) return manifest
      throw new ArchimageError('MANIFEST_INVALID', `source: ${this.image.source.label}: manifest ${digest} ${lie}`, {
        hint: 'the index is wrong: build it anew, for instance with archimage manifest create',
        details: { side: 'source' },
      })
    }
    throw new ArchimageError('NOT_FOUND', `source: ${this.image.source.label}: manifest ${digest} does not exist`, {
      hint: 'the index leads to it, but it is not there: copy with --platform what is, or push the image again',
      details: { side: 'source' },
    })
  }

  platformOf(manifest: ImageManifest): Promise<Platform | undefined> {
    return platformOf(manifest, this.#source, this.#signal)
  }

  /** `positions`: the entries that are wanted, of an index that keeps all. */
  async tree(manifest: Manifest, positions: readonly number[] | undefined, depth: number): Promise<PlannedManifest> {
    if (depth > DEPTH)
      throw new ArchimageError('UNSUPPORTED', `source: ${nameOf(this.image)} has indexes in indexes, ${DEPTH} deep`)
    const entries = manifest.kind === 'image' ? [] : manifest.manifests.filter((_, i) => positions?.includes(i) ?? true)
    const children = await Promise.all(entries.map(entry => this.#node(entry, depth + 1)))
    return { descriptor: describe(manifest), there: false, manifest, children }
  }

  #node(entry: Descriptor, depth: number): Promise<PlannedManifest> {
    let work = this.#nodes.get(entry.digest)
    if (work === undefined) {
      work = this.#plan(entry, depth)
      this.#nodes.set(entry.digest, work)
    }
    return work
  }

  async #plan(entry: Descriptor, depth: number): Promise<PlannedManifest> {
    const follow = this.#follow && isIndexType(entry.mediaType)
    // Asked for at once: what leads to it is not there, so most likely it is not either.
    const early = this.#follow ? undefined : this.manifest(entry)
    early?.catch(() => {})
    const there = this.#skip && (await this.#target.head(entry.digest, { signal: this.#signal })) !== undefined
    if (there && !follow) return { descriptor: entry, there, children: [] }
    return { ...(await this.tree(await (early ?? this.manifest(entry)), undefined, depth)), there }
  }

  /** Referrers and digest tags of all manifests of a tree, and of what is found that way. */
  async extras(root: PlannedManifest): Promise<ImagePlan['extras']> {
    const { options, source } = this.image
    if (options.referrers === true && this.#source.referrers === undefined)
      throw new ArchimageError('UNSUPPORTED', `source: ${source.label}: this kind of place does not list referrers`, {
        hint: 'leave --referrers away, or --digest-tags for what cosign tagged',
      })
    const tags = options.digestTags === true ? await this.#digestTags() : []
    const seen = new Set<Digest>()
    const found: { root: PlannedManifest; tag?: string }[] = []
    let wave = digestsOf(root)
    for (let depth = 0; wave.length > 0 && depth <= DEPTH; depth++) {
      const next: Digest[] = []
      for (const digest of wave) {
        if (seen.has(digest)) continue
        seen.add(digest)
        if (seen.size > MOST)
          throw new ArchimageError('UNSUPPORTED', `source: ${nameOf(this.image)} has more than ${MOST} referrers`)
        const extras: ImagePlan['extras'] = [
          ...(await this.#referrersOf(digest)),
          ...(await this.#taggedFor(digest, tags)),
        ]
        for (const extra of extras) {
          if (!extra.root.there || extra.tag !== undefined) found.push(extra)
          next.push(...digestsOf(extra.root))
        }
      }
      wave = next
    }
    return found
  }

  async #referrersOf(digest: Digest): Promise<{ root: PlannedManifest }[]> {
    if (this.image.options.referrers !== true) return []
    const entries = await Array.fromAsync(this.#source.referrers!(digest, { signal: this.#signal }))
    return Promise.all(entries.map(async entry => ({ root: await this.#node(entry, 0) })))
  }

  async #digestTags(): Promise<readonly string[]> {
    if (this.#source.tags === undefined)
      throw new ArchimageError(
        'UNSUPPORTED',
        `source: ${this.image.source.label}: this kind of place does not list its tags`,
        { hint: 'leave --digest-tags away' },
      )
    const all = await Array.fromAsync(this.#source.tags({ signal: this.#signal }))
    return all.filter(tag => DIGEST_TAG.test(tag))
  }

  async #taggedFor(digest: Digest, tags: readonly string[]): Promise<{ root: PlannedManifest; tag: string }[]> {
    const stem = digest.replace(':', '-').slice(0, 71)
    // The list of referrers under the bare tag is the destination's own when referrers are copied as such.
    const mine = tags.filter(
      tag => tag.startsWith(`${stem}.`) || (tag === stem && this.image.options.referrers !== true),
    )
    const planned = mine.map(async tag => {
      const [there, here] = await Promise.all([
        this.#target.head(tag, { signal: this.#signal }),
        this.#source.head(tag, { signal: this.#signal }),
      ])
      if (here === undefined || here.digest === there?.digest) return []
      // To be written under its tag, it has to be read, wherever else it is.
      return [{ root: await this.tree(await this.manifest(here), undefined, 0), tag }]
    })
    return (await Promise.all(planned)).flat()
  }
}

const DIGEST_TAG = /^sha(?:256|512)-[0-9a-f]{64}(?:\.|$)/

/** All digests of a tree, also of what an index leads to without being read. */
function digestsOf({ descriptor, manifest, children }: PlannedManifest): Digest[] {
  const entries =
    manifest?.kind === 'index' && children.length === 0 ? manifest.manifests.map(entry => entry.digest) : []
  return [descriptor.digest, ...entries, ...children.flatMap(digestsOf)]
}

/** Whether layers have to be compressed anew: without, what a conversion gives is known at once. */
function needsRecompression(root: PlannedManifest, { compression, addCompression }: CopyImage['options']): boolean {
  if (addCompression !== undefined) return true
  if (compression === undefined) return false
  const { manifest, children } = root
  return (
    (manifest?.kind === 'image' && manifest.layers.some(layer => needsWork(manifest, layer, compression))) ||
    children.some(child => needsRecompression(child, { compression }))
  )
}

/** Media types of a whole tree. */
function convert(node: PlannedManifest, image: CopyImage, tools: CopyTools): PlannedManifest {
  const { format } = image.options
  const docker = format === undefined ? undefined : format === 'docker'
  const { manifest } = node
  if (manifest === undefined || docker === undefined) return node
  const children = node.children.map(child => convert(child, image, tools))
  if (docker) warnOfLoss(manifest, image, tools)
  const converted =
    manifest.kind === 'image'
      ? convertImage(manifest, { docker })
      : convertIndex(
          manifest,
          children.map(({ descriptor }) => descriptor),
          { docker },
        )
  return { descriptor: describe(converted), there: false, manifest: converted, children }
}

export function warnOfLoss(manifest: Manifest, { source }: CopyImage, { emit }: CopyTools): void {
  const lost = lostInDocker(manifest)
  if (lost.length > 0)
    emit({
      type: 'warning',
      message: `${source.label}@${manifest.digest}: Docker's format has no place for ${lost.join(', ')}`,
    })
}

/** Marks what the destination has of a tree that was made anew. */
export async function settle(node: PlannedManifest, target: Transport, signal: AbortSignal): Promise<PlannedManifest> {
  const there = (await target.head(node.descriptor.digest, { signal })) !== undefined
  if (there) return { ...node, there }
  return { ...node, children: await Promise.all(node.children.map(child => settle(child, target, signal))) }
}

/** By its config; undefined for what is no image. */
export async function platformOf(
  manifest: ImageManifest,
  source: Transport,
  signal: AbortSignal,
): Promise<Platform | undefined> {
  if (!isImage(manifest)) return undefined
  const { config } = manifest
  if (config.size > MAX_JSON)
    throw new ArchimageError('MANIFEST_INVALID', `source: the config of ${manifest.digest} has ${config.size} bytes`)
  const bytes = new Uint8Array(await new Response(await source.blob(config, { signal })).arrayBuffer())
  return normalizePlatform(configPlatform(parseImageConfig(bytes, `config of ${manifest.digest}`)))
}

/** The blobs that a manifest needs at the destination, without those that lie elsewhere. */
export function blobsOf(manifest: Manifest, foreign: boolean): readonly Descriptor[] {
  if (manifest.kind === 'index') return []
  return [manifest.config, ...manifest.layers].filter(blob => foreign || !isForeignLayer(blob.mediaType))
}

/** Tags of the source that are looked at for the one that was meant. */
const FEW = 1000

async function notFound(image: CopyImage, source: Transport, signal: AbortSignal): Promise<ArchimageError> {
  const tags: string[] = []
  try {
    for await (const tag of isDigest(image.name) ? [] : (source.tags?.({ signal }) ?? []))
      if (tags.push(tag) === FEW) break
  } catch {
    // the error is that there is no such image
  }
  return new ArchimageError('NOT_FOUND', `source: ${nameOf(image)} does not exist`, {
    hint: didYouMean(image.name, tags) ?? 'check its name and its tag',
    details: { side: 'source' },
  })
}

async function mustHead(source: Transport, image: CopyImage, signal: AbortSignal): Promise<Descriptor> {
  const found = await source.head(image.name, { signal })
  if (found === undefined) throw await notFound(image, source, signal)
  return found
}

function preserved(why: string, hint: string): ArchimageError {
  return new ArchimageError('USAGE', `--preserve-digests: ${why}`, { hint })
}
