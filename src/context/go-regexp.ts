/**
 * The part of Go's regular expressions that moby's patternmatcher can produce from an ignore pattern: characters, classes,
 * `[^/]*`, `(.*\/)?`, `.*` and escapes. Patterns come from strangers, so one with many repetitions is not given to a
 * backtracking engine. (patternmatcher forgets to escape `|`, `{` and `}`, so that `a|b*` is an alternative there; here they
 * are the characters that they look like.)
 */
type Test = (character: string) => boolean
type Token =
  | { readonly kind: 'one' | 'many'; readonly source: string }
  /** `(.*\/)?` */
  | { readonly kind: 'folders' }
  | { readonly kind: 'assert'; readonly source: string }

const POSIX: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t ',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`\\{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
}
const PERL: Readonly<Record<string, string>> = {
  d: '[0-9]',
  D: '[^0-9]',
  s: '[\\t\\n\\f\\r ]',
  S: '[^\\t\\n\\f\\r ]',
  w: '[0-9A-Za-z_]',
  W: '[^0-9A-Za-z_]',
}
const CONTROL: Readonly<Record<string, string>> = { a: '\x07', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }
const ASSERTIONS: Readonly<Record<string, string>> = { b: '\\b', B: '\\B', A: '^', z: '$' }

/** More repetitions than this in one pattern, or so many over a long path (the time is their power): no backtracking. */
const MAX_REPETITIONS = 3
const LONG = 256

const quote = (character: string): string => character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')
const quoteInClass = (character: string): string => character.replace(/[\\^$.*+?()[\]{}|/-]/, '\\$&')

/** A test of whole paths for the body of a Go regular expression; undefined when Go would refuse it. */
export function compileGoRegexp(body: string): ((path: string) => boolean) | undefined {
  const tokens = parse([...body])
  if (tokens === undefined) return undefined
  const repetitions = tokens.filter(token => token.kind === 'many' || token.kind === 'folders').length
  if (repetitions > MAX_REPETITIONS) return simulate(tokens)
  const source = tokens.map(token =>
    token.kind === 'folders' ? '(?:[^\\n]*\\/)?' : token.kind === 'many' ? `${token.source}*` : token.source,
  )
  const regexp = new RegExp(`^${source.join('')}$`, 'u')
  if (repetitions < MAX_REPETITIONS) return path => regexp.test(path)
  let slow: ((path: string) => boolean) | undefined
  return path => {
    if (path.length <= LONG) return regexp.test(path)
    slow ??= simulate(tokens)
    return slow(path)
  }
}

function parse(body: readonly string[]): Token[] | undefined {
  const tokens: Token[] = []
  for (let i = 0; i < body.length; ) {
    const character = body[i]!
    let source: string
    if (character === '(') {
      tokens.push({ kind: 'folders' })
      i += '(.*/)?'.length
      continue
    }
    if (character === '\\') {
      const next = body[i + 1]
      i += 2
      if (next === undefined) return undefined
      const assertion = ASSERTIONS[next]
      if (assertion !== undefined) {
        tokens.push({ kind: 'assert', source: assertion })
        continue
      }
      const literal = CONTROL[next] ?? (/[0-9A-Za-z]|[^\0-\x7f]/u.test(next) ? undefined : next)
      if (literal === undefined && PERL[next] === undefined) return undefined
      source = PERL[next] ?? quote(literal!)
    } else if (character === '[') {
      const parsed = parseClass(body, i + 1)
      if (parsed === undefined) return undefined
      source = parsed.source
      i = parsed.end
    } else if (character === '^') {
      tokens.push({ kind: 'assert', source: '^' })
      i++
      continue
    } else {
      source = character === '.' ? '[^\\n]' : quote(character)
      i++
    }
    const many = body[i] === '*'
    tokens.push({ kind: many ? 'many' : 'one', source })
    if (many) i++
  }
  return tokens
}

/** A class from behind its "[": Go's rules, where "]" in first place and "[" anywhere stand for themselves. */
function parseClass(
  body: readonly string[],
  start: number,
): { readonly source: string; readonly end: number } | undefined {
  let i = start
  const negated = body[i] === '^'
  if (negated) i++
  const parts: string[] = []
  const single = (): string | undefined => {
    if (body[i] !== '\\') return body[i++]
    const next = body[i + 1]
    i += 2
    if (next === undefined) return undefined
    return CONTROL[next] ?? (/[0-9A-Za-z]|[^\0-\x7f]/u.test(next) ? undefined : next)
  }
  for (let first = true; first || body[i] !== ']'; first = false) {
    if (i >= body.length) return undefined
    if (body[i] === '[' && body[i + 1] === ':') {
      const close = body.indexOf(':', i + 2)
      if (close > 0 && body[close + 1] === ']') {
        const word = body.slice(i + 2, close).join('')
        const set = POSIX[word.replace(/^\^/, '')]
        if (set === undefined) return undefined
        // A negated set inside of a class has no counterpart without the v flag; nobody writes it.
        if (word.startsWith('^')) return undefined
        parts.push(set)
        i = close + 2
        continue
      }
    }
    const perl = body[i] === '\\' ? PERL[body[i + 1] ?? ''] : undefined
    if (perl !== undefined) {
      if (perl.startsWith('[^')) parts.push(`\\${body[i + 1]}`)
      else parts.push(perl.slice(1, -1))
      i += 2
      continue
    }
    const low = single()
    if (low === undefined) return undefined
    let high = low
    if (body[i] === '-' && i + 1 < body.length && body[i + 1] !== ']') {
      i++
      const end = single()
      if (end === undefined || end.codePointAt(0)! < low.codePointAt(0)!) return undefined
      high = end
    }
    parts.push(high === low ? quoteInClass(low) : `${quoteInClass(low)}-${quoteInClass(high)}`)
  }
  return { source: `[${negated ? '^' : ''}${parts.join('')}]`, end: i + 1 }
}

/** All ways at once (Thompson): time is length times tokens, whatever the pattern. */
function simulate(tokens: readonly Token[]): (path: string) => boolean {
  const tests = tokens.map((token): Test => {
    if (token.kind === 'folders') return character => character !== '\n'
    const regexp = new RegExp(`^${token.source}$`, 'u')
    return character => regexp.test(character)
  })
  const word = (character: string | undefined): boolean => character !== undefined && /[0-9A-Za-z_]/.test(character)
  return path => {
    const characters = [...path]
    // Even: before token n; odd: inside of the repetition of token n.
    let active = new Set<number>()
    const enter = (into: Set<number>, state: number, at: number): void => {
      if (into.has(state)) return
      into.add(state)
      const token = tokens[state >> 1]
      if (token === undefined || state % 2 === 1) return
      if (token.kind === 'many') enter(into, state + 2, at)
      if (token.kind === 'folders') {
        into.add(state + 1)
        enter(into, state + 2, at)
      }
      if (token.kind !== 'assert') return
      const boundary = word(characters[at - 1]) !== word(characters[at])
      const holds = { '^': at === 0, $: at === characters.length, '\\b': boundary, '\\B': !boundary }[token.source]
      if (holds === true) enter(into, state + 2, at)
    }
    enter(active, 0, 0)
    for (const [at, character] of characters.entries()) {
      const next = new Set<number>()
      for (const state of active) {
        const token = tokens[state >> 1]
        if (token === undefined || token.kind === 'assert' || !tests[state >> 1]!(character)) continue
        if (token.kind === 'one') enter(next, state + 2, at + 1)
        else if (token.kind === 'many') enter(next, state, at + 1)
        else if (state % 2 === 1) {
          next.add(state)
          if (character === '/') enter(next, state + 1, at + 1)
        }
      }
      if (next.size === 0) return false
      active = next
    }
    return active.has(tokens.length * 2)
  }
}
