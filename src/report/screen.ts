import { width } from '../errors/render-text.ts'
import type { ReportStream } from './frame.ts'

/**
 * A terminal for tests: what a person would see after all that was written. Knows the few control sequences that a
 * reporter may use and throws on every other one, and on a line that would wrap.
 */
export class Screen implements ReportStream {
  readonly isTTY = true
  columns: number
  rows: number
  cursorShown = true
  /** Lines that left the screen at the top, and after them those that are on it. */
  lines: string[] = ['']
  #row = 0
  #column = 0

  constructor(columns: number, rows: number) {
    this.columns = columns
    this.rows = rows
  }

  /** What is on the screen, without colours and without empty lines at the end. */
  get text(): string {
    return this.lines.join('\n').trimEnd()
  }

  write(text: string): void {
    const tokens = text.matchAll(/\x1b\[(\?)?(\d*)([A-Za-z])|[\n\r]|[^\x00-\x1f\x7f-\x9f]+|./gs)
    for (const [token, priv, number, final] of tokens) {
      if (final !== undefined) this.#control(`${priv ?? ''}${final}`, Number(number || 1), number ?? '')
      else if (token === '\n') this.#newline()
      else if (token === '\r') this.#column = 0
      else if (/^[\x00-\x1f\x7f-\x9f]/.test(token)) throw new Error(`raw control character ${JSON.stringify(token)}`)
      else this.#put(token)
    }
  }

  #put(text: string): void {
    const line = this.lines[this.#row]!
    // Only whole lines are written at column 0, so columns and code units need not be told apart.
    if (this.#column !== 0 && this.#column !== line.length) throw new Error('writes in the middle of a line')
    this.lines[this.#row] = this.#column === 0 ? text + line.slice(text.length) : line + text
    this.#column += text.length
    if (width(this.lines[this.#row]!.slice(0, this.#column)) > this.columns) throw new Error(`wraps: ${text}`)
  }

  #newline(): void {
    this.#row++
    this.#column = 0
    if (this.#row === this.lines.length) this.lines.push('')
  }

  #control(what: string, count: number, raw: string): void {
    const line = this.lines[this.#row]!
    if (what === 'm' || (what === '?h' && raw === '2026') || (what === '?l' && raw === '2026')) return
    if (what === '?h' && raw === '25') this.cursorShown = true
    else if (what === '?l' && raw === '25') this.cursorShown = false
    // The cursor cannot leave the screen at the top.
    else if (what === 'A') this.#row = Math.max(this.#row - count, this.lines.length - this.rows, 0)
    else if (what === 'K' && raw === '') this.lines[this.#row] = line.slice(0, this.#column)
    else if (what === 'J' && raw === '') {
      // tmux would keep the whole screen in its history.
      if (this.#column === 0 && this.#row === Math.max(0, this.lines.length - this.rows)) throw new Error('ED at home')
      this.lines[this.#row] = line.slice(0, this.#column)
      // The screen keeps its height: lines are emptied, not removed.
      for (let row = this.#row + 1; row < this.lines.length; row++) this.lines[row] = ''
    } else throw new Error(`unexpected control sequence ${what} ${raw}`)
  }
}
