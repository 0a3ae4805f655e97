import type { ImageConfig } from '../oci/config.ts'
import type { InspectedImage, InspectedLayer, Inspection } from './describe.ts'

/** How two images differ; everything empty means that they are the same but perhaps for the order of an index. */
export interface Difference {
  /** One digest: nothing differs. */
  readonly same: boolean
  readonly before: { readonly name: string; readonly digest: string }
  readonly after: { readonly name: string; readonly digest: string }
  /** Media type and annotations of what the two names lead to. */
  readonly fields: readonly FieldChange[]
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly ImageDifference[]
  /** Attestations and other artifacts that only one of the two has, by digest. */
  readonly artifacts: { readonly added: readonly string[]; readonly removed: readonly string[] }
}

export interface ImageDifference {
  readonly platform: string
  readonly before: string
  readonly after: string
  /** Of config, manifest and index entry. */
  readonly fields: readonly FieldChange[]
  /** Steps of the history between those that both begin with and those that both end with. */
  readonly history: { readonly removed: readonly string[]; readonly added: readonly string[] }
  readonly layers: LayerDifference
}

/** Layers from the bottom: those at the beginning of both, then what each has on its own. */
export interface LayerDifference {
  readonly common: readonly InspectedLayer[]
  readonly removed: readonly InspectedLayer[]
  readonly added: readonly InspectedLayer[]
}

export interface FieldChange {
  /** `env PATH`, `label a.b`, `user`, `annotation x`. */
  readonly field: string
  readonly before?: string
  readonly after?: string
}

/** Compares what `inspect` says of two images, platform by platform. */
export function differenceOf(before: Inspection, after: Inspection): Difference {
  const [old, now] = [byPlatform(before.images), byPlatform(after.images)]
  const digests = ({ attestations, others }: Inspection) =>
    [...attestations, ...others].map(one => one.digest as string)
  return {
    same: before.digest === after.digest,
    before: { name: before.name, digest: before.digest },
    after: { name: after.name, digest: after.digest },
    fields: changes(topFields(before), topFields(after)),
    added: [...now.keys()].filter(platform => !old.has(platform)),
    removed: [...old.keys()].filter(platform => !now.has(platform)),
    changed: [...old].flatMap(([platform, image]) => {
      const other = now.get(platform)
      if (other === undefined) return []
      const difference = imageDifference(platform, image, other)
      return other.digest === image.digest && difference.fields.length === 0 ? [] : [difference]
    }),
    artifacts: {
      added: only(digests(after), digests(before)),
      removed: only(digests(before), digests(after)),
    },
  }
}

function imageDifference(platform: string, before: InspectedImage, after: InspectedImage): ImageDifference {
  const [old, now] = [before.layers, after.layers]
  let common = 0
  while (common < old.length && old[common]!.digest === now[common]?.digest) common++
  return {
    platform,
    before: before.digest,
    after: after.digest,
    fields: changes(imageFields(before), imageFields(after)),
    history: between(stepsOf(before), stepsOf(after)),
    layers: { common: old.slice(0, common), removed: old.slice(common), added: now.slice(common) },
  }
}

/** Of two images for one platform in an index the second is called so: what is compared has to have a name. */
function byPlatform(images: readonly InspectedImage[]): Map<string, InspectedImage> {
  const out = new Map<string, InspectedImage>()
  for (const image of images) {
    let name = image.platform
    for (let i = 2; out.has(name); i++) name = `${image.platform} (${i})`
    out.set(name, image)
  }
  return out
}

function topFields({ mediaType, artifactType, annotations }: Inspection): Map<string, string> {
  return new Map([
    ['media type', mediaType],
    ...(artifactType === undefined ? [] : [['artifact type', artifactType] as const]),
    ...prefixed('annotation', annotations),
  ])
}

function imageFields(image: InspectedImage): Map<string, string> {
  return new Map([
    ['media type', image.mediaType],
    ...prefixed('annotation', image.annotations),
    ...prefixed('annotation of the entry', image.entryAnnotations),
    ...configFields(image.config),
  ])
}

const NAMES: Readonly<Record<string, string>> = {
  User: 'user',
  Entrypoint: 'entrypoint',
  Cmd: 'cmd',
  WorkingDir: 'workdir',
  StopSignal: 'stop signal',
  Shell: 'shell',
  Healthcheck: 'healthcheck',
  OnBuild: 'onbuild',
}

/** All that a config says but layers and history, flat. Fields that are not known here have their own name. */
export function configFields(config: ImageConfig): (readonly [string, string])[] {
  const { config: run = {}, rootfs: _layers, history: _steps, ...top } = config
  const { Env = [], Labels = {}, ExposedPorts = {}, Volumes = {}, ...rest } = run
  return [
    ...Object.entries(top).map(([key, value]) => [key.replace('os.', 'os '), text(value)] as const),
    ...Env.map(one => [`env ${one.split('=')[0]!}`, one.slice(one.indexOf('=') + 1)] as const),
    ...prefixed('label', Labels),
    ...Object.keys(ExposedPorts).map(port => [`port ${port}`, 'exposed'] as const),
    ...Object.keys(Volumes).map(path => [`volume ${path}`, 'declared'] as const),
    ...Object.entries(rest).map(([key, value]) => [NAMES[key] ?? key, text(value)] as const),
  ]
}

function stepsOf({ config }: InspectedImage): string[] {
  return (config.history ?? []).map(({ created_by, comment }) => created_by ?? comment ?? '')
}

/** What stands between the common beginning and the common end of two lists. */
function between(before: readonly string[], after: readonly string[]): ImageDifference['history'] {
  let start = 0
  while (start < before.length && before[start] === after[start]) start++
  let end = 0
  while (end < Math.min(before.length, after.length) - start && before.at(-1 - end) === after.at(-1 - end)) end++
  return { removed: before.slice(start, before.length - end), added: after.slice(start, after.length - end) }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function prefixed(prefix: string, map: Readonly<Record<string, unknown>>): (readonly [string, string])[] {
  return Object.entries(map).map(([key, value]) => [`${prefix} ${key}`, text(value)] as const)
}

function changes(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): FieldChange[] {
  const fields = new Set([...before.keys(), ...after.keys()])
  return [...fields].flatMap(field => {
    const [old, now] = [before.get(field), after.get(field)]
    if (old === now) return []
    return [{ field, ...(old === undefined ? {} : { before: old }), ...(now === undefined ? {} : { after: now }) }]
  })
}

function only(these: readonly string[], others: readonly string[]): string[] {
  return these.filter(one => !others.includes(one))
}
