import type { ContainerConfig, HistoryEntry, ImageConfig } from '../oci/config.ts'
import type { Platform } from '../oci/platform.ts'
import type { BaseImage } from './lowered.ts'
import { joinWorkdir } from './paths.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** What instructions change while a stage is lowered. */
export interface StageState {
  /** Nothing has been written yet: a filesystem without so much as a root, where no names can be looked up. */
  empty: boolean
  /** ENV and ARG as later words of the stage see them. */
  readonly env: Map<string, string>
  readonly args: Map<string, string | undefined>
  config: ContainerConfig
  history: HistoryEntry[]
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
    config: inner,
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
    config,
    history: [...below.history],
    cmdSet: false,
  }
}

/** What every stage begins with: PATH, the base's variables over arguments of a stage below, an absolute folder. */
export function begin(state: StageState): void {
  const { os } = state.platform
  const env = state.config.Env ?? []
  if (os !== 'windows' && !env.some(pair => splitPair(pair)[0] === 'PATH'))
    state.config = { ...state.config, Env: [...env, `PATH=${DEFAULT_PATH}`] }
  for (const pair of state.config.Env ?? []) setEnvironment(state, ...splitPair(pair))
  const folder = state.config.WorkingDir
  if (folder) state.config = { ...state.config, WorkingDir: joinWorkdir(folder, folder, os) }
}

export function setVariable(state: StageState, key: string, value: string): void {
  const env = state.config.Env ?? []
  const index = env.findIndex(pair => splitPair(pair)[0] === key)
  state.config = { ...state.config, Env: index < 0 ? [...env, `${key}=${value}`] : env.with(index, `${key}=${value}`) }
  setEnvironment(state, key, value)
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
