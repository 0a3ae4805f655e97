import { redact } from '../errors/redact.ts'
import type { RunEvent } from '../run/events.ts'
import { CellLines } from './lines.ts'

/**
 * JSON with secrets redacted and without any control character: JSON.stringify leaves DEL and the C1 controls as they
 * are, and U+009B begins a control sequence on some terminals.
 */
export function stringify(value: unknown, indent?: number): string {
  return escapeControls(JSON.stringify(value, (_, v) => (typeof v === 'string' ? redact(v) : v), indent))
}

/** The same JSON without the control characters that JSON.stringify leaves. */
export function escapeControls(json: string): string {
  return json.replace(/[\x7f-\x9f]/g, character => `\\u00${character.charCodeAt(0).toString(16)}`)
}

/**
 * Events as lines of JSON, each with the `time` at which it came. Logs come as whole lines (a secret that two pieces of
 * output share would be recognised in neither), without control sequences.
 */
export class JsonLines {
  readonly #logs = new CellLines()

  lines(event: RunEvent, at: number): string[] {
    const log = event.type === 'cell-log' ? this.#logs.push(event.cell, event.text) : this.#rest(event)
    const events: RunEvent[] = event.type === 'cell-log' ? [] : [event]
    if (log.length > 0 && 'cell' in event && event.cell !== undefined)
      events.unshift({ type: 'cell-log', cell: event.cell, text: `${log.join('\n')}\n` })
    return events.map(one => stringify({ time: new Date(at).toISOString(), ...one }))
  }

  #rest(event: RunEvent): string[] {
    return event.type === 'cell-step' || event.type === 'cell-ended' ? this.#logs.end(event.cell) : []
  }
}
