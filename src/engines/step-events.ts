import type { Instruction } from '../dockerfile/ast.ts'
import { formatPlatform } from '../oci/platform.ts'
import type { Op } from '../plan/lowered.ts'
import type { BuildTools, Cell } from './engine.ts'

/** Tells the run of the steps of a cell, each when it begins or is found in a cache. */
export class StepEvents {
  readonly #emit: BuildTools['emit']
  readonly #name: { readonly service: string; readonly platform: string }
  readonly #total: number
  readonly #seen = new Set<Op>()

  constructor({ service, platform, lowered }: Cell, emit: BuildTools['emit']) {
    this.#emit = emit
    this.#name = { service: service.name, platform: formatPlatform(platform) }
    this.#total = [...lowered.stages.values()].reduce((sum, stage) => sum + stage.ops.length, 0)
  }

  /** Each step counts once. */
  step(op: Op, cached: boolean): void {
    if (this.#seen.has(op)) return
    this.#seen.add(op)
    const { label: step, line } = op
    const number = this.#seen.size
    this.#emit({ type: 'cell-step', cell: this.#name, step, number, total: this.#total, line, cached })
  }

  log(text: string): void {
    if (text !== '') this.#emit({ type: 'cell-log', cell: this.#name, text })
  }
}

/** Whether an engine counts an instruction as a step that makes a layer. */
export function makesLayer({ kind }: Instruction): boolean {
  return kind === 'run' || kind === 'copy' || kind === 'add' || kind === 'workdir'
}
