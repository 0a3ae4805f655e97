import { width } from '../errors/render-text.ts'

/** Where a reporter writes: standard error as a terminal has it, or something like it. */
export interface ReportStream {
  write(text: string): unknown
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

/** What a terminal without a size (0 columns) is taken for. */
export function columnsOf(stream: ReportStream): number {
  return stream.columns || 80
}

const HIDE = '\x1b[?25l'
const SHOW = '\x1b[?25h'
// Terminals that know the mode (DEC 2026) show a frame at once; the others ignore it.
const BEGIN = '\x1b[?2026h'
const END = '\x1b[?2026l'
/** From the start of the block to the end of the screen. tmux keeps what ED erases from the very first cell: begin below. */
const ERASE = '\x1b[K\n\x1b[J\x1b[A'

/**
 * Keeps a block of lines at the cursor up to date in place. The cursor rests at the start of the line below the block
 * and is hidden while there is one. Lines must be narrower than the terminal, the block lower than it.
 */
export class FrameWriter {
  readonly #stream: ReportStream
  #lines: readonly string[] = []
  #columns = 0

  constructor(stream: ReportStream) {
    this.#stream = stream
  }

  /** Replaces the block; writes only what differs. */
  paint(lines: readonly string[]): void {
    const columns = columnsOf(this.#stream)
    const before = this.#lines
    const resized = columns !== this.#columns
    const same = lines.length === before.length && (!resized || lines.length === 0)
    if (same && lines.every((line, i) => line === before[i])) return
    let out = this.#up(columns)
    if (resized || before.length === 0)
      out += `${before.length > 0 ? ERASE : ''}${lines.map(line => `${line}\n`).join('')}`
    else {
      for (const [i, line] of lines.entries()) out += line === before[i] ? '\n' : `${line}\x1b[K\n`
      if (lines.length < before.length) out += '\x1b[J'
    }
    const hide = before.length === 0 ? HIDE : ''
    this.#lines = lines
    this.#columns = columns
    this.#stream.write(BEGIN + hide + out + END)
  }

  /** Lines that stay, above the block. */
  print(lines: readonly string[]): void {
    const block = this.#lines
    this.clear()
    this.#stream.write(lines.map(line => `${line}\n`).join(''))
    if (block.length > 0) this.paint(block)
  }

  /** Takes the block away and shows the cursor again. */
  clear(): void {
    if (this.#lines.length === 0) return
    const out = `${this.#up(columnsOf(this.#stream))}${ERASE}${SHOW}`
    this.#lines = []
    this.#stream.write(out)
  }

  /** To the start of the block. After a change of width the terminal has wrapped its lines anew. */
  #up(columns: number): string {
    const rows = this.#lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(width(line) / columns)), 0)
    return `\r${rows > 0 ? `\x1b[${rows}A` : ''}`
  }
}
