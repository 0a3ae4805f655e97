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

interface Directive {
  readonly name: string
  readonly value: string
  /** From 0. */
  readonly at: number
}

/**
 * Reads the parser directives (`# syntax=`, `# escape=`, `# check=`). The first line that is not a known one ends them, be it
 * empty, a comment or an unknown directive. As in BuildKit, syntax and check begin in the first column and may follow a `#!`
 * line; escape may be indented, but follows no such line.
 */
export function readDirectives(source: Source): Header {
  const { lines } = source
  const own = scan(lines, 0, '#', true)
  let escapeWith: '\\' | '`' = '\\'
  for (const [i, { name, value, at }] of own.entries()) {
    const range = {
      start: { line: at + 1, column: skipSpace(lines[at]!) + 1 },
      end: { line: at + 1, column: lines[at]!.length },
    }
    const before = own.slice(0, i).find(other => other.name === name)
    if (before !== undefined) {
      const hint = `line ${before.at + 1} has one already: remove one of them`
      throw invalid(source, range, `only one ${name} parser directive can be used`, hint)
    }
    if (name !== 'escape') continue
    if (value !== '\\' && value !== '`')
      throw invalid(source, range, `the escape directive is ${quoted(value)}, but must be \\ or \``)
    escapeWith = value
  }
  const directives = { ...named(own, ['escape']), ...named(outer(lines, '#'), ['syntax', 'check']) }
  return { directives, escape: escapeWith, lines: own.length }
}

/** The `# syntax=` line alone, also of a file that cannot be read. */
export function syntaxDirective({ lines }: Source): { readonly syntax?: { readonly value: string } } {
  return named(outer(lines, '#'), ['syntax'])
}

function named(found: readonly Directive[], names: readonly string[]): Dockerfile['directives'] {
  const wanted = found.filter(({ name }) => names.includes(name))
  return Object.fromEntries(wanted.map(({ name, value, at }) => [name, { value, line: at + 1 }]))
}

/** The syntax that a file asks for in one of the ways that only files in other languages use: `// syntax=…`, or JSON. */
export function foreignSyntax({ lines }: Source): { readonly value: string; readonly line: number } | undefined {
  const comment = outer(lines, '//').find(({ name }) => name === 'syntax')
  if (comment !== undefined) return { value: comment.value, line: comment.at + 1 }
  const first = lines[0]?.startsWith('#!') ? 1 : 0
  if (!/^\s*\{/.test(lines[first] ?? '')) return undefined
  try {
    const { syntax } = JSON.parse(lines.slice(first).join('\n')) as { readonly syntax?: unknown }
    return typeof syntax === 'string' ? { value: syntax, line: first + 1 } : undefined
  } catch {
    return undefined
  }
}

/** What BuildKit looks at before it chooses who reads the file: the first of each name. */
function outer(lines: readonly string[], comment: '#' | '//'): readonly Directive[] {
  const all = scan(lines, lines[0]?.startsWith('#!') ? 1 : 0, comment, false)
  const twice = all.findIndex(({ name }, i) => all.findIndex(other => other.name === name) < i)
  return twice < 0 ? all : all.slice(0, twice)
}

function scan(lines: readonly string[], first: number, comment: '#' | '//', indented: boolean): readonly Directive[] {
  const found: Directive[] = []
  for (let at = first; at < lines.length; at++) {
    const line = lines[at]!
    const start = indented ? skipSpace(line) : 0
    if (!line.startsWith(comment, start)) break
    const match = SHAPE.exec(line.slice(skipSpace(line, start + comment.length)))
    const name = match?.[1]?.toLowerCase() ?? ''
    if (!KNOWN.includes(name)) break
    found.push({ name, value: match![2]!, at })
  }
  return found
}
