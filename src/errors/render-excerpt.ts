import { maskUrls } from './redact.ts'
import { paint, type Style, sign } from './render-style.ts'
import { padStart, sanitize, truncate, width } from './render-text.ts'

export interface Excerpt {
  readonly lines: readonly string[]
  /** Number of the first of `lines`. */
  readonly first: number
  /** The place to mark. */
  readonly line: number
  readonly column?: number | undefined
  readonly endLine?: number | undefined
}

const CONTEXT = 3
const LONGEST_RANGE = 12

/**
 * Lines of a file with their numbers, those of the place marked by `>>>`, a caret line below the first of them. Shows
 * at most three lines around the place, whatever the excerpt holds.
 */
export function renderExcerpt(excerpt: Excerpt, style: Style): string[] {
  const last = Math.min(Math.max(excerpt.endLine ?? excerpt.line, excerpt.line), excerpt.line + LONGEST_RANGE)
  const numbered = excerpt.lines
    .map((text, index) => ({ text, number: excerpt.first + index }))
    .filter(({ number }) => number >= excerpt.line - CONTEXT && number <= last + CONTEXT)
  if (!numbered.some(({ number }) => number === excerpt.line)) return []
  const digits = String(numbered.at(-1)!.number).length
  const room = style.columns - digits - 9
  return numbered.flatMap(({ text, number }) => {
    const marked = number >= excerpt.line && number <= last
    const bar = paint(style, 'dim', sign(style, 'bar'))
    const mark = marked ? paint(style, 'red', '>>>') : '   '
    const shown = truncate(sanitize(maskUrls(text)), room)
    const label = paint(style, 'dim', padStart(String(number), digits))
    const line = `  ${mark} ${label} ${bar} ${marked ? shown : paint(style, 'dim', shown)}`.trimEnd()
    if (number !== excerpt.line) return [line]
    const caret = caretLine(text, excerpt.column)
    if (caret === '' || width(caret) > room) return [line]
    return [line, `      ${' '.repeat(digits)} ${bar} ${paint(style, 'red', caret)}`]
  })
}

/** Carets below the text from `column` on, or below the whole of the text where no column is known. */
function caretLine(text: string, column: number | undefined): string {
  const from = column === undefined ? text.length - text.trimStart().length : column - 1
  const before = width(sanitize(text.slice(0, from)))
  const length = width(sanitize(text.trimEnd())) - before
  return length <= 0 ? '' : ' '.repeat(before) + '^'.repeat(column === undefined ? length : 1)
}
