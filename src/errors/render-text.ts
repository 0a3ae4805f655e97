const SGR = /\x1b\[[0-9;]*m/g
const ASCII = /^[\x20-\x7e]*$/

/** East Asian Wide and Fullwidth (UAX #11); what Unicode calls ambiguous counts as narrow, as terminals default to. */
const WIDE =
  /[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{1aff0}-\u{1b2ff}\u{20000}-\u{3fffd}]|(?![\u{1f1e6}-\u{1f1ff}])\p{Emoji_Presentation}/u
const ZERO = /[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff]/u

const SKIN_TONE = /[\u{1f3fb}-\u{1f3ff}]/u

/** Columns of each character in turn: joined emoji and combining marks add nothing, an emoji selector widens. */
function* columnsOf(text: string): Generator<[character: string, columns: number]> {
  let before = 0
  let joined = false
  for (const character of text) {
    let columns = WIDE.test(character) ? 2 : ZERO.test(character) ? 0 : 1
    if (joined || (before === 2 && SKIN_TONE.test(character))) columns = 0
    if (character === '\ufe0f' && before === 1) columns = 1
    joined = character === '\u200d'
    if (columns > 0) before = columns
    yield [character, columns]
  }
}

/** Columns that `text` takes on a terminal; SGR sequences count nothing. */
export function width(text: string): number {
  if (ASCII.test(text)) return text.length
  let columns = 0
  for (const [, w] of columnsOf(text.replace(SGR, ''))) columns += w
  return columns
}

export function padEnd(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - width(text)))
}

export function padStart(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - width(text))) + text
}

/** `text` cut to at most `columns`, with an ellipsis where something is missing; colours stay closed. */
export function truncate(text: string, columns: number, ellipsis = '…'): string {
  if (width(text) <= columns) return text
  const room = Math.max(0, columns - width(ellipsis))
  let out = ''
  let used = 0
  let colored = false
  let position = 0
  for (const match of [...text.matchAll(SGR), undefined]) {
    for (const [character, w] of columnsOf(text.slice(position, match?.index))) {
      if (used + w > room) return out + (width(ellipsis) <= columns ? ellipsis : '') + (colored ? '\x1b[0m' : '')
      out += character
      used += w
    }
    if (match === undefined) break
    out += match[0]
    colored = true
    position = match.index + match[0].length
  }
  return out
}

/**
 * Breaks at spaces so that lines fit into `columns`. Words that are too long (paths, digests, commands) stay whole so
 * that they can be copied; text of wide characters, which has no spaces, breaks between them. Line breaks and the
 * indentation of each line are kept.
 */
export function wrap(text: string, columns: number): string[] {
  if (!Number.isFinite(columns)) return text.split('\n')
  return text.split('\n').flatMap(line => {
    const indent = /^ */.exec(line)![0]
    const lines: string[] = []
    let current = indent
    for (const word of line.slice(indent.length).split(' ').flatMap(pieces)) {
      const glue = current === indent || word.glued ? '' : ' '
      if (current !== indent && width(current) + glue.length + width(word.text) > columns) {
        lines.push(current)
        current = indent + word.text
      } else current += glue + word.text
    }
    return [...lines, current]
  })
}

const UNSPACED =
  /[\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60]|[^\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60]+/gu

function pieces(word: string): { text: string; glued: boolean }[] {
  const parts = ASCII.test(word) ? [word] : (word.match(UNSPACED) ?? [word])
  return parts.map((text, index) => ({ text, glued: index > 0 }))
}

/** ECMA-48 control sequences and strings, in their 7-bit and 8-bit forms; unfinished ones do not match. */
const SEQUENCES =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-OQ-WYZ\\`-~]/g
/** Controls, marks that turn the direction of text or break lines, and bytes that were no UTF-8 (U+DC80..U+DCFF). */
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\u{dc80}-\u{dcff}]/u
const UNSAFE_ALL = new RegExp(UNSAFE, 'gu')

/**
 * One line that is safe to print: control sequences are gone, tabs are spaces, every other control character is shown
 * as `\x07` or `\u202e`.
 */
export function sanitize(line: string): string {
  if (!UNSAFE.test(line)) return line
  return expandTabs(line.replace(SEQUENCES, '')).replace(UNSAFE_ALL, show)
}

/** The same for text of several lines. */
export function sanitizeText(text: string): string {
  return text.split(/\r?\n/).map(sanitize).join('\n')
}

function show(character: string): string {
  const code = character.codePointAt(0)!
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`
  if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`
  return `\\u${code.toString(16).padStart(4, '0')}`
}

function expandTabs(line: string): string {
  if (!line.includes('\t')) return line
  const [first = '', ...rest] = line.split('\t')
  let out = first
  for (const part of rest) out += ' '.repeat(8 - (width(out) % 8)) + part
  return out
}
