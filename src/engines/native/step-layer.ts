import type { Digest } from '../../oci/digest.ts'
import type { Store } from '../../store/store.ts'
import type { LayerBlob } from './base.ts'

/** Record kind: the blob of the layer that a step left, by the digest of what is in it. */
const STEP_LAYER = 'step-layer'

export interface StepLayer extends LayerBlob {
  readonly diffId: Digest
}

/** Where the bytes of a step's files are when its directory is gone. */
export function stepLayer(store: Store, id: Digest): StepLayer | undefined {
  const layer = store.records.get<StepLayer>(STEP_LAYER, id)
  return layer && store.has(layer.digest, layer.size) ? layer : undefined
}

export function rememberStepLayer(store: Store, id: Digest, layer: StepLayer): void {
  store.records.put(STEP_LAYER, id, layer)
}
