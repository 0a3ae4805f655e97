import { paint, type Style, sign, styleFor } from '../errors/render-style.ts'
import { sanitizeText, wrap } from '../errors/render-text.ts'
import type { RunEvent, RunResult } from '../run/events.ts'
import { renderFailures } from './failures.ts'
import { columnsOf, FrameWriter, type ReportStream } from './frame.ts'
import { JsonLines } from './json.ts'
import { renderMatrix } from './matrix.ts'
import { heartbeat, PlainLines } from './plain.ts'
import { foldState, initialState } from './state.ts'
import { render } from './tree.ts'

export interface Reporter {
  emit(event: RunEvent): void
  /** Leaves the terminal as it was found; safe to call more than once. */
  close(): void
}

export type ReportMode = 'auto' | 'tty' | 'plain' | 'json' | 'quiet'

export interface ReporterOptions {
  readonly mode: ReportMode
  readonly stream: ReportStream
  readonly env: Readonly<Record<string, string | undefined>>
  /** Milliseconds since 1970; Date.now unless given. */
  readonly now?: () => number
}

const REPAINT_EVERY = 100
const HEARTBEAT_EVERY = 30_000

/**
 * Shows a run on `stream` while it goes on; matrix and failures follow when it has ended (quiet: failures only; json:
 * every event is one line and nothing else is written).
 */
export function createReporter(options: ReporterOptions): Reporter {
  const { stream, env, now = Date.now } = options
  const style = styleFor(stream, env)
  switch (options.mode === 'auto' ? resolveAuto(stream, env) : options.mode) {
    case 'tty':
      return ttyReporter(stream, style, now)
    case 'plain':
      return plainReporter(stream, style, now)
    case 'json':
      return jsonReporter(stream, now)
    case 'quiet':
      return quietReporter(stream, style)
  }
}

/** The live tree for people at a terminal; lines for CI, pipes and terminals that cannot move their cursor. */
export function resolveAuto(stream: ReportStream, env: ReporterOptions['env']): 'tty' | 'plain' {
  const ci = env['CI'] !== undefined && !['', '0', 'false'].includes(env['CI'])
  return stream.isTTY === true && env['TERM'] !== 'dumb' && !ci ? 'tty' : 'plain'
}

function ttyReporter(stream: ReportStream, style: Style, now: () => number): Reporter {
  const state = initialState()
  const frame = new FrameWriter(stream)
  const repaint = (): void => frame.paint(render(state, columnsOf(stream), stream.rows || 24, now(), style))
  // Painting by the clock alone bounds it, however many events come; a short run paints nothing at all.
  const timer = setInterval(repaint, REPAINT_EVERY)
  timer.unref?.()
  const close = (): void => {
    clearInterval(timer)
    process.off('exit', close)
    frame.clear()
  }
  // Also when somebody's process.exit cuts the run short: a terminal must not stay without its cursor.
  process.once('exit', close)
  return {
    emit(event) {
      foldState(state, event, now())
      if (event.type === 'warning') frame.print(warningLines(state.warnings.at(-1)!, current(style, stream)))
      if (event.type !== 'run-ended') return
      close()
      writeEnd(stream, event.result, current(style, stream))
    },
    close,
  }
}

/** The style with the width that the terminal has now. */
function current(style: Style, stream: ReportStream): Style {
  return stream.isTTY ? { ...style, columns: columnsOf(stream) } : style
}

function warningLines(message: string, style: Style): string[] {
  return wrap(sanitizeText(message), style.columns - 2).map(
    (line, index) => `${index === 0 ? paint(style, 'yellow', sign(style, 'warning')) : ' '} ${line}`,
  )
}

function plainReporter(stream: ReportStream, style: Style, now: () => number): Reporter {
  const state = initialState()
  const plain = new PlainLines(style)
  const timer = setInterval(() => {
    const line = heartbeat(state, now())
    if (line !== undefined) stream.write(`${line}\n`)
  }, HEARTBEAT_EVERY)
  timer.unref?.()
  return {
    emit(event) {
      foldState(state, event, now())
      const lines = plain.lines(event)
      if (lines.length > 0) stream.write(`${lines.join('\n')}\n`)
      if (event.type === 'run-ended') writeEnd(stream, event.result, current(style, stream))
    },
    close: () => clearInterval(timer),
  }
}

function writeEnd(stream: ReportStream, result: RunResult, style: Style): void {
  const failures = renderFailures(result, style)
  const lines = ['', ...renderMatrix(result, style), '', ...(failures.length === 0 ? [] : [...failures, ''])]
  stream.write(`${lines.join('\n')}\n`)
}

function jsonReporter(stream: ReportStream, now: () => number): Reporter {
  const json = new JsonLines()
  return {
    emit(event) {
      for (const line of json.lines(event, now())) stream.write(`${line}\n`)
    },
    close() {},
  }
}

function quietReporter(stream: ReportStream, style: Style): Reporter {
  return {
    emit(event) {
      if (event.type !== 'run-ended') return
      const lines = renderFailures(event.result, current(style, stream))
      if (lines.length > 0) stream.write(`${lines.join('\n')}\n`)
    },
    close() {},
  }
}
