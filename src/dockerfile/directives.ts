import type { Dockerfile } from './ast.ts'
import { invalid, quoted, type Source } from './fault.ts'
import { skipSpace } from './white-space.ts'

const KNOWN = ['syntax', 'escape', 'check']
const SHAPE = /^([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*([^\n]+?)[\t\n\f\r ]*$/

export interface Header {
  readonly directives: Dockerfile['directives']
  readonly escape: '\\' | '`'
  /** How many lines at the top are directives and nothing else. */
  readonly lines: number
}

/**
 * Reads the parser directives (`# syntax=`, `# escape=`, `# check=`). The first line that is not a known one ends them,
 * be it empty, a comment or an unknown directive. After a `#!` line BuildKit finds syntax and check, but not escape.
 */
export function readDirectives(source: Source): Header {
  const directives: Record<string, { value: string; line: number }> = {}
  const first = source.lines[0]?.startsWith('#!') ? 1 : 0
  let escapeWith: '\\' | '`' = '\\'
  let at = first
  for (; at < source.lines.length; at++) {
    const line = source.lines[at]!
    const start = skipSpace(line)
    if (line[start] !== '#') break
    const match = SHAPE.exec(line.slice(skipSpace(line, start + 1)))
    const name = match?.[1]?.toLowerCase() ?? ''
    const value = match?.[2] ?? ''
    if (!KNOWN.includes(name)) break
    const range = { start: { line: at + 1, column: start + 1 }, end: { line: at + 1, column: line.length } }
    if (Object.hasOwn(directives, name)) {
      if (first > 0) break
      const hint = `line ${directives[name]!.line} has one already: remove one of them`
      throw invalid(source, range, `only one ${name} parser directive can be used`, hint)
    }
    if (name === 'escape' && first === 0) {
      if (value !== '\\' && value !== '`')
        throw invalid(source, range, `the escape directive is ${quoted(value)}, but must be \\ or \``)
      escapeWith = value
    }
    directives[name] = { value, line: at + 1 }
  }
  if (first > 0) delete directives['escape']
  return { directives, escape: escapeWith, lines: first > 0 ? 0 : at }
}
