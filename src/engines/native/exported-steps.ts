import type { LayerContent } from '../../layer/content.ts'
import type { CachedStep } from '../cached-steps.ts'
import type { BuildTools, Cell } from '../engine.ts'
import { knownIndex } from './base.ts'
import { layerItems } from './imported-step.ts'
import { layerBlob } from './layers.ts'
import { rememberStepLayer } from './step-layer.ts'
import { canonical, type StepResult } from './step-record.ts'

export interface KnownStep {
  readonly label: string
  readonly key: string
  readonly result: StepResult
}

/**
 * The steps with the layers of what they left, which are in the store then. A step whose layer would not tell again what it left is
 * not among them.
 */
export async function exportSteps(
  known: readonly KnownStep[],
  cell: Pick<Cell, 'platform' | 'options'>,
  content: LayerContent,
  tools: BuildTools,
): Promise<readonly CachedStep[]> {
  const steps: CachedStep[] = []
  for (const { label, key, result } of known) {
    const { id, items, emulated } = result
    const seconds = Math.round(result.seconds * 1000) / 1000
    if (id === undefined) {
      steps.push({ key, seconds, emulated })
      continue
    }
    const options = { ...cell.options, docker: false }
    const layer = await layerBlob({ items, label, cell: { ...cell, options }, content }, tools)
    rememberStepLayer(tools.store, id, layer)
    const { digest, size, mediaType, diffId } = layer
    const index = knownIndex(tools.store, diffId)
    if (index === undefined || canonical(layerItems(index, label)).id !== id) continue
    steps.push({ key, seconds, emulated, left: { id, diffId, layer: { mediaType, digest, size } } })
  }
  return steps
}
