import { ArchimageError, type Place } from '../errors/error.ts'
import type { Range } from './ast.ts'

/** What an excerpt is taken from: a Dockerfile, or one being read. */
export interface Source {
  readonly file: string
  readonly lines: readonly string[]
}

const BEFORE = 2
const AFTER = 1
const LONGEST_EXCERPT = 12
const WIDEST_EXCERPT = 240

/** The place of a range with the lines around it; long instructions and long lines are cut. */
export function placeOf(source: Source, range: Range): Place {
  const { start, end } = range
  const first = Math.max(1, start.line - BEFORE)
  const last = Math.min(source.lines.length, end.line + AFTER, first + LONGEST_EXCERPT - 1)
  const excerpt = source.lines
    .slice(first - 1, last)
    .map(line => (line.length > WIDEST_EXCERPT ? `${line.slice(0, WIDEST_EXCERPT)}…` : line))
  return {
    file: source.file,
    line: start.line,
    column: start.column,
    endLine: end.line,
    excerpt,
    excerptLine: first,
  }
}

/** DOCKERFILE_INVALID at a range of a file. */
export function invalid(source: Source, range: Range, message: string, hint?: string): ArchimageError {
  return new ArchimageError('DOCKERFILE_INVALID', message, {
    place: placeOf(source, range),
    ...(hint === undefined ? {} : { hint }),
  })
}

/** Makes the error for the place that its maker is about. */
export type Fail = (message: string, hint?: string) => ArchimageError

/** Foreign text for a message: in quotes, without control characters, of bearable length. */
export function quoted(text: string): string {
  const flat = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
  return `"${flat.length > 80 ? `${flat.slice(0, 79)}…` : flat}"`
}
