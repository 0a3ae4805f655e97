import { formatPlatform, type Platform, parsePlatform, selectPlatform } from '../oci/platform.ts'
import type { RunOp } from '../plan/lowered.ts'
import type { Cell, RunAbility } from './engine.ts'

/** The RUN steps that a cell needs. */
export function runOps({ lowered }: Pick<Cell, 'lowered'>): RunOp[] {
  return [...lowered.stages.values()].flatMap(stage => stage.ops.filter(op => op.kind === 'run'))
}

/** The platforms whose programs run while the cell is built. */
export function runPlatforms({ lowered }: Pick<Cell, 'lowered'>): Platform[] {
  const stages = [...lowered.stages.values()].filter(stage => stage.ops.some(op => op.kind === 'run'))
  return [...new Map(stages.map(({ platform }) => [formatPlatform(platform), platform])).values()]
}

/** How a platform runs where these do, by `formatPlatform`: what runs a variant runs the lower ones as well. */
export function abilityAmong(
  platforms: Readonly<Record<string, 'native' | 'emulated'>>,
  platform: Platform,
): RunAbility {
  const name = formatPlatform(platform)
  const exact = Object.hasOwn(platforms, name) ? platforms[name] : undefined
  const higher = Object.keys(platforms).find(other => selectPlatform(parsePlatform(other), [platform]))
  return { how: exact ?? (higher === undefined ? 'no' : platforms[higher]!) }
}
