import { ArchimageError } from '../errors/error.ts'
import { decodePath } from '../tar/path-bytes.ts'
import { clean } from './clean.ts'
import { compileGlob } from './glob.ts'
import { compileGoRegexp } from './go-regexp.ts'

/** Go's unicode.IsSpace. */
const SPACE = '[\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+'
const AROUND = new RegExp(`^${SPACE}|${SPACE}$`, 'g')
const MAX_BYTES = 1024 * 1024
const MAX_LINE = 64 * 1024

interface Pattern {
  readonly text: string
  readonly exception: boolean
  readonly kind: 'exact' | 'prefix' | 'suffix' | 'regexp'
  readonly matches: (path: string) => boolean
}

/** What is known of a directory: whether it is ignored itself, and which patterns it or a directory above it matched. */
export interface IgnoreState {
  readonly ignored: boolean
  readonly matched: Uint8Array
}

/** The patterns of one .dockerignore. Paths have no leading and no trailing "/". */
export interface IgnoreRules {
  /** The state of the context's root, above all paths. */
  readonly root: IgnoreState
  /** The state of the directory `path`, whose parent directory has the state `parent`. */
  descend(path: string, parent: IgnoreState): IgnoreState
  /** Whether `path` itself is ignored. */
  ignores(path: string, parent: IgnoreState): boolean
  /** Whether an exception could apply to something below the ignored directory `path`. */
  mayKeepBelow(path: string): boolean
  /**
   * Whether a cleaned source of COPY, wildcards and all, names something that is left out for certain; never where there are
   * exceptions. As BuildKit's check asks it: patterns are compared with the text of the source and of its parents.
   */
  leavesOut(source: string): boolean
}

/**
 * Reads a .dockerignore by the rules of moby's ignorefile and patternmatcher, which BuildKit uses. Undefined when it
 * ignores nothing. Throws CONTEXT_INVALID with the line for a pattern that is not well formed.
 */
export function parseIgnoreFile(bytes: Uint8Array, file: string): IgnoreRules | undefined {
  if (bytes.byteLength > MAX_BYTES)
    throw new ArchimageError('CONTEXT_INVALID', `${file} has ${bytes.byteLength} bytes; at most ${MAX_BYTES} are read`)
  const lines = decodePath(bytes)
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
  const patterns: Pattern[] = []
  for (const [i, line] of lines.entries()) {
    if (line.length > MAX_LINE || line.startsWith('#')) {
      if (line.startsWith('#')) continue
      throw new ArchimageError('CONTEXT_INVALID', 'the line is too long', { place: { file, line: i + 1 } })
    }
    const fail = (why: string, hint?: string): never => {
      const place = { file, line: i + 1, excerpt: [line.slice(0, 200)], excerptLine: i + 1 }
      throw new ArchimageError('CONTEXT_INVALID', why, { place, ...(hint === undefined ? {} : { hint }) })
    }
    const trimmed = line.replace(AROUND, '')
    if (trimmed === '') continue
    const marked = trimmed.startsWith('!')
    let text = marked ? trimmed.slice(1).replace(AROUND, '') : trimmed
    if (text !== '') text = clean(text)
    if (text.length > 1 && text.startsWith('/')) text = text.slice(1)
    // patternmatcher trims and cleans once more what ignorefile hands it, and only then looks for the "!".
    text = `${marked ? '!' : ''}${text}`.replace(AROUND, '')
    if (text === '') continue
    text = clean(text)
    const exception = text.startsWith('!')
    const pattern = exception ? text.slice(1) : text
    if (pattern === '') return fail('"!" must be followed by a pattern', 'write !path to keep a path that is ignored')
    const compiled = compile(pattern)
    if (compiled === undefined || isRefused(pattern))
      return fail(
        `"${pattern}" is not a well formed pattern`,
        'a "[" needs its "]", and a backslash something behind it',
      )
    patterns.push({ text: pattern, exception, ...compiled })
  }
  return patterns.length === 0 ? undefined : rulesOf(patterns)
}

/**
 * Whether patternmatcher.New refuses a pattern: it asks filepath.Match about the name ".", which reads a pattern only from
 * star to star as far as the name matches. What stands behind that is for the regular expression to refuse.
 */
function isRefused(pattern: string): boolean {
  const chunks: string[] = []
  let inClass = false
  let chunk = ''
  const characters = [...pattern.replace(/^\*+/, '')]
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!
    if (character === '[') inClass = true
    else if (character === ']') inClass = false
    if (character === '*' && !inClass) {
      chunks.push(chunk)
      chunk = ''
      while (characters[i + 1] === '*') i++
    } else if (character === '\\') chunk += character + (characters[++i] ?? '')
    else chunk += character
  }
  chunks.push(chunk)
  const first = compileGlob(chunks[0]!)
  if (first === undefined) return true
  return chunks[1] !== undefined && first('.') && compileGlob(chunks[1]) === undefined
}

/** The same rules for patterns of an instruction (COPY --exclude, --parents). Throws DOCKERFILE_INVALID. */
export function patternRules(patterns: readonly string[]): IgnoreRules {
  return rulesOf(
    patterns.flatMap(given => {
      const text = given.replace(AROUND, '')
      if (text === '') return []
      const cleaned = clean(text)
      const exception = cleaned.startsWith('!')
      const pattern = exception ? cleaned.slice(1) : cleaned
      const compiled = pattern === '' ? undefined : compile(pattern)
      if (compiled === undefined || compileGlob(pattern) === undefined)
        throw new ArchimageError('DOCKERFILE_INVALID', `"${given}" is not a well formed pattern`)
      return [{ text: pattern, exception, ...compiled }]
    }),
  )
}

/** moby's translation of a pattern (patternmatcher.go, compile), with its quirks: `^` is not escaped, `**x` is a suffix. */
function compile(pattern: string): Pick<Pattern, 'kind' | 'matches'> | undefined {
  const characters = [...pattern]
  let kind: Pattern['kind'] = 'exact'
  let body = ''
  let first = true
  for (let i = 0; i < characters.length; first = false) {
    const character = characters[i++]!
    if (character === '*' && characters[i] === '*') {
      i++
      if (characters[i] === '/') i++
      if (i < characters.length) {
        body += '(.*/)?'
        kind = 'regexp'
      } else if (kind === 'exact') kind = 'prefix'
      else {
        body += '.*'
        kind = 'regexp'
      }
      if (first) kind = 'suffix'
    } else if (character === '*' || character === '?') {
      body += character === '*' ? '[^/]*' : '[^/]'
      kind = 'regexp'
    } else if (character === '\\') {
      body += `\\${characters[i] ?? ''}`
      if (i < characters.length) kind = 'regexp'
      i++
    } else if (character === '[' || character === ']') {
      body += character
      kind = 'regexp'
    } else body += '.+()|{}$'.includes(character) ? `\\${character}` : character
  }
  if (kind === 'exact') return { kind, matches: path => path === pattern }
  if (kind === 'prefix') {
    const prefix = pattern.slice(0, -2)
    return { kind, matches: path => path.startsWith(prefix) }
  }
  if (kind === 'suffix') {
    const suffix = pattern.slice(2)
    const whole = suffix.startsWith('/') ? suffix.slice(1) : undefined
    return { kind, matches: path => path.endsWith(suffix) || path === whole }
  }
  const matches = compileGoRegexp(body)
  return matches && { kind, matches }
}

function rulesOf(patterns: readonly Pattern[]): IgnoreRules {
  const exceptions = patterns.filter(pattern => pattern.exception)
  const nothing = new Uint8Array(patterns.length)
  const root: IgnoreState = { ignored: false, matched: nothing }
  // As BuildKit's walk does it (MatchesUsingParentResults): a pattern that cannot change the outcome is not looked at, and
  // then does not count as matched for what is below either.
  const judge = (path: string, parent: Uint8Array, into?: Uint8Array): boolean => {
    let ignored = false
    for (let i = 0; i < patterns.length; i++) {
      const pattern = patterns[i]!
      if (parent[i] !== 1) {
        if (pattern.exception !== ignored || !pattern.matches(path)) continue
      }
      if (into !== undefined) into[i] = 1
      ignored = !pattern.exception
    }
    return ignored
  }
  const descend = (path: string, parent: IgnoreState): IgnoreState => {
    const matched = new Uint8Array(patterns.length)
    const ignored = judge(path, parent.matched, matched)
    return { ignored, matched: matched.includes(1) ? matched : nothing }
  }
  if (exceptions.length === 0) {
    const any = anyOf(patterns)
    return {
      root,
      descend,
      ignores: (path, parent) => parent.ignored || any(path),
      mayKeepBelow: () => false,
      leavesOut: source => {
        if ((source === '.' || source === '/') && !patterns.some(({ text }) => ['*', '**', '**/*'].includes(text)))
          return false
        return any(source) || parentsOf(source).some(any)
      },
    }
  }
  const starts = exceptions.map(pattern => pattern.text.replace(/\/\*\*$/, '').replace(/\/\*$/, ''))
  const anywhere = starts.some(start => /[*[\]?^\\]/.test(start))
  return {
    root,
    descend,
    ignores: (path, parent) => judge(path, parent.matched),
    mayKeepBelow: path => anywhere || starts.some(start => `${start}/`.startsWith(`${path}/`)),
    leavesOut: () => false,
  }
}

/** `a/b/c`: `a`, `a/b`. Of an absolute path the first is empty, as Go splits it. */
function parentsOf(path: string): readonly string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'))
}

/** One test for all patterns, when there are no exceptions. */
function anyOf(patterns: readonly Pattern[]): (path: string) => boolean {
  const exact = new Set(patterns.filter(pattern => pattern.kind === 'exact').map(pattern => pattern.text))
  const others = patterns.filter(pattern => pattern.kind !== 'exact').map(pattern => pattern.matches)
  return path => exact.has(path) || others.some(matches => matches(path))
}
