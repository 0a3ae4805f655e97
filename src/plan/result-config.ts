import type { ImageConfig } from '../oci/config.ts'
import { normalizePlatform, type Platform } from '../oci/platform.ts'
import type { LoweredStage } from './lowered.ts'

/** The target's config: labels of the command line, and the platform that was asked for. */
export function withResultConfig(
  stage: LoweredStage,
  platform: Platform,
  ownLabels: Readonly<Record<string, string>>,
  created: string,
): LoweredStage {
  const same = stage.config.os === platform.os && stage.config.architecture === platform.architecture
  const { variant, 'os.version': version, 'os.features': features, ...rest } = stage.config
  const pick = <T>(wanted: T | undefined, have: T | undefined): T | undefined => wanted ?? (same ? have : undefined)
  const [v, ver, feat] = [
    pick(platform.variant, variant),
    // A windows base keeps its own version: the one that was asked for only has to begin it.
    same && version ? version : platform['os.version'],
    pick(platform['os.features'], features),
  ]
  const labels = Object.keys(ownLabels).length > 0 ? { Labels: { ...stage.config.config?.Labels, ...ownLabels } } : {}
  return {
    ...stage,
    config: withoutNothing({
      ...rest,
      ...normalizePlatform({
        os: platform.os,
        architecture: platform.architecture,
        ...(v ? { variant: v } : {}),
        ...(ver ? { 'os.version': ver } : {}),
        ...(feat ? { 'os.features': feat } : {}),
      }),
      created,
      config: withoutNothing({ ...stage.config.config, ...labels }),
      history: (stage.config.history ?? []).map(withoutNothing),
    }) as unknown as ImageConfig,
  }
}

const OMITTED = new Set(
  (
    'User ExposedPorts Env Entrypoint Cmd ArgsEscaped Volumes WorkingDir Labels StopSignal OnBuild Shell ' +
    'created_by author comment empty_layer'
  ).split(' '),
)

/** Without known fields that say nothing: `CMD []`, `"User": ""`. BuildKit writes none of them. */
function withoutNothing<T extends object>(value: T): T {
  const says = ([key, inner]: readonly [string, unknown]): boolean => !OMITTED.has(key) || !isNothing(inner)
  for (const key in value)
    if (!says([key, value[key]])) return Object.fromEntries(Object.entries(value).filter(says)) as T
  return value
}

function isNothing(value: unknown): boolean {
  return !value || (typeof value === 'object' && Object.keys(value).length === 0)
}
