import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { RunOp } from '../plan/lowered.ts'
import type { Cell } from './engine.ts'

/** The RUN steps that a cell needs. */
export function runOps({ lowered }: Pick<Cell, 'lowered'>): RunOp[] {
  return [...lowered.stages.values()].flatMap(stage => stage.ops.filter(op => op.kind === 'run'))
}

/** The platforms whose programs run while the cell is built. */
export function runPlatforms({ lowered }: Pick<Cell, 'lowered'>): Platform[] {
  const stages = [...lowered.stages.values()].filter(stage => stage.ops.some(op => op.kind === 'run'))
  return [...new Map(stages.map(({ platform }) => [formatPlatform(platform), platform])).values()]
}
