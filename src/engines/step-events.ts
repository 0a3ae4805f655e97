import { nativeAdvice } from '../dockerfile/compilers.ts'
import { formatPlatform, type Platform } from '../oci/platform.ts'
import type { Op } from '../plan/lowered.ts'
import { Lines } from '../sys/stream-program.ts'
import type { BuildTools, Cell } from './engine.ts'

interface Begun {
  readonly number: number
  readonly emulated: boolean
  readonly cached: boolean
  readonly lines: Lines
  ended: boolean
}

/** Tells the run of the steps of a cell: when each begins or is found in a cache, what it says, when it is over. */
export class StepEvents {
  readonly #emit: BuildTools['emit']
  readonly #name: { readonly service: string; readonly platform: string }
  readonly #platforms = new Map<Op, Platform>()
  readonly #emulates: (platform: Platform) => boolean
  readonly #steps = new Map<Op, Begun>()

  constructor(
    { service, platform, lowered }: Cell,
    emulates: (platform: Platform) => boolean,
    emit: BuildTools['emit'],
  ) {
    this.#emit = emit
    this.#emulates = emulates
    this.#name = { service: service.name, platform: formatPlatform(platform) }
    for (const stage of lowered.stages.values()) for (const op of stage.ops) this.#platforms.set(op, stage.platform)
  }

  /** Each step counts once, however often it is told of. */
  begins(op: Op, cached: boolean): void {
    if (this.#steps.has(op)) return
    const [cell, number, total] = [this.#name, this.#steps.size + 1, this.#platforms.size]
    const emulated = op.kind === 'run' && this.#emulates(this.#platforms.get(op)!)
    const lines = new Lines(line => this.#emit({ type: 'cell-log', cell, text: `${line}\n`, step: number }))
    this.#steps.set(op, { number, emulated, cached, lines, ended: false })
    const { label: step, line } = op
    const runs = op.kind === 'run' && !cached ? { runs: true, emulated } : {}
    this.#emit({ type: 'cell-step', cell, step, number, total, line, cached, ...runs })
  }

  /** Output of a step that has begun, in pieces of any size. */
  says(op: Op, bytes: Uint8Array): void {
    this.#steps.get(op)?.lines.push(bytes)
  }

  /** `seconds`: how long it took; 0 where that is not known. */
  ends(op: Op, seconds: number): void {
    const step = this.#steps.get(op)
    if (!step || step.ended) return
    step.lines.finish()
    step.ended = true
    const { number, emulated, cached } = step
    if (op.kind !== 'run') return
    const native = emulated && !cached ? nativeAdvice(op.args) : undefined
    const facts = { step: op.label, line: op.line, seconds, emulated, cached, shared: false }
    this.#emit({ type: 'step-ended', cell: this.#name, number, ...facts, ...(native ? { native } : {}) })
  }
}
