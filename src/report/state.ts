import { sanitize, width } from '../errors/render-text.ts'
import type {
  CellName,
  CellResult,
  CellState,
  Failure,
  RunEvent,
  RunResult,
  SandboxSummary,
  ServiceResult,
  StepFacts,
  TagState,
} from '../run/events.ts'
import { cellKey } from './format.ts'
import { LineBuffer } from './lines.ts'

export interface Step {
  readonly text: string
  readonly number: number
  readonly total: number
  readonly cached: boolean
  readonly emulated?: boolean
  /** Milliseconds since 1970, of a RUN step that runs. */
  readonly startedAt?: number
}

/** What is known of one cell so far. Times are milliseconds since 1970. */
export interface CellProgress extends CellName {
  state: 'waiting' | 'running' | CellState
  engine: string
  emulated: boolean
  startedAt?: number
  /** The last that began, of RUN steps one that is not over if there is one. */
  step?: Step
  /** RUN steps that are not over. */
  readonly running: Step[]
  /** The last line that its step wrote. */
  lastLine: string
  readonly log: LineBuffer
  readonly steps: StepFacts[]
  seconds: number
  reason: string
  digest?: string
  size?: number
  fallback?: string
  failure?: Failure
}

export interface Transfer {
  readonly id: string
  readonly direction: 'pull' | 'push' | 'write'
  readonly what: string
  readonly startedAt: number
  current: number
  total: number
  /** Moments and bytes of the last seconds, for the rate. */
  samples: { readonly at: number; readonly bytes: number }[]
}

export interface ServiceProgress {
  readonly service: string
  readonly cells: CellProgress[]
  readonly tags: { readonly reference: string; readonly digest: string; readonly state: TagState }[]
  readonly verified: { readonly where: string; readonly ok: boolean; readonly problems: readonly string[] }[]
}

export interface RunState {
  project: string
  jobs: number
  startedAt?: number
  phase?: 'prepare' | 'build' | 'publish' | 'verify'
  readonly cells: Map<string, CellProgress>
  /** Width of the longest platform name. */
  platformColumns: number
  readonly services: Map<string, ServiceProgress>
  /** Those under way. */
  readonly transfers: Map<string, Transfer>
  readonly warnings: string[]
  sandbox?: SandboxSummary
  result?: RunResult
}

export function initialState(): RunState {
  const nothing = { cells: new Map(), services: new Map(), transfers: new Map(), warnings: [] }
  return { project: '', jobs: 0, platformColumns: 0, ...nothing }
}

/**
 * Takes one event that happened at `at` (milliseconds) into the state, in place: events of transfers and logs come by
 * the thousand a second. Cells and services that no event announced are added as they appear.
 */
export function foldState(state: RunState, event: RunEvent, at: number): RunState {
  state.startedAt ??= at
  switch (event.type) {
    case 'run-started':
      state.project = event.project
      state.jobs = event.jobs
      for (const cell of event.cells) cellOf(state, cell)
      break
    case 'phase':
      state.phase = event.phase
      break
    case 'cell-started':
      Object.assign(cellOf(state, event.cell), { state: 'running', startedAt: at })
      break
    case 'cell-engine': {
      const { engine, emulated } = event
      Object.assign(cellOf(state, event.cell), { engine, emulated })
      break
    }
    case 'cell-step': {
      const cell = cellOf(state, event.cell)
      const { step: text, number, total, cached, runs = false, emulated = false } = event
      cell.step = { text, number, total, cached, ...(runs ? { emulated, startedAt: at } : {}) }
      if (runs) cell.running.push(cell.step)
      cell.lastLine = ''
      break
    }
    case 'step-ended': {
      const cell = cellOf(state, event.cell)
      const index = cell.running.findIndex(step => step.number === event.number)
      if (index >= 0) cell.running.splice(index, 1)
      if (cell.running.length > 0) cell.step = cell.running.at(-1)!
      cell.steps.push(factsOf(event))
      break
    }
    case 'cell-log': {
      const cell = cellOf(state, event.cell)
      cell.lastLine = cell.log.push(event.text).findLast(line => line.trim() !== '') ?? cell.lastLine
      break
    }
    case 'cell-ended': {
      const { type: _, cell, ...outcome } = event
      Object.assign(cellOf(state, cell), outcome)
      break
    }
    case 'sandbox': {
      const { type: _, ...sandbox } = event
      state.sandbox = sandbox
      break
    }
    case 'transfer':
      foldTransfer(state.transfers, event, at)
      break
    case 'tag': {
      const { type: _, service, ...tag } = event
      serviceOf(state, service).tags.push(tag)
      break
    }
    case 'verified': {
      const { type: _, service, ...verified } = event
      serviceOf(state, service).verified.push(verified)
      break
    }
    case 'warning':
      state.warnings.push(event.cell === undefined ? event.message : `${cellKey(event.cell)}: ${event.message}`)
      break
    case 'run-ended':
      state.result = event.result
  }
  return state
}

function factsOf({ type: _, cell: __, number: ___, ...facts }: RunEvent & { type: 'step-ended' }): StepFacts {
  return facts
}

function serviceOf(state: RunState, service: string): ServiceProgress {
  const known = state.services.get(service) ?? { service, cells: [], tags: [], verified: [] }
  state.services.set(service, known)
  return known
}

function cellOf(state: RunState, name: CellName): CellProgress {
  const key = cellKey(name)
  let cell = state.cells.get(key)
  if (cell === undefined) {
    const { service, platform } = name
    const unknown = { engine: '', emulated: false, lastLine: '', log: new LineBuffer(), seconds: 0, reason: '' }
    cell = { service, platform, state: 'waiting', ...unknown, running: [], steps: [] }
    state.cells.set(key, cell)
    state.platformColumns = Math.max(state.platformColumns, width(sanitize(platform)))
    serviceOf(state, service).cells.push(cell)
  }
  return cell
}

const RATE_WINDOW = 4000
const SAMPLE_EVERY = 200

function foldTransfer(transfers: Map<string, Transfer>, event: RunEvent & { type: 'transfer' }, at: number): void {
  if (event.done) return void transfers.delete(event.id)
  const { id, direction, what, current, total } = event
  const known = transfers.get(id)
  if (known === undefined) {
    const samples = [{ at, bytes: current }]
    transfers.set(id, { id, direction, what, startedAt: at, current, total, samples })
    return
  }
  known.current = current
  known.total = total
  if (at - known.samples.at(-1)!.at < SAMPLE_EVERY) return
  known.samples.push({ at, bytes: current })
  while (known.samples.length > 2 && at - known.samples[1]!.at > RATE_WINDOW) known.samples.shift()
}

/** Bytes a second over the last seconds; undefined until it can be told. */
export function transferRate(transfer: Transfer, now: number): number | undefined {
  const first = transfer.samples[0]!
  const seconds = (now - first.at) / 1000
  return seconds < 0.5 ? undefined : Math.max(0, transfer.current - first.bytes) / seconds
}

/**
 * What a result file can say while the run goes on: every cell that was asked for is there, those that have not ended
 * as `not-run`, and nothing counts as complete.
 */
export function interimResult(state: RunState, now: number): RunResult {
  const startedAt = state.startedAt ?? now
  return {
    version: 1,
    project: state.project,
    started: new Date(startedAt).toISOString(),
    seconds: (now - startedAt) / 1000,
    complete: false,
    exitCode: 1,
    cells: [...state.cells.values()].map(cellResult),
    services: [...state.services.values()].map(interimService),
    ...(state.sandbox === undefined ? {} : { sandbox: state.sandbox }),
    warnings: [...state.warnings],
  }
}

function cellResult(cell: CellProgress): CellResult {
  const { service, platform, engine, seconds } = cell
  const emulated = cell.emulated || cell.steps.some(step => step.emulated && !step.cached)
  const steps = cell.steps.length === 0 ? {} : { steps: [...cell.steps] }
  if (cell.state === 'waiting' || cell.state === 'running') {
    const reason = cell.state === 'running' ? 'the run had not finished it' : 'the run had not come to it'
    return { service, platform, state: 'not-run', reason, engine, emulated, seconds, ...steps }
  }
  return {
    ...{ service, platform, state: cell.state, reason: cell.reason, engine, emulated, seconds },
    ...(cell.digest === undefined ? {} : { digest: cell.digest }),
    ...(cell.size === undefined ? {} : { size: cell.size }),
    ...(cell.fallback === undefined ? {} : { fallback: cell.fallback }),
    ...(cell.failure === undefined ? {} : { failure: cell.failure }),
    ...steps,
  }
}

/** The image's name is only known from its tags until the run has ended. */
function interimService({ service, tags, verified }: ServiceProgress): ServiceResult {
  const image = tags[0]?.reference.replace(/@.*$/, '').replace(/:[^:/]*$/, '') ?? ''
  return { service, image, tags: [...tags], verified: [...verified] }
}
