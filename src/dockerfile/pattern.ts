/** `*` and `?` of a pattern; any other token is one character that stands for itself. */
const STAR = Symbol('*')
const ANY = Symbol('?')
type Token = string | typeof STAR | typeof ANY
/** The tokens between the stars. */
type Segments = readonly (readonly Token[])[]
type Text = string | readonly string[]

/** Pattern and value that would take longer are refused: nobody's build needs it, and nothing may hang. */
const STEPS = 50_000_000

/** A pattern that is not well formed, or too much work; the message is for the user. */
export class PatternFault extends Error {}

/** Removes the shortest or longest prefix that matches (`${x#p}`, `${x##p}`). */
export function removePrefix(pattern: string, value: string, longest: boolean): string {
  const text = characters(value)
  const end = matcher(parsePattern(Array.from(pattern)), text)(0, longest)
  return end < 0 ? value : join(text, end, text.length)
}

/** Removes the shortest or longest suffix that matches (`${x%p}`, `${x%%p}`), as a prefix of the reversed text. */
export function removeSuffix(pattern: string, value: string, longest: boolean): string {
  const text = Array.from(value).reverse()
  const end = matcher(parsePattern(reversePattern(pattern)), text)(0, longest)
  return end < 0 ? value : text.slice(end).reverse().join('')
}

/**
 * Replaces the first (`${x/p/r}`) or all (`${x//p/r}`) of the longest matches. In BuildKit, and so here, `$1`, `$name`
 * and `$$` in the replacement mean something with `//` only (its regular expressions come through).
 * `limit` is the most characters that the result may have.
 */
export function replaceMatches(
  pattern: string,
  replacement: string,
  value: string,
  all: boolean,
  limit: number,
): string {
  const text = characters(value)
  const match = matcher(parsePattern(Array.from(pattern)), text)
  let out = ''
  let copied = 0
  for (let from = 0; from <= text.length; ) {
    let start = from
    let end = match(start, true)
    while (end < 0 && start < text.length) end = match(++start, true)
    if (end < 0) break
    if (!all) return join(text, 0, start) + replacement + join(text, end, text.length)
    out += join(text, copied, start)
    // An empty match right after another match is none.
    if (end > copied || start === 0) out += template(replacement, join(text, start, end))
    if (out.length > limit) throw new PatternFault('the result is too long')
    copied = end
    from = end > from ? end : from + 1
  }
  return out + join(text, copied, text.length)
}

function characters(value: string): Text {
  return /[\ud800-\udfff]/.test(value) ? Array.from(value) : value
}

function join(text: Text, from: number, to: number): string {
  return typeof text === 'string' ? text.slice(from, to) : text.slice(from, to).join('')
}

function parsePattern(pattern: readonly string[]): Segments {
  const segments: Token[][] = [[]]
  // A byte order mark is dropped, as everywhere that Go's text/scanner reads.
  for (let at = pattern[0] === '\ufeff' ? 1 : 0; at < pattern.length; at++) {
    let token: Token = pattern[at]!
    if (token === '*') {
      segments.push([])
      continue
    }
    if (token === '?') token = ANY
    else if (token === '\\') {
      const next = pattern[at + 1]
      // The escape of "}" and "/" belongs to ${…}, not to the pattern.
      if (next === '}' || next === '/') continue
      if (next === undefined) throw new PatternFault('a "\\" at the end of the pattern escapes nothing')
      if (next !== '*' && next !== '?' && next !== '\\')
        throw new PatternFault(`invalid escape "\\${next}": only \\* \\? and \\\\ are known in a pattern`)
      token = next
      at++
    }
    segments.at(-1)!.push(token)
  }
  return segments
}

/** Reversed, but `\*` stays an escaped star. */
function reversePattern(pattern: string): string[] {
  const out: string[] = []
  const characters = Array.from(pattern)
  for (let at = 0; at < characters.length; at++)
    if (characters[at] === '\\' && at + 1 < characters.length) {
      out.push(characters[at + 1]!, '\\')
      at++
    } else out.push(characters[at]!)
  return out.reverse()
}

/** Returns the end of the shortest or longest match that begins at `start`, or -1. A star does not cross a newline. */
function matcher(segments: Segments, text: Text): (start: number, longest: boolean) => number {
  let steps = 0
  const fits = (segment: readonly Token[], at: number): boolean => {
    if (at + segment.length > text.length) return false
    for (let i = 0; i < segment.length; i++) {
      if (++steps > STEPS) throw new PatternFault('pattern and value are too long to be compared')
      const token = segment[i]
      if (token === ANY ? text[at + i] === '\n' : token !== text[at + i]) return false
    }
    return true
  }
  return (start, longest) => {
    if (++steps > STEPS) throw new PatternFault('pattern and value are too long to be compared')
    if (!fits(segments[0]!, start)) return -1
    let at = start + segments[0]!.length
    for (let i = 1; i < segments.length; i++) {
      const segment = segments[i]!
      let stop = at
      while (stop < text.length && text[stop] !== '\n') stop++
      steps += stop - at
      // Only the last segment decides how long the match is: the others as early as possible lose nothing.
      const backwards = longest && i === segments.length - 1
      let found = backwards ? Math.min(stop, text.length - segment.length) : at
      if (backwards) while (found >= at && !fits(segment, found)) found--
      else while (found <= stop && !fits(segment, found)) found++
      if (found < at || found > stop) return -1
      at = found + segment.length
    }
    return at
  }
}

/** Go's regexp template: `$$` is a dollar, `$0` the match, other names and numbers are groups that do not exist. */
function template(replacement: string, match: string): string {
  if (!replacement.includes('$')) return replacement
  return replacement.replace(/\$(?:\$|\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))/gu, (whole, braced, bare) =>
    whole === '$$' ? '$' : (braced ?? bare) === '0' ? match : '',
  )
}
