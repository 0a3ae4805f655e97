import { ArchimageError, type Place } from '../errors/error.ts'
import { quoted } from './fault.ts'
import { PatternFault, removePrefix, removeSuffix, replaceMatches } from './pattern.ts'
import { isSpace } from './white-space.ts'

/** Where the values of variables come from; undefined means unset, which is not the same as empty. */
export interface Environment {
  get(name: string): string | undefined
}

export interface ExpandOptions {
  /** The escape character of the Dockerfile; `\` without it. */
  readonly escape?: '\\' | '`' | undefined
  /** Quotes are honoured but stay in the result (BuildKit's RawQuotes). */
  readonly keepQuotes?: boolean | undefined
  /** `$x` of an unset variable stays as it is written (BuildKit's SkipUnsetEnv). */
  readonly keepUnset?: boolean | undefined
  /** Names are asked for in upper case, as an environment of Windows has them. */
  readonly windows?: boolean | undefined
  /** What an error speaks of. */
  readonly place?: Place | undefined
}

export interface Expansion {
  readonly value: string
  /** Names that were asked for and are set. */
  readonly matched: readonly string[]
  /** Names that were asked for and are not set, also where a default stood in for them. */
  readonly unmatched: readonly string[]
}

/**
 * The value of a raw word: variables replaced, quotes and escapes removed (BuildKit's ProcessWord). Knows `$x`, `${x}`,
 * `:-` `-` `:+` `+` `:?` `?` `#` `##` `%` `%%` `/` `//`; positional and special parameters are empty.
 * Throws DOCKERFILE_INVALID for open quotes or braces, unknown modifiers and `${x:?}` of an unset variable.
 */
export function expandWord(word: string, env: Environment, options: ExpandOptions = {}): Expansion {
  if (isPlain(word, options.escape ?? '\\')) return { value: word, matched: [], unmatched: [] }
  return lex(word, env, modeOf(options))
}

/** As `expandWord`, then split at white space that is not quoted (BuildKit's ProcessWords). For EXPOSE. */
export function expandWords(
  word: string,
  env: Environment,
  options: ExpandOptions = {},
): { readonly words: readonly string[]; readonly matched: readonly string[]; readonly unmatched: readonly string[] } {
  const words = new Words()
  const { matched, unmatched } = lex(word, env, modeOf(options), words)
  return { words: words.done(), matched, unmatched }
}

/** The content of a COPY or ADD heredoc: quotes mean nothing there, and `\` escapes under every `# escape=`. */
export function expandHeredoc(content: string, env: Environment, options: ExpandOptions = {}): Expansion {
  if (!/[$\\\ufeff]/.test(content)) return { value: content, matched: [], unmatched: [] }
  return lex(content, env, { ...modeOf(options), escape: '\\', plainQuotes: true })
}

/** The words of a line with quotes and escapes as they are written; undefined when a quote or brace is open. */
export function rawWords(line: string): readonly string[] | undefined {
  const words = new Words()
  try {
    lex(line, NOTHING, { ...HEREDOC_WORD, keepQuotes: true, keepEscapes: true }, words)
  } catch (error) {
    if (error instanceof ArchimageError) return undefined
    throw error
  }
  return words.done()
}

/** The words of a heredoc's delimiter, with its quotes or without; throws as `expandWord`. */
export function delimiterWords(text: string, keepQuotes: boolean): readonly string[] {
  const words = new Words()
  lex(text, NOTHING, { ...HEREDOC_WORD, keepQuotes }, words)
  return words.done()
}

/** How far a chain like `ENV a=$a$a` may grow a value, and how deep `${a:-${b:-…}}` may nest. */
const LONGEST = 8 << 20
const DEEPEST = 400

/** Go's text/scanner, which BuildKit reads words and patterns with, drops one at the beginning. */
const BYTE_ORDER_MARK = 0xfeff

interface Mode {
  readonly escape: string
  readonly keepQuotes: boolean
  readonly keepEscapes: boolean
  readonly keepUnset: boolean
  readonly plainQuotes: boolean
  readonly windows: boolean
  readonly place?: Place | undefined
}

const NOTHING: Environment = { get: () => undefined }
// Heredocs are always read with "\", whatever the escape directive says.
const HEREDOC_WORD: Mode = {
  escape: '\\',
  keepQuotes: false,
  keepEscapes: false,
  keepUnset: true,
  plainQuotes: false,
  windows: false,
}

function modeOf(options: ExpandOptions): Mode {
  return {
    escape: options.escape ?? '\\',
    keepQuotes: options.keepQuotes ?? false,
    keepEscapes: false,
    keepUnset: options.keepUnset ?? false,
    plainQuotes: false,
    windows: options.windows ?? false,
    place: options.place,
  }
}

function isPlain(word: string, token: string): boolean {
  return !/[$'"]/.test(word) && !word.includes(token) && word.charCodeAt(0) !== BYTE_ORDER_MARK
}

/** Collects words: text is split at white space unless it was quoted or escaped. */
class Words {
  readonly #words: string[] = []
  #word = ''

  add(text: string): void {
    this.#word += text
  }

  split(text: string): void {
    let from = 0
    for (let at = 0; at <= text.length; at++)
      if (at === text.length || isSpace(text.charCodeAt(at))) {
        this.#word += text.slice(from, at)
        if (at < text.length) this.#end()
        from = at + 1
      }
  }

  #end(): void {
    if (this.#word !== '') this.#words.push(this.#word)
    this.#word = ''
  }

  done(): readonly string[] {
    this.#end()
    return this.#words
  }
}

function lex(source: string, env: Environment, mode: Mode, words?: Words): Expansion {
  const matched = new Set<string>()
  const unmatched = new Set<string>()
  const escaper = mode.escape
  let at = source.charCodeAt(0) === BYTE_ORDER_MARK ? 1 : 0
  let keepEscapes = mode.keepEscapes
  let depth = 0

  const fail = (why: string, hint?: string): ArchimageError =>
    new ArchimageError('DOCKERFILE_INVALID', `cannot expand ${quoted(source)}: ${why}`, {
      ...(mode.place === undefined ? {} : { place: mode.place }),
      ...(hint === undefined ? {} : { hint }),
    })
  const openBrace = (): ArchimageError => fail('"}" is missing', 'close it, or write a dollar that is meant as \\$')

  const lookup = (name: string): string | undefined => {
    const value = env.get(mode.windows ? name.toUpperCase() : name)
    ;(value === undefined ? unmatched : matched).add(name)
    return value
  }

  const bounded = (text: string): string => {
    if (text.length > LONGEST) throw fail(`the result has more than ${LONGEST} characters`)
    return text
  }

  /** Reads up to `stop` (which it eats), or to the end. */
  const until = (stop: string | undefined, raw: boolean, into?: Words): string => {
    if (++depth > DEEPEST) throw fail(`substitutions are nested more than ${DEEPEST} deep`)
    const before = keepEscapes
    keepEscapes = raw
    let out = ''
    while (at < source.length) {
      const ch = source[at]!
      if (ch === stop) {
        at++
        keepEscapes = before
        depth--
        return out
      }
      let piece: string
      if (ch === '$') {
        piece = dollar()
        into?.split(piece)
      } else if (ch === '<') {
        piece = angle()
        into?.add(piece)
      } else if (ch === "'" && !mode.plainQuotes) {
        piece = singleQuoted()
        into?.add(piece)
      } else if (ch === '"' && !mode.plainQuotes) {
        piece = doubleQuoted()
        into?.add(piece)
      } else if (ch === escaper) {
        piece = (keepEscapes ? ch : '') + (source[at + 1] ?? '')
        at += 2
        into?.add(piece)
      } else {
        const from = at++
        while (at < source.length && !isSpecial(source[at]!, stop, escaper)) at++
        piece = source.slice(from, at)
        into?.split(piece)
      }
      out = bounded(out + piece)
    }
    if (stop === '/') throw fail('"/" is missing in ${…/…/…}')
    if (stop !== undefined) throw openBrace()
    return out
  }

  const singleQuoted = (): string => {
    const end = source.indexOf("'", at + 1)
    if (end < 0) throw fail("a single quote (') is not closed", "close it, or write \\' for an apostrophe")
    const from = mode.keepQuotes ? at : at + 1
    at = end + 1
    return source.slice(from, mode.keepQuotes ? at : end)
  }

  const doubleQuoted = (): string => {
    let out = mode.keepQuotes ? '"' : ''
    for (at++; at < source.length; ) {
      const ch = source[at]!
      if (ch === '"') {
        at++
        return mode.keepQuotes ? `${out}"` : out
      }
      if (ch === '$') {
        out = bounded(out + dollar())
        continue
      }
      at++
      if (ch === escaper) {
        if (keepEscapes) out += ch
        const next = source[at]
        if (next === undefined) break
        if (next === '"' || next === '$' || next === escaper) {
          out += next
          at++
          continue
        }
      }
      out += ch
    }
    throw fail('a double quote (") is not closed', 'close it, or write \\" for a quote')
  }

  /** `<<` keeps the blanks before its delimiter, so that `<< EOF` is one word. */
  const angle = (): string => {
    const from = at++
    if (source[at] !== '<') return '<'
    at++
    while (source[at] === ' ' || source[at] === '\t' || source[at] === '\r') at++
    return source.slice(from, at)
  }

  const dollar = (): string => {
    at++
    if (source[at] !== '{') {
      const name = variableName(source, at)
      at += name.length
      return name === '' ? '$' : (lookup(name) ?? (mode.keepUnset ? `$${name}` : ''))
    }
    at++
    const first = source[at]
    if (first === undefined) throw openBrace()
    if (first === '{' || first === '}' || first === ':') throw fail('a name must follow "${"')
    const name = variableName(source, at)
    at += name.length
    return substitution(name)
  }

  /** What stands after the name in `${name…}`. */
  const substitution = (name: string): string => {
    let modifier = source[at++]
    if (modifier === undefined) throw openBrace()
    if (modifier === '}') return lookup(name) ?? (mode.keepUnset ? `\${${name}}` : '')
    if (modifier === '/') return replacement(name)
    const orEmpty = modifier === ':'
    if (orEmpty) modifier = source[at++] ?? ''
    const written = `${orEmpty ? ':' : ''}${modifier}`
    const cut = modifier === '#' || modifier === '%'
    if (modifier === '') throw openBrace()
    // ":" with another character is refused below: where unset variables stay, BuildKit lets `${x:0:3}` pass.
    if (orEmpty ? cut : !'+-?#%'.includes(modifier)) throw unknown(written)
    const word = until('}', cut)
    const value = lookup(name)
    if (value === undefined && mode.keepUnset) return `\${${name}${written}${word}}`
    const missing = value === undefined || (orEmpty && value === '')
    switch (modifier) {
      case '-':
        return missing ? word : value
      case '+':
        return missing ? '' : word
      case '?':
        if (!missing) return value
        throw fail(
          `${name}: ${word || `is not allowed to be ${value === undefined ? 'unset' : 'empty'}`}`,
          `give it a value, for instance with --build-arg ${name}=… and ARG ${name}`,
        )
      case '#':
      case '%': {
        const longest = word[0] === modifier
        const remove = modifier === '#' ? removePrefix : removeSuffix
        return pattern(() => remove(longest ? word.slice(1) : word, value ?? '', longest))
      }
      default:
        throw unknown(written)
    }
  }

  const replacement = (name: string): string => {
    const all = source[at] === '/'
    if (all) at++
    const search = until('/', true)
    const by = until('}', true)
    const value = lookup(name)
    if (value === undefined && mode.keepUnset) return `\${${name}/${search}/${by}}`
    return pattern(() => replaceMatches(search, by, value ?? '', all, LONGEST))
  }

  const unknown = (modifier: string): ArchimageError =>
    fail(`unsupported modifier "${modifier}"`, 'known are :- - :+ + :? ? # ## % %% / and //')

  const pattern = (work: () => string): string => {
    try {
      return work()
    } catch (error) {
      if (error instanceof PatternFault) throw fail(error.message)
      throw error
    }
  }

  const value = until(undefined, keepEscapes, words)
  return { value, matched: [...matched], unmatched: [...unmatched] }
}

function isSpecial(ch: string, stop: string | undefined, escaper: string): boolean {
  return ch === '$' || ch === '<' || ch === "'" || ch === '"' || ch === escaper || ch === stop
}

const LETTER_OR_DIGIT = /^[\p{L}\p{Nd}_]$/u
const DIGIT = /^\p{Nd}$/u

/** A name of letters, digits and "_"; or digits only; or one special parameter. Empty when there is none. */
function variableName(source: string, from: number): string {
  let at = from
  let digits = false
  while (at < source.length) {
    const code = source.codePointAt(at)!
    const ch = code < 0x80 ? source[at]! : String.fromCodePoint(code)
    if (at === from) {
      digits = DIGIT.test(ch)
      if (!digits && '@*#?-$!'.includes(ch)) return ch
    }
    const word = code < 0x80 ? isWordCode(code) : LETTER_OR_DIGIT.test(ch)
    if (!word || (digits && !DIGIT.test(ch))) break
    at += ch.length
  }
  return source.slice(from, at)
}

function isWordCode(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || code === 95 || (code >= 97 && code <= 122)
}
