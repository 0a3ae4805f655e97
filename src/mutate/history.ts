import type { Draft, Json } from './draft.ts'

export interface Step extends Json {
  readonly empty_layer?: boolean
}

/** The history of a draft; one without a step for each layer says nothing of layers, so it is made up of bare steps. */
export function historyOf({ config, layers }: Draft): readonly Step[] {
  const steps = Array.isArray(config['history']) ? (config['history'] as readonly Step[]) : []
  const counted = steps.filter(step => step.empty_layer !== true).length
  if (counted === layers.length) return steps
  return [...steps.filter(step => step.empty_layer === true), ...layers.map(() => ({}))]
}

/** How many steps of a history belong to its first `layers` layers, with the steps without a layer behind the last of them. */
export function stepsOfLayers(history: readonly Step[], layers: number): number {
  let left = layers
  let at = 0
  while (at < history.length && (left > 0 || history[at]!.empty_layer === true)) {
    if (history[at]!.empty_layer !== true) left--
    at++
  }
  return at
}
