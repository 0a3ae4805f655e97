import { ArchimageError } from '../errors/error.ts'
import { type Digest, isDigest } from './digest.ts'
import { encodeJson, isRecord, parseJsonObject } from './json.ts'
import { normalizePlatform, type Platform } from './platform.ts'

/** What a container started from the image gets (image-spec, config.md, `config`), with docker's additions. Times in nanoseconds. */
export interface ContainerConfig {
  readonly User?: string
  readonly ExposedPorts?: Readonly<Record<string, object>>
  readonly Env?: readonly string[]
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly Healthcheck?: Healthcheck
  readonly ArgsEscaped?: boolean
  readonly Volumes?: Readonly<Record<string, object>>
  readonly WorkingDir?: string
  readonly Labels?: Readonly<Record<string, string>>
  readonly StopSignal?: string
  readonly OnBuild?: readonly string[]
  readonly Shell?: readonly string[]
  readonly [unknown: string]: unknown
}

export interface Healthcheck {
  readonly Test?: readonly string[]
  readonly Interval?: number
  readonly Timeout?: number
  readonly StartPeriod?: number
  readonly StartInterval?: number
  readonly Retries?: number
}

export interface HistoryEntry {
  readonly created?: string
  readonly created_by?: string
  readonly author?: string
  readonly comment?: string
  readonly empty_layer?: boolean
}

/** An image's configuration (image-spec, config.md). Fields that we do not know are kept. */
export interface ImageConfig {
  readonly created?: string
  readonly author?: string
  readonly architecture: string
  readonly os: string
  readonly 'os.version'?: string
  readonly 'os.features'?: readonly string[]
  readonly variant?: string
  readonly config?: ContainerConfig
  readonly rootfs: { readonly type: 'layers'; readonly diff_ids: readonly Digest[] }
  readonly history?: readonly HistoryEntry[]
  readonly [unknown: string]: unknown
}

/** Strict where a wrong value would be silently wrong later; throws MANIFEST_INVALID. */
export function parseImageConfig(raw: Uint8Array, what = 'image config'): ImageConfig {
  const json = parseJsonObject(raw, what)
  const fail = (why: string): never => {
    throw new ArchimageError('MANIFEST_INVALID', `${what}: ${why}`)
  }
  if (typeof json['os'] !== 'string' || typeof json['architecture'] !== 'string')
    return fail('os or architecture is missing')
  const rootfs = json['rootfs']
  if (!isRecord(rootfs) || !Array.isArray(rootfs['diff_ids'])) {
    if (rootfs === undefined || (isRecord(rootfs) && rootfs['diff_ids'] == null))
      return { ...json, rootfs: { type: 'layers', diff_ids: [] } } as unknown as ImageConfig
    return fail('rootfs has no diff_ids')
  }
  for (const id of rootfs['diff_ids']) if (!isDigest(id)) return fail(`diff ID ${JSON.stringify(id)} is not a digest`)
  const config = json['config'] ?? undefined
  if (config !== undefined) {
    if (!isRecord(config)) return fail('config is not an object')
    for (const key of ['Env', 'Cmd', 'Entrypoint', 'OnBuild', 'Shell'])
      if (
        config[key] != null &&
        !(Array.isArray(config[key]) && (config[key] as unknown[]).every(v => typeof v === 'string'))
      )
        return fail(`config.${key} is not a list of strings`)
    for (const key of ['Labels', 'ExposedPorts', 'Volumes'])
      if (config[key] != null && !isRecord(config[key])) return fail(`config.${key} is not a map`)
    for (const key of ['User', 'WorkingDir', 'StopSignal'])
      if (config[key] != null && typeof config[key] !== 'string') return fail(`config.${key} is not a string`)
  }
  const history = json['history'] ?? []
  if (!Array.isArray(history) || !history.every(isRecord)) return fail('history is not a list of steps')
  const { config: _config, ...rest } = json
  const cleaned =
    config === undefined
      ? rest
      : { ...rest, config: Object.fromEntries(Object.entries(config as object).filter(([, v]) => v !== null)) }
  return cleaned as unknown as ImageConfig
}

export function configPlatform(config: ImageConfig): Platform {
  return normalizePlatform({
    architecture: config.architecture,
    os: config.os,
    ...(config['os.version'] ? { 'os.version': config['os.version'] } : {}),
    ...(config['os.features']?.length ? { 'os.features': config['os.features'] } : {}),
    ...(config.variant ? { variant: config.variant } : {}),
  })
}

const ORDER = [
  'created',
  'author',
  'architecture',
  'os',
  'os.version',
  'os.features',
  'variant',
  'config',
  'rootfs',
  'history',
]
const CONFIG_ORDER = [
  'User',
  'ExposedPorts',
  'Env',
  'Entrypoint',
  'Cmd',
  'Healthcheck',
  'ArgsEscaped',
  'Volumes',
  'WorkingDir',
  'Labels',
  'StopSignal',
  'OnBuild',
  'Shell',
]

function ordered(value: object, order: readonly string[]): Record<string, unknown> {
  const source = value as Record<string, unknown>
  const out: Record<string, unknown> = {}
  for (const key of order) if (source[key] !== undefined) out[key] = source[key]
  for (const key of Object.keys(source).sort()) if (!(key in out) && source[key] !== undefined) out[key] = source[key]
  return out
}

function sortedMap(map: object | undefined): object | undefined {
  return map && Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
}

/** Writes a config: field order of the spec, unknown fields after the known ones, maps by key, no white space. */
export function encodeImageConfig(config: ImageConfig): Buffer {
  const inner = config.config && {
    ...config.config,
    ...(config.config.Labels ? { Labels: sortedMap(config.config.Labels) } : {}),
    ...(config.config.ExposedPorts ? { ExposedPorts: sortedMap(config.config.ExposedPorts) } : {}),
    ...(config.config.Volumes ? { Volumes: sortedMap(config.config.Volumes) } : {}),
  }
  return encodeJson(ordered({ ...config, ...(inner ? { config: ordered(inner, CONFIG_ORDER) } : {}) }, ORDER))
}
