import type { Heredoc } from './ast.ts'
import { delimiterWords, rawWords } from './expand.ts'

export type HeredocMark = Pick<Heredoc, 'name' | 'expand' | 'chomp' | 'fd'>

/** Reads `[fd]<<[-]delimiter`; undefined for any other word. Throws DOCKERFILE_INVALID for open quotes in it. */
export function parseHeredoc(word: string): HeredocMark | undefined {
  const match = /^(\d*)<<(-?)[\t\n\f\r ]*([^<]*)$/.exec(word)
  const delimiter = match?.[3]
  if (!match || !delimiter) return undefined
  if (/^[\w.-]+$/.test(delimiter))
    return { name: delimiter, expand: true, chomp: match[2] === '-', fd: Number(match[1]) }
  const [name, ...more] = delimiterWords(delimiter, false)
  if (name === undefined || more.length > 0) return undefined
  // Quotes that are gone after lexing were quotes and not escaped characters: then nothing is expanded.
  const [written] = delimiterWords(delimiter, true)
  return { name, expand: quotes(name) === quotes(written ?? ''), chomp: match[2] === '-', fd: Number(match[1]) }
}

/** The heredocs that a line announces, in order. A line with an open quote has none (as in BuildKit). */
export function heredocsIn(line: string): readonly HeredocMark[] {
  const words = rawWords(line) ?? []
  return words.flatMap(word => (word.includes('<<') ? (parseHeredoc(word) ?? []) : []))
}

/** Removes the leading tabs of each line (`<<-`). */
export function chompTabs(content: string): string {
  return content.replace(/(^|\n)\t+/g, '$1')
}

function quotes(text: string): number {
  return text.length - text.replace(/['"]/g, '').length
}
