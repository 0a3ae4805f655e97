/** One challenge of WWW-Authenticate (RFC 9110 §11.6.1). Scheme and parameter names in lower case. */
export interface Challenge {
  readonly scheme: string
  readonly parameters: Readonly<Record<string, string>>
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))/y

/**
 * Reads every challenge of the header; several headers come joined by commas, as parameters are. What cannot be read
 * ends the list: the challenges before it count.
 */
export function parseChallenges(header: string): Challenge[] {
  const out: { scheme: string; parameters: Record<string, string> }[] = []
  const text = header.slice(0, 16 * 1024)
  let at = 0
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0]
    if (found !== undefined) at += found.length
    return found
  }
  const space = () => match(/[\s,]*/y)
  for (;;) {
    space()
    const word = match(TOKEN)
    if (word === undefined) return out
    match(/\s*/y)
    const current = out.at(-1)
    if (text[at] === '=' && current !== undefined) {
      at++
      match(/\s*/y)
      const value = text[at] === '"' ? quoted() : match(TOKEN)
      if (value === undefined) return out
      current.parameters[word.toLowerCase()] ??= value
      continue
    }
    out.push({ scheme: word.toLowerCase(), parameters: {} })
    // Negotiate and its kin carry one opaque word instead of parameters.
    match(TOKEN68)
  }

  function quoted(): string | undefined {
    const found = match(/"(?:[^"\\]|\\.)*"/y)
    return found?.slice(1, -1).replace(/\\(.)/g, '$1')
  }
}
