import { isRecord } from '../../oci/json.ts'
import type { LoweredStage, Op } from '../../plan/lowered.ts'
import type { StepEvents } from '../step-events.ts'

/** A step of the build as BuildKit names it: `[build 2/4] RUN make`. */
interface Vertex {
  readonly name: string
  readonly op: Op | undefined
}

export interface FailedVertex {
  readonly op?: Op
  /** As BuildKit names the step. */
  readonly name: string
  readonly error: string
}

/** Reads the lines of `buildx build --progress rawjson`: BuildKit's status messages, one JSON object a line. */
export class RawProgress {
  readonly #stages: ReadonlyMap<string, LoweredStage>
  readonly #events: StepEvents
  readonly #fromCounts: boolean
  readonly #vertices = new Map<string, Vertex>()
  #failed: FailedVertex | undefined

  /**
   * `stages` by the names that they have in the Dockerfile that is built. `fromCounts`: BuildKit looks bases up itself, and then
   * FROM is the first of the numbered steps of a stage.
   */
  constructor(stages: ReadonlyMap<string, LoweredStage>, events: StepEvents, fromCounts: boolean) {
    this.#stages = stages
    this.#events = events
    this.#fromCounts = fromCounts
  }

  /** The first step that failed by itself. */
  get failed(): FailedVertex | undefined {
    return this.#failed
  }

  /** False when the line is no status message. */
  line(text: string): boolean {
    if (!text.startsWith('{')) return false
    let status: unknown
    try {
      status = JSON.parse(text)
    } catch {
      return false
    }
    if (!isRecord(status)) return false
    const list = (key: string): Record<string, unknown>[] => {
      const value = status[key]
      return Array.isArray(value) ? value.filter(isRecord) : []
    }
    this.#learn(list('vertexes'))
    for (const vertex of list('vertexes')) this.#vertex(vertex)
    for (const log of list('logs')) {
      const op = this.#vertices.get(String(log['vertex']))?.op
      if (op && typeof log['data'] === 'string') this.#events.says(op, Buffer.from(log['data'], 'base64'))
    }
    for (const vertex of list('vertexes')) this.#completed(vertex)
    return true
  }

  #learn(list: readonly Record<string, unknown>[]): void {
    for (const vertex of list) {
      const [digest, name] = [String(vertex['digest']), String(vertex['name'] ?? '')]
      if (!this.#vertices.has(digest)) this.#vertices.set(digest, { name, op: this.#op(name) })
    }
  }

  #op(name: string): Op | undefined {
    const parts = partsOf(name)
    if (!parts) return undefined
    // An only stage is not named.
    const stage = parts.stage === undefined ? this.#stages.values().next().value : this.#stages.get(parts.stage)
    const first = this.#fromCounts && stage?.base.kind === 'image' ? 2 : 1
    const op = stage?.ops[parts.number - first]
    const keyword = parts.text.replace(/^ONBUILD /, '').split(' ', 1)[0]
    return op?.label.startsWith(`${keyword} `) ? op : undefined
  }

  #vertex(vertex: Record<string, unknown>): void {
    const known = this.#vertices.get(String(vertex['digest']))
    if (!known) return
    const { op, name } = known
    if (op && (vertex['started'] || vertex['completed'])) this.#events.begins(op, vertex['cached'] === true)
    const error = vertex['error']
    // When one fails the others are told to stop: that is no failure of theirs.
    if (typeof error !== 'string' || error === '' || /context canceled|^canceled/i.test(error)) return
    this.#failed ??= { ...(op ? { op } : {}), name, error }
  }

  /** After the logs of the same message. */
  #completed(vertex: Record<string, unknown>): void {
    const op = this.#vertices.get(String(vertex['digest']))?.op
    if (op && vertex['completed'] && !vertex['error'])
      this.#events.ends(op, Math.max(0, time(vertex['completed']) - time(vertex['started'])) / 1000 || 0)
  }
}

function time(value: unknown): number {
  return typeof value === 'string' ? Date.parse(value) : Number.NaN
}

function partsOf(
  name: string,
): { readonly stage?: string; readonly number: number; readonly text: string } | undefined {
  const [, stage, number, text] = /^\[(?:(?:.* )?(\S+) +| *)(\d+)\/\d+\] (.*)$/s.exec(name) ?? []
  if (number === undefined) return undefined
  return { ...(stage === undefined ? {} : { stage }), number: Number(number), text: text! }
}
