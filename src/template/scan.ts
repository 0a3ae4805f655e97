import { templateFault } from './fault.ts'

export interface Token {
  readonly kind: 'word' | 'field' | 'variable' | 'string' | 'number' | 'sign' | 'end'
  readonly text: string
  readonly at: number
  /** Directly behind the token before it: `$x.Name` is one operand, `$x .Name` are two. */
  readonly joined: boolean
}

/** Text, or the tokens of what stands between `{{` and `}}`. */
export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly tokens: readonly Token[]; readonly at: number }

const TOKEN =
  /\s+|(?<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?<number>[+-]?(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?))(?![\w])|(?<field>\.[\p{L}_][\p{L}\p{N}_]*)|(?<variable>\$[\p{L}\p{N}_]*)|(?<word>[\p{L}_][\p{L}\p{N}_]*)|(?<sign>:=|[=|(),.])/uy

/** Cuts a template into text and actions; white space goes where `{{-` and `-}}` say so, comments go. */
export function scan(source: string): Piece[] {
  const pieces: Piece[] = []
  let at = 0
  let trim = false
  const text = (end: number, trimEnd: boolean): void => {
    let piece = source.slice(at, end)
    if (trim) piece = piece.trimStart()
    if (trimEnd) piece = piece.trimEnd()
    if (piece !== '') pieces.push({ kind: 'text', text: piece })
  }
  for (;;) {
    const open = source.indexOf('{{', at)
    if (open < 0) break
    const trimLeft = /^\{\{-\s/.test(source.slice(open, open + 4))
    text(open, trimLeft)
    const begin = open + (trimLeft ? 3 : 2)
    const comment = /^\s*\/\*[\s\S]*?\*\/\s*(-)?\}\}/.exec(source.slice(begin))
    if (comment) {
      at = begin + comment[0].length
      trim = comment[1] !== undefined
      continue
    }
    const action = scanAction(source, begin, open)
    pieces.push({ kind: 'action', tokens: action.tokens, at: open })
    at = action.end
    trim = action.trim
  }
  text(source.length, false)
  return pieces
}

function scanAction(source: string, begin: number, open: number): { tokens: Token[]; end: number; trim: boolean } {
  const tokens: Token[] = []
  let at = begin
  for (;;) {
    const close = /^\s-\}\}|^\}\}/.exec(source.slice(at, at + 4))
    if (close) {
      tokens.push({ kind: 'end', text: '}}', at, joined: false })
      return { tokens, end: at + close[0].length, trim: close[0] !== '}}' }
    }
    if (at >= source.length) throw templateFault(source, open, 'this "{{" has no "}}"')
    TOKEN.lastIndex = at
    const match = TOKEN.exec(source)
    if (match === null) {
      const unclosed = source[at] === '"' || source[at] === '`'
      throw templateFault(source, at, unclosed ? 'this string does not end' : `"${source[at]}" is not understood here`)
    }
    const { string, number, field, variable, word, sign } = match.groups as Record<string, string | undefined>
    const joined = at > begin && !/\s/.test(source[at - 1]!)
    // `{{.Size -}}`: the white space belongs to the marker that follows it
    const space = string ?? number ?? field ?? variable ?? word ?? sign
    if (space === undefined) {
      at += /^\s+-\}\}/.test(source.slice(at)) ? match[0].length - 1 : match[0].length
      if (/^\s-\}\}/.test(source.slice(at))) continue
      at = Math.max(at, TOKEN.lastIndex)
      continue
    }
    const kind =
      string !== undefined
        ? 'string'
        : number !== undefined
          ? 'number'
          : field !== undefined
            ? 'field'
            : variable !== undefined
              ? 'variable'
              : word !== undefined
                ? 'word'
                : 'sign'
    tokens.push({ kind, text: space, at, joined })
    at += space.length
  }
}
