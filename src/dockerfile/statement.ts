import type { Flag, KeyValue } from './ast.ts'
import { type Fail, quoted } from './fault.ts'
import { parseJsonForm } from './json-form.ts'
import { type LogicalLine, rangeIn } from './reader.ts'
import { isBlank, isSpace, skipSpace, spaceEnd, trimSpace } from './white-space.ts'

/** An instruction split into its parts, before anything is known of their meaning. */
export interface Statement {
  /** Lower case. */
  readonly name: string
  readonly written: string
  /** Where it begins in the logical line. */
  readonly offset: number
  readonly original: string
  readonly flags: readonly Flag[]
  readonly words: readonly string[]
  /** The words come from a JSON array. */
  readonly json: boolean
  /** ENV and LABEL. */
  readonly pairs: readonly KeyValue[]
  readonly legacy: boolean
  /** What ONBUILD holds back. */
  readonly child?: Statement
}

type Shape = 'list' | 'command' | 'text' | 'words' | 'pairs' | 'fields' | 'health' | 'onbuild'

export const SHAPES: Readonly<Record<string, Shape>> = {
  add: 'list',
  arg: 'words',
  cmd: 'command',
  copy: 'list',
  entrypoint: 'command',
  env: 'pairs',
  expose: 'fields',
  from: 'fields',
  healthcheck: 'health',
  label: 'pairs',
  maintainer: 'text',
  onbuild: 'onbuild',
  run: 'command',
  shell: 'command',
  stopsignal: 'text',
  user: 'text',
  volume: 'list',
  workdir: 'text',
}

const NONE: readonly never[] = []
const KEYWORD = /[^\t\v\f\r ]*/y

/** Splits a logical line, or the part of it from `offset` on when it stands in an ONBUILD. */
export function splitStatement(line: LogicalLine, offset: number, escapeWith: string, fail: Fail): Statement {
  const original = offset === 0 ? line.text : line.text.slice(offset)
  const end = spaceEnd(original)
  const start = Math.min(skipSpace(original), end)
  const text = end === original.length ? original : original.slice(0, end)
  KEYWORD.lastIndex = start
  const written = KEYWORD.exec(text)?.[0] ?? ''
  const at = start + written.length
  const { flags, next } = readFlags(text, at, escapeWith, (from, to) => rangeIn(line, offset + from, offset + to))
  const name = written.toLowerCase()
  const argument = skipSpace(text, next)
  const rest = text.slice(argument)
  const base = { name, written, offset: offset + start, original, flags, json: false, pairs: NONE, legacy: false }
  const shape = Object.hasOwn(SHAPES, name) ? SHAPES[name] : undefined
  if (rest === '' && shape !== 'command') return { ...base, words: NONE }
  switch (shape) {
    case 'text':
      return { ...base, words: [rest] }
    case 'fields':
      return { ...base, words: fields(rest) }
    case 'words':
      return { ...base, words: quotedWords(rest, escapeWith) }
    case 'list':
      return { ...base, ...(jsonWords(rest, fail) ?? { words: fields(rest) }) }
    case 'command':
      return { ...base, ...commandWords(rest, fail) }
    case 'health': {
      const [type] = fields(rest)
      const command = rest.slice(type!.length).replace(/^[\t\v\f\r ]+/, '')
      const words = commandWords(command, fail)
      return { ...base, json: words.json, words: [type!, ...words.words] }
    }
    case 'pairs':
      return { ...base, words: NONE, ...pairs(rest, name.toUpperCase(), escapeWith, fail) }
    case 'onbuild':
      // ONBUILD ONBUILD is refused later, without descending.
      return offset > 0
        ? { ...base, words: [rest] }
        : { ...base, words: [rest], child: splitStatement(line, offset + argument, escapeWith, fail) }
    default:
      return { ...base, words: NONE }
  }
}

// A flag without quotes and escapes, which nearly all are: a regular expression is much faster before the JIT is warm.
const PLAIN_FLAG = /--([a-z-]+)(?:=([^\t\v\f\r "'\\`]*))?(?=[\t\v\f\r ])/y

/** Flags (`--name[=value]`) before the arguments: quotes and escapes go, a bare `--` ends them. */
function readFlags(
  text: string,
  from: number,
  escapeWith: string,
  range: (from: number, to: number) => Flag['range'],
): { readonly flags: readonly Flag[]; readonly next: number } {
  const end = text.length
  let at = from
  let flags: Flag[] | undefined
  for (;;) {
    while (at < end && isBlank(text.charCodeAt(at))) at++
    if (at + 1 >= end || text[at] !== '-' || text[at + 1] !== '-') return { flags: flags ?? NONE, next: at }
    flags ??= []
    PLAIN_FLAG.lastIndex = at
    const plain = PLAIN_FLAG.exec(text)
    if (plain !== null) {
      const [whole, name, value] = plain as unknown as [string, string, string | undefined]
      const own = range(at, at + whole.length)
      at += whole.length
      flags.push(value === undefined ? { name, range: own } : { name, value, range: own })
      continue
    }
    const start = at
    let word = ''
    let quote = ''
    for (; at < end; at++) {
      const ch = text[at]!
      if (quote === '' && isBlank(ch.charCodeAt(0))) break
      if (quote === '' && (ch === '"' || ch === "'")) quote = ch
      else if (ch === quote) quote = ''
      else if (ch !== escapeWith) word += ch
      else if (++at < end) word += text[at]!
    }
    at = Math.min(at, end)
    if (word === '--') return { flags, next: at }
    const equals = word.indexOf('=')
    const name = word.slice(2, equals < 0 ? undefined : equals)
    const value = equals < 0 ? {} : { value: word.slice(equals + 1) }
    flags.push({ name, ...value, range: range(start, at) })
  }
}

function fields(text: string): readonly string[] {
  return text.split(/[\t\v\f\r ]+/)
}

function jsonWords(text: string, fail: Fail): { readonly words: readonly string[]; readonly json: true } | undefined {
  const words = parseJsonForm(text)
  if (words === 'mixed')
    throw fail(
      'when using JSON array syntax, arrays must be comprised of strings only',
      'put every item into double quotes: ["sleep", "10"]',
    )
  return words && { words, json: true }
}

function commandWords(text: string, fail: Fail): { readonly words: readonly string[]; readonly json: boolean } {
  return jsonWords(text, fail) ?? { words: text === '' ? NONE : [text], json: false }
}

// Steps over what no rule of words looks at.
const ORDINARY = /[!#-&(-[\]-_a-~]*/y

/** Words with their quotes and escapes; an escape at the end of the line is dropped. */
function quotedWords(text: string, escapeWith: string): readonly string[] {
  if (/^[!#-&(-[\]-_a-~\t\v\f\r ]*$/.test(text)) return fields(text)
  const words: string[] = []
  let at = 0
  while (at < text.length) {
    if (isSpace(text.charCodeAt(at))) {
      at++
      continue
    }
    let quote = ''
    let cut = 0
    const start = at
    for (; at < text.length; at++) {
      ORDINARY.lastIndex = at
      at += ORDINARY.exec(text)![0].length
      if (at >= text.length) break
      const ch = text[at]!
      if (quote === '' && isSpace(ch.charCodeAt(0))) break
      if (ch === escapeWith && quote !== "'") {
        if (at + 1 === text.length) cut = 1
        else at++
      } else if (quote === '') quote = ch === '"' || ch === "'" ? ch : ''
      else if (ch === quote) quote = ''
    }
    if (at - cut > start) words.push(text.slice(start, at - cut))
  }
  return words
}

function pairs(
  rest: string,
  name: string,
  escapeWith: string,
  fail: Fail,
): { readonly pairs: readonly KeyValue[]; readonly legacy: boolean } {
  const words = quotedWords(rest, escapeWith)
  if (words.length === 0) return { pairs: NONE, legacy: false }
  if (!words[0]!.includes('=')) {
    const match = /^([^\t\v\f\r ]*)[\t\v\f\r ]+(.*)$/s.exec(rest)
    if (match === null) throw fail(`${name} must have two arguments`, `write ${name} ${trimSpace(rest)}=value`)
    return { pairs: [{ key: match[1]!, value: match[2]! }], legacy: true }
  }
  return {
    legacy: false,
    pairs: words.map(word => {
      const equals = word.indexOf('=')
      if (equals < 0)
        throw fail(
          `cannot find = in ${quoted(word)}, but ${name} takes name=value`,
          'put a value with blanks into quotes: name="a value"',
        )
      return { key: word.slice(0, equals), value: word.slice(equals + 1) }
    }),
  }
}
