import { isImage } from '../copy/convert.ts'
import type { Place } from '../copy/request.ts'
import { ArchimageError } from '../errors/error.ts'
import { configPlatform, type ImageConfig, parseImageConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import { MAX_JSON } from '../oci/json.ts'
import {
  type Descriptor,
  describe,
  type ImageIndex,
  type ImageManifest,
  isAttestation,
  type Manifest,
} from '../oci/manifest.ts'
import { formatPlatform, normalizePlatform, type Platform } from '../oci/platform.ts'
import { changePlatform, dropAttestations, type EntryChange, filterIndex, platformName, removeEntries } from './edit.ts'

/** An image on its way into an index. */
export interface Member {
  readonly entry: Descriptor
  readonly manifest: ImageManifest
  /** The config's bytes, where it is one of an image. */
  readonly config?: Uint8Array
  /** Where its blobs are. */
  readonly place: Place
}

/** Which images of a source become members, and as what. */
export interface MemberChoice {
  /** Of an index only these; one image has to be of one of them. */
  readonly platforms?: readonly Platform[]
  readonly attestations?: 'keep' | 'drop'
  /**
   * What people say. Of one image its platform, obeyed with a warning where the image says otherwise; of an index, os,
   * architecture and variant choose what is added.
   */
  readonly label?: EntryChange
  /** The platform of the one image that is chosen, whatever it says itself; obeyed with a warning. */
  readonly set?: Platform
  /** What an index says of its images is taken as it is; configs are not read for it. */
  readonly trust?: boolean
}

export interface MemberTools {
  readonly signal: AbortSignal
  readonly warn: (message: string) => void
}

/**
 * Reads what a name leads to: one image, or the images of an index, each with its platform. Without a label every image is of the
 * platform that its index says, by its own config. Throws NOT_FOUND, PLATFORM_MISSING, PLATFORM_MISMATCH.
 */
export async function readMembers(
  { place, name, what }: { readonly place: Place; readonly name: string; readonly what: string },
  choice: MemberChoice,
  tools: MemberTools,
): Promise<readonly Member[]> {
  const { signal } = tools
  const top = await place.transport.manifest(name, { signal })
  if (top === undefined)
    throw new ArchimageError('NOT_FOUND', `no such manifest: ${what}`, { hint: 'check its name and its tag' })
  if (top.kind === 'image') return [await one(top, describe(top), { place, what }, choice, tools)]
  const { platforms, attestations, label, set } = choice
  let index: ImageIndex = attestations === 'drop' ? dropAttestations(top) : top
  if (platforms !== undefined) index = filterIndex(index, platforms, what)
  if (label !== undefined) index = narrowed(index, label, what)
  const images = index.manifests.filter(entry => !isAttestation(entry))
  if (set !== undefined && images.length > 1)
    throw new ArchimageError('USAGE', `--set-platform is for one image, and ${what} has ${images.length}`, {
      hint: `choose one with --platform: ${images.map(platformName).join(', ')}`,
    })
  // What chose them is true of them already.
  const { os: _os, architecture: _architecture, variant: _variant, ...rest } = label ?? {}
  const more = { ...(label === undefined ? {} : { label: rest }), ...(set === undefined ? {} : { set }) }
  return Promise.all(
    index.manifests.map(async entry => {
      const of = `${what}@${entry.digest}`
      const manifest = await place.transport.manifest(entry.digest, { signal })
      if (manifest === undefined)
        throw new ArchimageError('NOT_FOUND', `no such manifest: ${of}`, {
          hint: `${what} leads to it, but it is not there: choose others with --platform, or push the image again`,
        })
      if (manifest.kind === 'index')
        throw new ArchimageError('UNSUPPORTED', `${what} holds an index inside an index`, {
          hint: `add ${manifest.digest} by itself`,
        })
      if (isAttestation(entry) || choice.trust === true) return { entry, manifest, place }
      return one(manifest, entry, { place, what: of }, more, tools)
    }),
  )
}

/** The images of an index that are of an operating system, architecture or variant. */
function narrowed(index: ImageIndex, { os, architecture, variant }: EntryChange, what: string): ImageIndex {
  const fits = ({ platform }: Descriptor): boolean => {
    if (platform === undefined) return os === undefined && architecture === undefined
    const wanted = normalizePlatform({
      os: os ?? platform.os,
      architecture: architecture ?? platform.architecture,
      ...(variant === undefined ? {} : { variant }),
    })
    const has = normalizePlatform(platform)
    return (
      has.os === wanted.os &&
      has.architecture === wanted.architecture &&
      (variant === undefined || has.variant === wanted.variant)
    )
  }
  const images = index.manifests.filter(entry => !isAttestation(entry))
  if (images.length > 0 && !images.some(fits))
    throw new ArchimageError(
      'PLATFORM_MISSING',
      `${what} is an index and has no image for ${[os, architecture, variant].filter(Boolean).join('/')}`,
      { hint: `it has ${images.map(platformName).join(', ')}; --set-platform says another platform of one` },
    )
  return removeEntries(index, entry => !isAttestation(entry) && !fits(entry))
}

/** One image as a member. `entry` is what an index says of it, or nothing more than its digest. */
async function one(
  manifest: ImageManifest,
  entry: Descriptor,
  { place, what }: { readonly place: Place; readonly what: string },
  { label, platforms, set }: MemberChoice,
  { signal, warn }: MemberTools,
): Promise<Member> {
  if (!isImage(manifest)) {
    const platform = set ?? (label === undefined ? entry.platform : changePlatform(entry.platform, label))
    const artifactType = manifest.artifactType ?? manifest.config.mediaType
    return {
      entry: annotated({ ...entry, artifactType, ...(platform === undefined ? {} : { platform }) }, label),
      manifest,
      place,
    }
  }
  const bytes = await readConfig(manifest.config, place, what, signal)
  const config = parseImageConfig(bytes, `config of ${what}`)
  const own = rawPlatform(config)
  const platform = set ?? changePlatform(entry.platform ?? own, label ?? {})!
  if (!agrees(platform, config)) {
    const why = `${what} is an image for ${formatPlatform(configPlatform(config))}, by its config`
    if (
      set === undefined &&
      label?.os === undefined &&
      label?.architecture === undefined &&
      label?.variant === undefined
    )
      throw new ArchimageError('PLATFORM_MISMATCH', `${why}; the index says ${formatPlatform(platform)}`, {
        hint: 'build it for its platform; --set-platform adds it as what you say it is',
      })
    warn(`${why}, and is added for ${formatPlatform(platform)} as you say`)
  }
  if (platforms !== undefined && !platforms.some(wanted => sameName(wanted, platform)))
    throw new ArchimageError(
      'PLATFORM_MISSING',
      `${what} is an image for ${formatPlatform(platform)}, and ${platforms.map(formatPlatform).join(', ')} was asked for`,
    )
  return { entry: annotated({ ...entry, platform }, label), manifest, config: bytes, place }
}

function annotated(entry: Descriptor, label: EntryChange | undefined): Descriptor {
  if (label?.annotations === undefined) return entry
  return { ...entry, annotations: { ...entry.annotations, ...label.annotations } }
}

function sameName(a: Platform, b: Platform): boolean {
  return formatPlatform(normalizePlatform(a)) === formatPlatform(normalizePlatform(b))
}

/** As the config has it: `arm64/v8` stays what it is. */
function rawPlatform(config: ImageConfig): Platform {
  return {
    architecture: config.architecture,
    os: config.os,
    ...(config['os.version'] ? { 'os.version': config['os.version'] } : {}),
    ...(config['os.features']?.length ? { 'os.features': config['os.features'] } : {}),
    ...(config.variant ? { variant: config.variant } : {}),
  }
}

/** Configs often leave variants and versions out: what they do not say contradicts nothing. */
export function agrees(label: Platform, config: ImageConfig): boolean {
  const [said, has] = [normalizePlatform(label), normalizePlatform(rawPlatform(config))]
  return (
    said.os === has.os &&
    said.architecture === has.architecture &&
    (!config.variant || said.variant === has.variant) &&
    (!said['os.version'] || !has['os.version'] || said['os.version'] === has['os.version'])
  )
}

async function readConfig(config: Descriptor, place: Place, what: string, signal: AbortSignal): Promise<Uint8Array> {
  if (config.size > MAX_JSON)
    throw new ArchimageError('MANIFEST_INVALID', `the config of ${what} has ${config.size} bytes`)
  const chunks: Uint8Array[] = []
  for await (const chunk of await place.transport.blob(config, { signal })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** An index with its members as a place to copy from: manifests are at hand, each blob is where its image was. */
export function indexPlace(index: ImageIndex, members: readonly Member[], label: string): Place {
  const manifests = new Map<string, Manifest>([[index.digest, index]])
  const holders = new Map<Digest, Place>()
  for (const { manifest, place } of members) {
    manifests.set(manifest.digest, manifest)
    holders.set(manifest.digest, place)
    for (const blob of [manifest.config, ...manifest.layers]) holders.set(blob.digest, place)
  }
  const cannot = (): never => {
    throw new ArchimageError('UNSUPPORTED', `${label} is not written to`)
  }
  return {
    label,
    siteOf: blob => {
      const holder = holders.get(blob.digest)
      return holder?.site ?? holder?.siteOf?.(blob)
    },
    transport: {
      name: label,
      manifest: async name => manifests.get(name),
      head: async name => {
        const manifest = manifests.get(name)
        return manifest && describe(manifest)
      },
      hasBlob: async (blob, options) => holders.get(blob.digest)?.transport.hasBlob(blob, options) ?? false,
      blob: async (blob, options) => {
        const holder = holders.get(blob.digest)
        if (holder !== undefined) return holder.transport.blob(blob, options)
        throw new ArchimageError('NOT_FOUND', `${label} has no blob ${blob.digest}`)
      },
      putBlob: async () => cannot(),
      putManifest: async () => cannot(),
    },
  }
}
