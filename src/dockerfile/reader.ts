import type { Heredoc, Range } from './ast.ts'
import type { Header } from './directives.ts'
import { invalid, type Source } from './fault.ts'
import { isSpace, skipSpace, trimSpace } from './white-space.ts'

/** BuildKit's scanner takes no longer ones. */
const LONGEST_LINE = 65535

/** One instruction with its continuations joined and the comments between them gone. */
export interface LogicalLine {
  readonly text: string
  readonly first: number
  readonly last: number
  readonly comments: readonly string[]
  readonly emptyLines: readonly number[]
  /** Where the pieces of `text` come from. */
  readonly pieces: readonly { readonly offset: number; readonly line: number; readonly column: number }[]
}

export interface Reader {
  /** The next instruction; undefined at the end of the file. */
  next(): LogicalLine | undefined
  /** The lines up to the terminator of a heredoc of the instruction just read; undefined when there is none. */
  body(name: string, chomp: boolean): Pick<Heredoc, 'content' | 'range'> | undefined
  /** Number of the line read last. */
  line(): number
}

/** `raw` are the lines with their carriage returns, which belong to what a heredoc holds. */
export function readLines(source: Source, raw: readonly string[], header: Header): Reader {
  const { lines } = source
  let at = header.lines

  const take = (): string => {
    const text = raw[at]!
    if (text.length > LONGEST_LINE / 3 && Buffer.byteLength(text) > LONGEST_LINE) {
      const hint = 'break it with continuations, or put the content into a file and COPY it'
      const range = { start: { line: at + 1, column: 1 }, end: { line: at + 1, column: text.length } }
      throw invalid(source, range, `the line has more than ${LONGEST_LINE} bytes`, hint)
    }
    return lines[at++]!
  }

  const next = (): LogicalLine | undefined => {
    let comments: string[] = []
    while (at < lines.length) {
      const whole = take()
      const start = skipSpace(whole)
      if (start === whole.length) continue
      if (whole[start] === '#') {
        // BuildKit takes the first character away, also where blanks stand before the "#".
        const comment = trimSpace(whole.slice(1))
        if (comment === '') comments = []
        else comments.push(comment)
        continue
      }
      const first = at
      let cut = continuation(whole, start, header.escape)
      let text = whole.slice(start, cut)
      const pieces = [{ offset: 0, line: first, column: start + 1 }]
      const emptyLines: number[] = []
      const parts = [text]
      let length = text.length
      while (cut !== undefined && at < lines.length) {
        const more = take()
        const content = skipSpace(more)
        if (content === more.length) {
          emptyLines.push(at)
          continue
        }
        if (more[content] === '#') continue
        cut = continuation(more, 0, header.escape)
        const part = more.slice(0, cut)
        pieces.push({ offset: length, line: at, column: 1 })
        parts.push(part)
        length += part.length
      }
      if (parts.length > 1) text = parts.join('')
      return { text, first, last: at, comments, emptyLines, pieces }
    }
    return undefined
  }

  const body = (name: string, chomp: boolean): Pick<Heredoc, 'content' | 'range'> | undefined => {
    const from = at
    while (at < lines.length) {
      const line = take()
      if ((chomp ? line.replace(/^\t+/, '') : line) !== name) continue
      const content = at - 1 > from ? `${raw.slice(from, at - 1).join('\n')}\n` : ''
      const range = { start: { line: from + 1, column: 1 }, end: { line: at, column: Math.max(1, line.length) } }
      return { content, range }
    }
    return undefined
  }

  return { next, body, line: () => at }
}

/** Where the continuation character of a line stands: last but for blanks, and not escaped itself. */
function continuation(line: string, start: number, escapeWith: string): number | undefined {
  let end = line.length
  while (end > start && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--
  if (end === start || line[end - 1] !== escapeWith) return undefined
  return end - 1 > start && line[end - 2] === escapeWith ? undefined : end - 1
}

/** The place in the file of the characters `from` to `to` (exclusive) of a logical line. */
export function rangeIn(line: LogicalLine, from: number, to: number): Range {
  return { start: placeIn(line, from), end: placeIn(line, Math.max(from, to - 1)) }
}

function placeIn(line: LogicalLine, offset: number): Range['start'] {
  const { pieces } = line
  let low = 0
  let high = pieces.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (pieces[middle]!.offset <= offset) low = middle
    else high = middle - 1
  }
  const piece = pieces[low]!
  return { line: piece.line, column: piece.column + offset - piece.offset }
}

/** The whole instruction, heredocs included when `last` is the line of their terminator. */
export function rangeOf(source: Source, line: LogicalLine, last: number): Range {
  const text = source.lines[last - 1]!
  let end = text.length
  while (end > 1 && isSpace(text.charCodeAt(end - 1))) end--
  return { start: { line: line.first, column: line.pieces[0]!.column }, end: { line: last, column: Math.max(1, end) } }
}
