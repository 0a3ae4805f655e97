import { redact } from '../errors/redact.ts'
import { sanitize } from '../errors/render-text.ts'
import type { CellName } from '../run/events.ts'
import { cellKey } from './format.ts'

/** A line longer than this is broken, so that a step cannot fill our memory with one. */
const LONGEST_LINE = 16_384

/** Cuts a stream of text into whole lines that are safe to show: redacted and without control sequences. */
export class LineBuffer {
  #rest = ''

  /** The lines that `text` completes. */
  push(text: string): string[] {
    const parts = (this.#rest + text).split('\n')
    this.#rest = parts.pop()!
    const lines = parts.map(cleanLine)
    while (this.#rest.length > LONGEST_LINE) {
      lines.push(cleanLine(this.#rest.slice(0, LONGEST_LINE)))
      this.#rest = this.#rest.slice(LONGEST_LINE)
    }
    return lines
  }

  /** What stands after the last line break, as a line. */
  end(): string[] {
    const rest = this.#rest
    this.#rest = ''
    return rest === '' ? [] : [cleanLine(rest)]
  }
}

/** A progress bar redraws its line by carriage returns: what it drew last stays. */
function cleanLine(line: string): string {
  const trimmed = line.replace(/\r+$/, '')
  return sanitize(redact(trimmed.slice(trimmed.lastIndexOf('\r') + 1)))
}

/** The line buffers of all cells. */
export class CellLines {
  readonly #buffers = new Map<string, LineBuffer>()

  /** The lines that `text` completes. */
  push(cell: CellName, text: string): string[] {
    const buffer = this.#buffers.get(cellKey(cell)) ?? new LineBuffer()
    this.#buffers.set(cellKey(cell), buffer)
    return buffer.push(text)
  }

  /** A last line without a line break, before what follows it. */
  end(cell: CellName): string[] {
    return this.#buffers.get(cellKey(cell))?.end() ?? []
  }
}
