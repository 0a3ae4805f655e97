import { LineCounter, parseDocument } from 'yaml'
import { ArchimageError, isArchimageError } from '../errors/error.ts'
import { didYouMean } from '../errors/suggest.ts'
import { isRecord } from '../oci/json.ts'
import { type Descriptor, type ImageIndex, isAttestation } from '../oci/manifest.ts'
import { formatPlatform, normalizePlatform, type Platform, parsePlatform } from '../oci/platform.ts'
import { encodeGoList } from './go-list.ts'
import type { Member } from './members.ts'

/** An image of a list, as manifest-tool's input says it; what it leaves out is read from the image. */
export interface SpecEntry {
  readonly image: string
  readonly platform: Partial<Platform>
}

/** manifest-tool's input: one list. */
export interface ListSpec {
  readonly image: string
  readonly tags: readonly string[]
  readonly annotations: Readonly<Record<string, string>>
  readonly manifests: readonly SpecEntry[]
}

const KEYS = {
  list: ['image', 'tags', 'annotations', 'manifests'],
  entry: ['image', 'platform'],
  platform: ['architecture', 'os', 'variant', 'osversion', 'os.version', 'osfeatures', 'os.features'],
}

/** Reads a file of manifest-tool's form. Keys that it does not know are told to `warn`. Throws CONFIG_INVALID with the line. */
export function parseListSpec(text: string, file: string, warn: (message: string) => void): ListSpec {
  const lineCounter = new LineCounter()
  // Go's decoder makes a string of every scalar that stands where a string belongs: "1.20" stays that.
  const document = parseDocument(text, { schema: 'failsafe', lineCounter, prettyErrors: false })
  const [problem] = document.errors
  if (problem !== undefined) {
    const { line, col } = lineCounter.linePos(problem.pos[0])
    throw invalid(file, problem.message, { file, line, column: col })
  }
  let json: unknown
  try {
    json = document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    // aliases of aliases; what nests too deep
    throw invalid(file, (error as Error).message)
  }
  const known = (value: unknown, keys: readonly string[], where: string): Readonly<Record<string, unknown>> => {
    if (!isRecord(value)) throw invalid(file, `${where} is not a map`)
    for (const key of Object.keys(value))
      if (!keys.includes(key)) warn(`${file}: ${where} has no "${key}"${hintOf(key, keys)}; it is left out`)
    return value
  }
  const top = known(json, KEYS.list, 'a list')
  const list = (value: unknown, where: string): readonly unknown[] => {
    if (value === undefined || value === '') return []
    if (!Array.isArray(value)) throw invalid(file, `${where} is not a list`)
    return value
  }
  const string = (value: unknown, where: string): string => {
    if (typeof value !== 'string' || value === '') throw invalid(file, `${where} is missing`)
    return value
  }
  const annotations = top['annotations'] ?? {}
  if (!isRecord(annotations)) throw invalid(file, 'annotations are not a map')
  return {
    image: string(top['image'], 'image, the name of the list,'),
    tags: list(top['tags'], 'tags').map(tag => string(tag, 'a tag')),
    annotations: Object.fromEntries(Object.entries(annotations).map(([key, value]) => [key, String(value)])),
    manifests: list(top['manifests'], 'manifests').map((value, i) => {
      const where = `entry ${i + 1} of manifests`
      const entry = known(value, KEYS.entry, where)
      const platform = known(entry['platform'] || {}, KEYS.platform, `the platform of ${where}`)
      const word = (...keys: string[]): string | undefined =>
        keys.map(key => platform[key]).find(one => typeof one === 'string' && one !== '') as string | undefined
      const features = list(platform['osfeatures'] ?? platform['os.features'], 'osfeatures').map(String)
      const [os, architecture, variant, version] = [
        word('os'),
        word('architecture'),
        word('variant'),
        word('osversion', 'os.version'),
      ]
      return {
        image: string(entry['image'], `image of ${where}`),
        platform: {
          ...(architecture === undefined ? {} : { architecture }),
          ...(os === undefined ? {} : { os }),
          ...(version === undefined ? {} : { 'os.version': version }),
          ...(features.length === 0 ? {} : { 'os.features': features }),
          ...(variant === undefined ? {} : { variant }),
        },
      }
    }),
  }
}

function hintOf(key: string, keys: readonly string[]): string {
  const meant = didYouMean(key, keys)
  return meant === undefined ? '' : ` (${meant.replace(/\?$/, '')})`
}

function invalid(file: string, why: string, place?: { file: string; line: number; column: number }): ArchimageError {
  return new ArchimageError('CONFIG_INVALID', `${file}: ${why}`, {
    hint: 'the form is that of manifest-tool: image, and under manifests image and platform of each',
    ...(place === undefined ? {} : { place }),
  })
}

/**
 * The same from `from-args`: in the template the first ARCH, then OS, then VARIANT become those of each platform. Throws USAGE.
 */
export function specFromArguments(input: {
  readonly platforms: readonly string[]
  readonly template: string
  readonly target: string
  readonly tags: readonly string[]
  readonly annotations: readonly string[]
}): ListSpec {
  const { template, target, tags } = input
  const manifests = input.platforms.map(text => {
    const [os = '', architecture = '', variant = '', ...more] = text.split('/')
    if (os === '' || architecture === '' || more.length > 0)
      throw new ArchimageError('USAGE', `--platforms: "${text}" is not OS/ARCH or OS/ARCH/VARIANT`, {
        hint: 'for instance --platforms linux/amd64,linux/arm/v7',
      })
    const image = replaceOnce(replaceOnce(replaceOnce(template, 'ARCH', architecture), 'OS', os), 'VARIANT', variant)
    return { image, platform: { architecture, os, ...(variant === '' ? {} : { variant }) } }
  })
  const annotations = Object.fromEntries(
    input.annotations.map(text => {
      const parts = text.split('=')
      if (parts.length !== 2 || parts[0] === '')
        throw new ArchimageError('USAGE', `--annotations: "${text}" is not KEY=VALUE`)
      return parts as [string, string]
    }),
  )
  return { image: target, tags, annotations, manifests }
}

function replaceOnce(text: string, word: string, by: string): string {
  return text.replace(word, () => by)
}

/** What an entry stands for in the list: images, or nothing where a missing one may be. */
export type ReadEntry = (image: string) => Promise<readonly Member[]>

/**
 * The list that a spec means, in the bytes that manifest-tool gives it, with its members. Images of indexes come with theirs,
 * attestations behind all images. Throws PLATFORM_TAKEN, PLATFORM_INVALID, INCOMPLETE.
 */
export async function listFromSpec(
  spec: ListSpec,
  options: { readonly docker: boolean; readonly ignoreMissing: boolean },
  read: ReadEntry,
  warn: (message: string) => void,
): Promise<{ readonly index: ImageIndex; readonly members: readonly Member[] }> {
  if (options.docker && Object.keys(spec.annotations).length > 0)
    throw new ArchimageError(
      'USAGE',
      'manifest list (Docker media type) does not support annotations; use --type oci instead',
    )
  const found = await Promise.all(
    spec.manifests.map(async ({ image, platform }) => {
      try {
        const members = await read(image)
        const [only] = members
        if (members.length !== 1 || only!.config === undefined) return members
        return [{ ...only!, entry: labelled(only!, image, platform, warn) }]
      } catch (error) {
        if (!options.ignoreMissing || !isArchimageError(error) || error.code !== 'NOT_FOUND') throw error
        warn(`${image} is not there, and is left out`)
        return []
      }
    }),
  )
  const members = found.flat()
  if (members.length === 0)
    throw new ArchimageError(
      'INCOMPLETE',
      spec.manifests.length === 0
        ? `${spec.image}: the list names no images`
        : 'all entries were skipped due to missing source image references; no manifest list to push',
    )
  const images = members.map(({ entry }) => entry).filter(entry => !isAttestation(entry))
  const attestations = members.map(({ entry }) => entry).filter(isAttestation)
  refuseRivals(images)
  return { index: encodeGoList(options.docker, [...images, ...attestations], spec.annotations), members }
}

function refuseRivals(images: readonly Descriptor[]): void {
  const seen = new Map<string, Descriptor>()
  for (const entry of images) {
    if (entry.platform === undefined)
      throw new ArchimageError('PLATFORM_MISSING', `the index says no platform for ${entry.digest}`)
    const name = formatPlatform(entry.platform)
    const other = seen.get(name)
    if (other !== undefined)
      throw new ArchimageError(
        'PLATFORM_TAKEN',
        `cannot include two manifests with the same platform; digest ${other.digest} already provides platform ${name} (this digest: ${entry.digest})`,
      )
    seen.set(name, entry)
  }
}

/** What the spec says wins; variant, version and features that it leaves out are those of the image. */
function labelled(
  { entry }: Member,
  image: string,
  said: Partial<Platform>,
  warn: (message: string) => void,
): Descriptor {
  const own = entry.platform!
  const whole = said.os === undefined && said.architecture === undefined
  const platform: Platform = {
    architecture: whole ? own.architecture : (said.architecture ?? ''),
    os: whole ? own.os : (said.os ?? ''),
    ...pick('os.version', said['os.version'] ?? own['os.version']),
    ...pick('os.features', said['os.features'] ?? own['os.features']),
    ...pick('variant', said.variant ?? own.variant),
  }
  const name = [platform.os, platform.architecture, platform.variant].filter(part => part !== undefined).join('/')
  try {
    parsePlatform(name)
  } catch (error) {
    const hint = isArchimageError(error) ? error.hint : undefined
    throw new ArchimageError(
      'PLATFORM_INVALID',
      `manifest entry for image ${image} has unsupported os/arch or os/arch/variant combination: ${name}`,
      hint === undefined ? {} : { hint },
    )
  }
  const [is, says] = [normalizePlatform(own), normalizePlatform(platform)]
  if (is.os !== says.os || is.architecture !== says.architecture)
    warn(`${image} is an image for ${formatPlatform(is)}, by its config, and is added for ${name} as you say`)
  return { ...entry, platform }
}

function pick<K extends string, V>(key: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]: V })
}
