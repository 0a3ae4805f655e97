import { ArchimageError } from '../errors/error.ts'

export type TomlValue = string | number | boolean | readonly TomlItem[] | TomlTable
/** A value and the line that it stands on. */
export interface TomlItem {
  readonly value: TomlValue
  readonly line: number
}
/** Keys in the order of the file. */
export type TomlTable = Map<string, TomlItem>

export function isTable(value: TomlValue | undefined): value is TomlTable {
  return value instanceof Map
}

/**
 * Reads the part of TOML 1.0 that registries.conf is written in: tables, arrays of tables, strings of all four kinds,
 * booleans, numbers, arrays, inline tables. Dates are refused. Throws CONFIG_INVALID with file and line.
 */
export function parseToml(text: string, file: string): TomlTable {
  const root: TomlTable = new Map()
  let table = root
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0
  let line = 1
  let depth = 0

  const fail = (why: string): never => {
    throw new ArchimageError('CONFIG_INVALID', `${file}:${line}: ${why}`, {
      place: { file, line },
      hint: 'the file is TOML; containers-registries.conf(5) describes it',
    })
  }
  const blanks = () => {
    while (text[at] === ' ' || text[at] === '\t') at++
  }
  const comment = () => {
    if (text[at] === '#') while (at < text.length && text[at] !== '\n') at++
  }
  /** Blanks, comments and line ends. */
  const gap = () => {
    for (;;) {
      blanks()
      comment()
      if (text[at] === '\r' && text[at + 1] === '\n') at++
      if (text[at] !== '\n') return
      at++
      line++
    }
  }
  const endOfLine = () => {
    blanks()
    comment()
    if (text[at] === '\r') at++
    if (at < text.length && text[at] !== '\n') fail(`"${text[at]}" was not expected here`)
  }

  const escapeSequence = (): string => {
    const c = text[at++]!
    const simple: Readonly<Record<string, string>> = {
      b: '\b',
      t: '\t',
      n: '\n',
      f: '\f',
      r: '\r',
      '"': '"',
      '\\': '\\',
    }
    if (c in simple) return simple[c]!
    const length = c === 'u' ? 4 : c === 'U' ? 8 : 0
    const hex = text.slice(at, at + length)
    const code = Number.parseInt(hex, 16)
    if (length === 0 || !/^[0-9a-fA-F]+$/.test(hex) || hex.length !== length || code > 0x10ffff)
      return fail(`"\\${c}" is no escape of TOML`)
    at += length
    return String.fromCodePoint(code)
  }
  const string = (): string => {
    const quote = text[at]!
    const long = text.startsWith(quote.repeat(3), at)
    at += long ? 3 : 1
    if (long && text[at] === '\r') at++
    if (long && text[at] === '\n') {
      at++
      line++
    }
    let out = ''
    for (;;) {
      const c = text[at]
      if (c === undefined || (c === '\n' && !long)) return fail('a string is not closed')
      if (long ? text.startsWith(quote.repeat(3), at) : c === quote) break
      at++
      if (c === '\n') line++
      if (c !== '\\' || quote === "'") out += c
      else if (long && /^[ \t]*\r?\n/.test(text.slice(at, at + 200))) {
        while (/[ \t\r\n]/.test(text[at] ?? '')) if (text[at++] === '\n') line++
      } else out += escapeSequence()
    }
    at += long ? 3 : 1
    return out
  }
  const keys = (): string[] => {
    const out: string[] = []
    for (;;) {
      blanks()
      if (text[at] === '"' || text[at] === "'") out.push(string())
      else {
        const bare = /^[A-Za-z0-9_-]+/.exec(text.slice(at, at + 256))?.[0] ?? fail('a key was expected')
        out.push(bare)
        at += bare.length
      }
      blanks()
      if (text[at] !== '.') return out
      at++
    }
  }
  const value = (): TomlItem => {
    const start = line
    const c = text[at]
    if (c === '"' || c === "'") return { value: string(), line: start }
    if (c === '[') return { value: array(), line: start }
    if (c === '{') return { value: inline(), line: start }
    const word = /^[A-Za-z0-9_.+:-]+/.exec(text.slice(at, at + 128))?.[0] ?? ''
    at += word.length
    if (word === 'true' || word === 'false') return { value: word === 'true', line: start }
    if (/^[+-]?\d[\d_]*(\.\d+)?([eE][+-]?\d+)?$/.test(word))
      return { value: Number(word.replaceAll('_', '')), line: start }
    return fail(word === '' ? 'a value is missing' : `"${word}" is not a value: strings stand in quotes`)
  }
  const nested = <T>(read: () => T): T => {
    if (++depth > 32) fail('values are nested too deeply')
    at++
    const out = read()
    depth--
    return out
  }
  const array = (): TomlItem[] =>
    nested(() => {
      const out: TomlItem[] = []
      for (;;) {
        gap()
        if (text[at] === ']') break
        out.push(value())
        gap()
        if (text[at] === ',') at++
        else if (text[at] !== ']') fail('"," or "]" was expected in an array')
      }
      at++
      return out
    })
  const inline = (): TomlTable =>
    nested(() => {
      const out: TomlTable = new Map()
      blanks()
      while (text[at] !== '}') {
        assign(out)
        blanks()
        if (text[at] === ',') at++
        else if (text[at] !== '}') fail('"," or "}" was expected in a table')
        blanks()
      }
      at++
      return out
    })
  const assign = (into: TomlTable) => {
    const path = keys()
    const name = path.pop()!
    if (text[at] !== '=') fail('"=" was expected after the key')
    at++
    blanks()
    const target = descend(into, path)
    if (target.has(name)) fail(`"${name}" is given twice`)
    target.set(name, value())
  }
  const descend = (from: TomlTable, path: readonly string[]): TomlTable => {
    let here = from
    for (const name of path) {
      const found = here.get(name)?.value
      const next = Array.isArray(found) ? (found.at(-1) as TomlItem | undefined)?.value : found
      if (isTable(next)) here = next
      else if (found === undefined) {
        const made: TomlTable = new Map()
        here.set(name, { value: made, line })
        here = made
      } else fail(`"${name}" is already a value`)
    }
    return here
  }
  const header = () => {
    const many = text[at + 1] === '['
    at += many ? 2 : 1
    const path = keys()
    if (!text.startsWith(many ? ']]' : ']', at)) fail('the table name is not closed')
    at += many ? 2 : 1
    if (!many) {
      table = descend(root, path)
      return
    }
    const name = path.pop()!
    const target = descend(root, path)
    const list = target.get(name)?.value ?? []
    if (!Array.isArray(list)) return fail(`"${name}" is already a value`)
    table = new Map()
    target.set(name, { value: [...list, { value: table, line }], line: target.get(name)?.line ?? line })
  }

  for (;;) {
    gap()
    if (at >= text.length) return root
    if (text[at] === '[') header()
    else assign(table)
    endOfLine()
  }
}
