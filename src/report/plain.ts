import { paint, type Style } from '../errors/render-style.ts'
import { sanitize, sanitizeText } from '../errors/render-text.ts'
import type { CellName, RunEvent } from '../run/events.ts'
import { cellKey, count, formatBytes, formatSeconds, shortDigest } from './format.ts'
import { CellLines } from './lines.ts'
import { paintState, stateWord } from './signs.ts'
import type { RunState } from './state.ts'

const PHASES = { prepare: 'preparing', build: 'building', publish: 'publishing', verify: 'reading back' }
const PAST = { pull: 'pulled', push: 'pushed', write: 'wrote' }
/** A transfer below this size is no line of its own. */
const WORTH_A_LINE = 10_000_000

/**
 * Turns events into lines that only ever follow each other: for CI logs, pipes and dumb terminals. Every line of a
 * cell begins with `service platform | `.
 */
export class PlainLines {
  readonly #style: Style
  readonly #logs = new CellLines()
  /** What each running cell is at. */
  readonly #steps = new Map<string, { readonly cell: CellName; readonly step: string }>()

  constructor(style: Style) {
    this.#style = style
  }

  /** The lines that this event is worth, without line breaks. */
  lines(event: RunEvent): string[] {
    switch (event.type) {
      case 'run-started': {
        const services = new Set(event.cells.map(cell => cell.service)).size
        const cells = `${count(event.cells.length, 'cell')} of ${count(services, 'service')}`
        return [sanitize(`${event.project}: ${cells}, ${event.jobs} at a time`)]
      }
      case 'phase':
        return [PHASES[event.phase]]
      case 'cell-started':
        return [this.#of(event.cell, 'started')]
      case 'cell-engine': {
        const { cell, engine, emulated, why } = event
        if (engine === 'native' && !emulated) return []
        return [this.#of(cell, sanitize(`by ${engine}${emulated ? ', emulated' : ''}${why ? ` (${why})` : ''}`))]
      }
      case 'cell-step': {
        this.#steps.set(cellKey(event.cell), event)
        const from = event.from === undefined ? '' : `, from the cache ${sanitize(event.from)}`
        const cached = event.cached ? ` (cached${from})` : event.emulated ? ' (emulated)' : ''
        const step = `[${event.number}/${event.total}] ${sanitize(event.step)}${cached}`
        return [...this.#rest(event.cell), this.#of(event.cell, step)]
      }
      case 'step-ended': {
        if (event.cached) return []
        const more = event.shared ? ', for another cell too' : ''
        return [
          ...this.#rest(event.cell),
          this.#of(event.cell, `[${event.number}] ${formatSeconds(event.seconds)}${more}`),
        ]
      }
      case 'cell-log':
        return this.#logs.push(event.cell, event.text).map(line => this.#of(event.cell, line))
      case 'cell-ended':
        this.#steps.delete(cellKey(event.cell))
        return [...this.#rest(event.cell), this.#of(event.cell, this.#outcome(event))]
      case 'transfer': {
        if (!event.done || event.current < WORTH_A_LINE) return []
        const line = sanitize(`${PAST[event.direction]} ${formatBytes(event.current)}: ${event.what}`)
        // A layer may be written for several cells at once: only what is certain is named.
        const [writer, ...others] = [...this.#steps.values()].filter(({ step }) => step === event.what)
        return [writer !== undefined && others.length === 0 ? this.#of(writer.cell, line) : line]
      }
      case 'tag':
        return [sanitize(`${event.service} | ${event.reference} ${event.state}, ${shortDigest(event.digest)}`)]
      case 'verified': {
        const { service, where, ok, problems } = event
        if (ok) return [sanitize(`${service} | read back from ${where}: as built`)]
        return [`not as built: ${problems.join('; ')}`].map(text =>
          paint(this.#style, 'red', sanitize(`${service} | read back from ${where}: ${text}`)),
        )
      }
      case 'warning': {
        const lines = sanitizeText(`warning: ${event.message}`).split('\n')
        return lines.map(line =>
          paint(this.#style, 'yellow', event.cell === undefined ? line : this.#of(event.cell, line)),
        )
      }
      case 'sandbox': {
        const { runtime, rootless, roots, network } = event
        return [`RUN steps: ${runtime}${rootless ? ', without root' : ''}, roots by ${roots}, network ${network}`]
      }
      case 'run-ended':
        return []
    }
  }

  #of(cell: CellName, text: string): string {
    return `${paint(this.#style, 'cyan', sanitize(cellKey(cell)))} | ${text}`
  }

  #rest(cell: CellName): string[] {
    return this.#logs.end(cell).map(line => this.#of(cell, line))
  }

  #outcome(event: RunEvent & { type: 'cell-ended' }): string {
    const { state, reason, seconds, digest, size, failure } = event
    const words = paintState(
      this.#style,
      state,
      state === 'not-run' ? 'not run' : `${stateWord(state)} in ${formatSeconds(seconds)}`,
    )
    const why = sanitize(failure?.message.split('\n')[0] ?? reason)
    const what = [digest === undefined ? '' : shortDigest(digest), size === undefined ? '' : formatBytes(size)]
    return [`${words}: ${why}`, ...what.filter(text => text !== '')].join(', ')
  }
}

/** What still runs, for the line that shows every half minute that we are alive; undefined when nothing does. */
export function heartbeat(state: RunState, now: number): string | undefined {
  const running = [...state.cells.values()]
    .filter(cell => cell.state === 'running')
    .map(cell => {
      const step = cell.step === undefined ? '' : ` [${cell.step.number}/${cell.step.total}] ${cell.step.text}`
      return `${cellKey(cell)}${step} (${formatSeconds((now - (cell.startedAt ?? now)) / 1000)})`
    })
  const moving = [...state.transfers.values()].map(({ direction, what, current, total }) => {
    const verb = { pull: 'pulling', push: 'pushing', write: 'writing' }[direction]
    return `${verb} ${what} (${formatBytes(current)}${total > 0 ? ` of ${formatBytes(total)}` : ''})`
  })
  const all = [...running, ...moving]
  if (all.length === 0) return undefined
  const elapsed = formatSeconds((now - (state.startedAt ?? now)) / 1000)
  return sanitize(`still running after ${elapsed}: ${all.join(', ')}`)
}
