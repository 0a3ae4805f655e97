/**
 * White space as Go's unicode.IsSpace has it, because BuildKit trims with it: JavaScript's `trim` also takes U+FEFF
 * away and leaves U+0085.
 */
export function isSpace(code: number): boolean {
  if (code <= 0x20) return code === 0x20 || (code >= 9 && code <= 13)
  if (code < 0x85) return false
  return (
    code === 0x85 ||
    code === 0xa0 ||
    code === 0x1680 ||
    (code >= 0x2000 && code <= 0x200a) ||
    code === 0x2028 ||
    code === 0x2029 ||
    code === 0x202f ||
    code === 0x205f ||
    code === 0x3000
  )
}

/** Tab, VT, FF, CR and blank: what separates words of an instruction. */
export function isBlank(code: number): boolean {
  return code === 0x20 || code === 9 || (code >= 11 && code <= 13)
}

/** Index of the first character that is no white space, or the length. */
export function skipSpace(text: string, from = 0): number {
  let at = from
  while (at < text.length) {
    const code = text.charCodeAt(at)
    if ((code > 0x20 && code < 0x85) || !isSpace(code)) break
    at++
  }
  return at
}

/** The end of `text` without its trailing white space. */
export function spaceEnd(text: string): number {
  let end = text.length
  while (end > 0) {
    const code = text.charCodeAt(end - 1)
    if ((code > 0x20 && code < 0x85) || !isSpace(code)) break
    end--
  }
  return end
}

export function trimSpace(text: string): string {
  const end = spaceEnd(text)
  return text.slice(Math.min(skipSpace(text), end), end)
}
