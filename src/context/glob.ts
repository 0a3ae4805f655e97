type Token =
  | { readonly kind: 'star' }
  | { readonly kind: 'any' }
  | { readonly kind: 'literal'; readonly character: string }
  | { readonly kind: 'class'; readonly negated: boolean; readonly ranges: readonly (readonly [number, number])[] }

/** Whether COPY takes the path as a pattern: `*`, `?` or `[` that no backslash stands before. */
export function hasWildcards(path: string): boolean {
  return /^(?:[^\\]|\\.)*?[*?[]/s.test(path.replace(/\\$/, ''))
}

function parse(pattern: string): Token[] | undefined {
  const characters = [...pattern]
  const tokens: Token[] = []
  let i = 0
  const escaped = (): number | undefined => {
    if (characters[i] === '-' || characters[i] === ']') return undefined
    if (characters[i] === '\\') i++
    const code = characters[i++]?.codePointAt(0)
    return i < characters.length ? code : undefined
  }
  while (i < characters.length) {
    const character = characters[i++]!
    if (character === '*') {
      if (tokens.at(-1)?.kind !== 'star') tokens.push({ kind: 'star' })
    } else if (character === '?') tokens.push({ kind: 'any' })
    else if (character === '[') {
      const negated = characters[i] === '^'
      if (negated) i++
      const ranges: [number, number][] = []
      while (ranges.length === 0 || characters[i] !== ']') {
        const low = escaped()
        if (low === undefined) return undefined
        let high: number | undefined = low
        if (characters[i] === '-') {
          i++
          high = escaped()
          if (high === undefined) return undefined
        }
        ranges.push([low, high])
      }
      i++
      tokens.push({ kind: 'class', negated, ranges })
    } else {
      const literal = character === '\\' ? characters[i++] : character
      if (literal === undefined) return undefined
      tokens.push({ kind: 'literal', character: literal })
    }
  }
  return tokens
}

function fits(token: Token, character: string): boolean {
  if (token.kind === 'literal') return token.character === character
  if (token.kind === 'any') return character !== '/'
  if (token.kind !== 'class') return false
  const code = character.codePointAt(0)!
  return token.ranges.some(([low, high]) => low <= code && code <= high) !== token.negated
}

/**
 * Go's filepath.Match on Unix: `*` and `?` do not match "/", `[^…]` negates, a backslash takes the next character as it
 * is. Returns a test, or undefined for a malformed pattern.
 */
export function compileGlob(pattern: string): ((name: string) => boolean) | undefined {
  const tokens = parse(pattern)
  if (tokens === undefined) return undefined
  return name => {
    const characters = [...name]
    let [t, c] = [0, 0]
    // Only the last star ever has to take more: what stands before it matched at the earliest place.
    let [starToken, starAt] = [-1, 0]
    while (c < characters.length || t < tokens.length) {
      const token = tokens[t]
      if (token?.kind === 'star') {
        starToken = t++
        starAt = c
        continue
      }
      if (token !== undefined && c < characters.length && fits(token, characters[c]!)) {
        t++
        c++
        continue
      }
      if (starToken < 0 || starAt >= characters.length || characters[starAt] === '/') return false
      c = ++starAt
      t = starToken + 1
    }
    return true
  }
}
