import type { Dockerfile, Range } from '../dockerfile/ast.ts'
import { invalid } from '../dockerfile/fault.ts'
import { parseBool } from '../dockerfile/mounts.ts'

/** Which checks are wanted: what `# check=` says, or the build argument BUILDKIT_DOCKERFILE_CHECK instead of it. */
export interface CheckOptions {
  readonly skip: 'all' | readonly string[]
  /** Experimental rules that are switched on; `skip` does not touch those. */
  readonly experimental: 'all' | readonly string[]
  /** Findings make the build fail. */
  readonly error: boolean
}

export const EVERY_CHECK: CheckOptions = { skip: [], experimental: [], error: false }

/** What counts of the value of a `# check=` directive or comment: all before the first blank, as in BuildKit. */
export function directiveValue(value: string): string {
  return value.split(' ', 1)[0]!
}

/** Reads `skip=RuleA,RuleB;error=true;experimental=all`. Gives a text that says what is wrong for anything else. */
export function parseCheckOptions(text: string): CheckOptions | string {
  const value = text.trim()
  if (value === '') return EVERY_CHECK
  let options = EVERY_CHECK
  const [first = '', second, ...more] = value.split(';')
  // Go's SplitN: what follows a second ";" belongs to the third part.
  for (const part of [first, ...(second === undefined ? [] : [second]), ...(more.length > 0 ? [more.join(';')] : [])]) {
    const equals = part.indexOf('=')
    if (equals < 0) return `"${part}" has no "="`
    const key = part.slice(0, equals).trim()
    const given = part.slice(equals + 1).trim()
    if (key === 'skip' || key === 'experimental') {
      options = { ...options, [key]: given === 'all' ? 'all' : given.split(',').map(name => name.trim()) }
    } else if (key === 'error') {
      const error = parseBool(given)
      if (error === undefined) return `"${part}" is neither error=true nor error=false`
      options = { ...options, error }
    } else return `"${key}" is unknown, there are skip, error and experimental`
  }
  return options
}

/**
 * What holds for a file: the build argument BUILDKIT_DOCKERFILE_CHECK, else its `# check=` directive. Throws
 * DOCKERFILE_INVALID for a malformed one.
 */
export function checkOptions(dockerfile: Dockerfile, args: Readonly<Record<string, string>>): CheckOptions {
  const given = Object.hasOwn(args, 'BUILDKIT_DOCKERFILE_CHECK') ? args['BUILDKIT_DOCKERFILE_CHECK'] : undefined
  const directive = dockerfile.directives['check']
  const options = parseCheckOptions(given ?? directiveValue(directive?.value ?? ''))
  if (typeof options !== 'string') return options
  const line = given === undefined ? directive!.line : 1
  const range: Range = { start: { line, column: 1 }, end: { line, column: 1 } }
  const what = given === undefined ? 'the check directive' : 'BUILDKIT_DOCKERFILE_CHECK'
  throw invalid(dockerfile, range, `${what} is wrong: ${options}`, 'for instance: skip=UndefinedVar;error=true')
}

const COMMENT = /^check[\t\n\f\r ]*=[\t\n\f\r ]*([^\n]+?)[\t\n\f\r ]*$/i

/** The value of the first comment of an instruction that is `# check=…`. */
export function checkComment(comments: readonly string[]): string | undefined {
  for (const comment of comments) {
    const value = COMMENT.exec(comment)?.[1]
    if (value !== undefined) return directiveValue(value)
  }
  return undefined
}

/** What holds for one instruction: its comment adds to what holds for the file. A malformed one changes nothing. */
export function withComments(options: CheckOptions, comments: readonly string[]): CheckOptions {
  const value = comments.length === 0 ? undefined : checkComment(comments)
  const own = value === undefined ? undefined : parseCheckOptions(value)
  if (own === undefined || typeof own === 'string') return options
  return {
    ...options,
    skip: merged(options.skip, own.skip),
    experimental: merged(options.experimental, own.experimental),
  }
}

function merged(a: CheckOptions['skip'], b: CheckOptions['skip']): CheckOptions['skip'] {
  return a === 'all' || b === 'all' ? 'all' : [...a, ...b]
}

/** Whether a rule is wanted. Experimental ones only when they are named, and then whatever `skip` says. */
export function isWanted(
  rule: { readonly name: string; readonly experimental?: true },
  options: CheckOptions,
): boolean {
  const listed = (list: CheckOptions['skip']): boolean => list === 'all' || list.includes(rule.name)
  return rule.experimental ? listed(options.experimental) : !listed(options.skip)
}
