import type { ContainerConfig, Healthcheck, HistoryEntry, ImageConfig } from '../oci/config.ts'
import type { Platform } from '../oci/platform.ts'
import type { BaseImage } from './lowered.ts'
import { joinWorkdir } from './paths.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What containers get, while instructions change it; lists and maps of which more than one instruction writes are the stage's own. */
export interface ConfigDraft {
  User?: string
  Env?: string[]
  WorkingDir?: string
  ExposedPorts?: Record<string, object>
  Volumes?: Record<string, object>
  Labels?: Record<string, string>
  OnBuild?: string[]
  Cmd?: readonly string[]
  Entrypoint?: readonly string[]
  ArgsEscaped?: boolean
  Healthcheck?: Healthcheck
  StopSignal?: string
  Shell?: readonly string[]
  [unknown: string]: unknown
}

/** What instructions change while a stage is lowered. */
export interface StageState {
  /** Nothing has been written yet: a filesystem without so much as a root, where no names can be looked up. */
  empty: boolean
  /** ENV and ARG as later words of the stage see them. */
  readonly env: Map<string, string>
  readonly args: Map<string, string | undefined>
  readonly config: ConfigDraft
  /** Where in `config.Env` a variable stands; of several of one name the first. */
  readonly places: Map<string, number>
  readonly history: HistoryEntry[]
  image: Omit<ImageConfig, 'config' | 'history' | 'rootfs'>
  platform: Platform
  /** CMD was given in this stage, so that ENTRYPOINT does not drop it. */
  cmdSet: boolean
}

/** The state with which a stage upon nothing begins. */
export function scratchState(platform: Platform): StageState {
  const { architecture, os, variant } = platform
  const path = os === 'windows' ? [] : [`PATH=${DEFAULT_PATH}`]
  return {
    empty: true,
    env: new Map(),
    args: new Map(),
    config: { WorkingDir: '/', ...(path.length > 0 ? { Env: path } : {}) },
    places: new Map(),
    history: [],
    image: {
      architecture,
      os,
      ...(platform['os.version'] ? { 'os.version': platform['os.version'] } : {}),
      ...(platform['os.features'] ? { 'os.features': platform['os.features'] } : {}),
      ...(variant ? { variant } : {}),
    },
    platform,
    cmdSet: false,
  }
}

/** The state with which a stage upon an image begins, and the image's ONBUILD triggers. */
export function imageState(
  image: BaseImage,
  platform: Platform,
): { readonly state: StageState; readonly triggers: readonly string[] } {
  const { config, history = [], rootfs: _rootfs, created: _created, ...rest } = image.config
  const { OnBuild, ...inner } = config ?? {}
  const state: StageState = {
    empty: image.manifest.layers.length === 0 && history.every(entry => entry.empty_layer),
    env: new Map(),
    args: new Map(),
    config: ownConfig(inner),
    places: new Map(),
    history: [...history],
    image: rest as StageState['image'],
    platform,
    cmdSet: false,
  }
  return { state, triggers: OnBuild ?? [] }
}

/** The state with which a stage upon another stage begins; triggers do not carry over. */
export function stateUpon(below: StageState): StageState {
  const { OnBuild: _, ...config } = below.config
  return {
    ...below,
    env: new Map(below.env),
    args: new Map(below.args),
    config: ownConfig(config),
    places: new Map(),
    history: [...below.history],
    cmdSet: false,
  }
}

function ownConfig(config: Omit<ContainerConfig, 'OnBuild'>): ConfigDraft {
  const { Env, Labels, ExposedPorts, Volumes } = config as ContainerConfig
  return {
    ...config,
    ...(Env ? { Env: [...Env] } : {}),
    ...(Labels ? { Labels: { ...Labels } } : {}),
    ...(ExposedPorts ? { ExposedPorts: { ...ExposedPorts } } : {}),
    ...(Volumes ? { Volumes: { ...Volumes } } : {}),
  } as ConfigDraft
}

/** What every stage begins with: PATH, the base's variables over arguments of a stage below, an absolute folder. */
export function begin(state: StageState): void {
  const { config, places, platform } = state
  for (const [at, pair] of (config.Env ?? []).entries()) {
    const [key, value] = splitPair(pair)
    if (!places.has(key)) places.set(key, at)
    setEnvironment(state, key, value)
  }
  if (platform.os !== 'windows' && !places.has('PATH')) setVariable(state, 'PATH', DEFAULT_PATH)
  const folder = config.WorkingDir
  if (folder) config.WorkingDir = joinWorkdir(folder, folder, platform.os)
}

export function setVariable(state: StageState, key: string, value: string): void {
  const { config, places } = state
  config.Env ??= []
  const place = places.get(key)
  if (place === undefined) places.set(key, config.Env.push(`${key}=${value}`) - 1)
  else config.Env[place] = `${key}=${value}`
  setEnvironment(state, key, value)
}

/** Adds to a map of the config; `record[key] =` would lose a key that is called `__proto__`. */
export function put<T>(record: Record<string, T>, key: string, value: T): void {
  if (key === '__proto__')
    Object.defineProperty(record, key, { value, writable: true, enumerable: true, configurable: true })
  else record[key] = value
}

/** A variable that is set again goes to the end, which is where BuildKit's steps see it. */
export function setEnvironment(state: StageState, key: string, value: string): void {
  state.env.delete(key)
  state.env.set(key, value)
}

function splitPair(pair: string): [string, string] {
  const equals = pair.indexOf('=')
  return equals < 0 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)]
}
