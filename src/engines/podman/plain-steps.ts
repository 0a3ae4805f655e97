import type { LoweredStage, Op } from '../../plan/lowered.ts'
import type { StepEvents } from '../step-events.ts'

/** Milliseconds in which podman says that a step comes from its cache. */
const CACHE_SAYS = 150

/** Reads what `podman build` writes: `STEP 2/3: RUN make`, the output of the steps, `--> Using cache …`. */
export class PlainSteps {
  readonly #stages: readonly LoweredStage[]
  readonly #events: StepEvents
  /** By stage: how many of its operations have been seen. */
  readonly #seen = new Map<LoweredStage, number>()
  #current: Op | undefined
  #since = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `stages` in the order of the Dockerfile that is built. */
  constructor(stages: readonly LoweredStage[], events: StepEvents) {
    this.#stages = stages
    this.#events = events
  }

  line(text: string): void {
    const step = /^(?:\[(?<stage>\d+)\/\d+\] )?STEP \d+\/\d+: (?<text>.*)$/.exec(text)?.groups
    const own = /^--> |^(?:\[\d+\/\d+\] )?COMMIT\b/.test(text)
    if (step) this.#step(this.#stages[Number(step['stage'] ?? 1) - 1], step['text']!)
    else this.#begun(own && text.includes('Using cache'))
    // What follows is about the image.
    if (own) this.#ended()
    if (own && text.includes('COMMIT')) this.#current = undefined
    if (!step && !own) this.#says(text)
  }

  /** What comes on standard error: the steps' own, and podman's. */
  error(text: string): void {
    this.#begun(false)
    if (!text.startsWith('Error: ')) this.#says(text)
  }

  /** There is nothing more; the last step has not failed. */
  end(): void {
    this.#begun(false)
    this.#ended()
  }

  /** There is nothing more, and what was being done has failed. */
  fail(): Op | undefined {
    this.#begun(false)
    return this.#current
  }

  #says(text: string): void {
    if (this.#current?.kind === 'run') this.#events.says(this.#current, Buffer.from(`${text}\n`))
  }

  #ended(): void {
    if (this.#current) this.#events.ends(this.#current, (performance.now() - this.#since) / 1000)
  }

  /** Instructions that make no layer are steps for podman, and not for us. */
  #step(stage: LoweredStage | undefined, text: string): void {
    this.#begun(false)
    this.#ended()
    this.#current = undefined
    const keyword = text.split(' ', 1)[0]!.toUpperCase()
    const ops = stage?.ops ?? []
    const from = this.#seen.get(stage!) ?? 0
    const at = ops[from]?.label.startsWith(`${keyword} `) && !/^WORKDIR \/$/i.test(text) ? from : -1
    if (at < 0) return
    this.#seen.set(stage!, at + 1)
    this.#current = ops[at]!
    this.#since = performance.now()
    this.#timer = setTimeout(() => this.#begun(false), CACHE_SAYS)
  }

  #begun(cached: boolean): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#events.begins(this.#current!, cached)
  }
}
