import { isMap, show, truth, type Value } from './values.ts'

/** Throws a plain sentence; who calls knows the place. */
export class Misuse extends Error {}

type Function = (...args: Value[]) => Value

function compare(a: Value, b: Value): number {
  const [x, y] = [zero(a, b), zero(b, a)]
  if (typeof x === 'number' && typeof y === 'number') return x - y
  if (typeof x === 'string' && typeof y === 'string') return x < y ? -1 : x > y ? 1 : 0
  throw new Misuse(`${kind(a)} and ${kind(b)} have no order`)
}

function same(a: Value, b: Value): boolean {
  const [x, y] = [zero(a, b), zero(b, a)]
  for (const one of [x, y])
    if (typeof one === 'object' && one !== null) throw new Misuse(`${kind(one)} is not compared`)
  if (x != null && y != null && typeof x !== typeof y) throw new Misuse(`${kind(a)} is not compared with ${kind(b)}`)
  return x === y
}

/** What is not there counts as the empty value of the other's kind, as it would in a Go struct. */
function zero(value: Value, like: Value): Value {
  if (value !== undefined && value !== null) return value
  return typeof like === 'string' ? '' : typeof like === 'number' ? 0 : typeof like === 'boolean' ? false : null
}

export function kind(value: Value): string {
  if (value === undefined || value === null) return 'nothing'
  return Array.isArray(value) ? 'a list' : isMap(value) ? 'a map' : `a ${typeof value}`
}

function text(value: Value, what: string): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw new Misuse(`${what} wants text, not ${kind(value)}`)
  return value
}

function listOf(value: Value, what: string): readonly Value[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new Misuse(`${what} wants a list, not ${kind(value)}`)
  return value
}

function index(value: Value, ...keys: Value[]): Value {
  return keys.reduce<Value>((at, key) => {
    if (at === undefined || at === null) return undefined
    if (isMap(at)) return Object.hasOwn(at, String(key)) ? at[String(key)] : undefined
    if (!Array.isArray(at)) throw new Misuse(`${kind(at)} has no parts that index could find`)
    if (typeof key !== 'number') throw new Misuse(`a list has numbered parts, "${show(key)}" is no number`)
    if (key < 0 || key >= at.length) throw new Misuse(`the list has ${at.length} parts, there is no number ${key}`)
    return at[key]
  }, value)
}

function slice(value: Value, from?: Value, to?: Value): Value {
  if (!Array.isArray(value) && typeof value !== 'string') throw new Misuse(`${kind(value)} has no slices`)
  const [begin, end] = [Number(from ?? 0), Number(to ?? value.length)]
  if (!(begin >= 0 && begin <= end && end <= value.length))
    throw new Misuse(`${begin} to ${end} is not inside of 0 to ${value.length}`)
  return value.slice(begin, end)
}

function length(value: Value): number {
  if (value === undefined || value === null) return 0
  if (Array.isArray(value)) return value.length
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (isMap(value)) return Object.keys(value).length
  throw new Misuse(`${kind(value)} has no length`)
}

/** Go's fmt verbs that make sense for JSON: %s %v %d %q %t %f %x %X %%, with flags, width and precision. */
function printf(format: Value, ...args: Value[]): string {
  let used = 0
  const out = text(format, 'printf').replace(
    /%([-+0 #]*)(\d+)?(?:\.(\d+))?(.)/g,
    (all, flags: string, width?: string, precision?: string, verb?: string) => {
      if (verb === '%') return '%'
      if (used >= args.length) throw new Misuse(`${all} of printf has no value`)
      const padded = Math.min(Number(width ?? 0), 1000)
      const word = verbed(verb!, args[used++], precision)
      if (flags.includes('-')) return word.padEnd(padded)
      return flags.includes('0') && /^-?\d/.test(word) ? word.padStart(padded, '0') : word.padStart(padded)
    },
  )
  if (used < args.length) throw new Misuse(`printf has ${args.length} values for ${used} places`)
  return out
}

function verbed(verb: string, value: Value, precision: string | undefined): string {
  const digits = precision === undefined ? undefined : Math.min(Number(precision), 100)
  if (verb === 's' || verb === 'v') return digits === undefined ? show(value) : show(value).slice(0, digits)
  if (verb === 'q') return JSON.stringify(show(value))
  if (verb === 't' && typeof value === 'boolean') return String(value)
  if ((verb === 'x' || verb === 'X') && (typeof value === 'string' || typeof value === 'number')) {
    const hex = typeof value === 'number' ? value.toString(16) : Buffer.from(value).toString('hex')
    return verb === 'X' ? hex.toUpperCase() : hex
  }
  if (typeof (value ?? 0) === 'number') {
    if (verb === 'd') return String(value ?? 0)
    if (verb === 'f') return Number(value ?? 0).toFixed(digits ?? 6)
  }
  throw new Misuse(`printf has no %${verb} for ${kind(value)}`)
}

/** The functions of Go's templates and those that docker, podman and skopeo add. `and`, `or` are the evaluator's. */
export const FUNCTIONS: Readonly<Record<string, Function>> = {
  and: (...args) => args.find(one => !truth(one)) ?? args.at(-1),
  or: (...args) => args.find(truth) ?? args.at(-1),
  not: value => !truth(value),
  len: length,
  index,
  slice,
  print: (...args) => args.map(show).join(' '),
  println: (...args) => `${args.map(show).join(' ')}\n`,
  printf,
  eq: (a, ...others) => others.some(b => same(a, b)),
  ne: (a, b) => !same(a, b),
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
  json: value => JSON.stringify(value ?? null),
  jsonPretty: value => JSON.stringify(value ?? null, null, 2),
  join: (values, by) => listOf(values, 'join').map(show).join(text(by, 'join')),
  split: (value, by) => text(value, 'split').split(text(by, 'split')),
  upper: value => text(value, 'upper').toUpperCase(),
  lower: value => text(value, 'lower').toLowerCase(),
  title: value => text(value, 'title').replace(/(^|\s)\p{L}/gu, letter => letter.toUpperCase()),
  trim: value => text(value, 'trim').trim(),
  pad: (value, before, after) => {
    const word = text(value, 'pad')
    return word === '' ? '' : ' '.repeat(count(before)) + word + ' '.repeat(count(after))
  },
  truncate: (value, size) => [...text(value, 'truncate')].slice(0, count(size)).join(''),
}

function count(value: Value): number {
  if (typeof value !== 'number' || value < 0) throw new Misuse(`"${show(value)}" is not a number of characters`)
  return Math.min(value, 10_000)
}

/** How many arguments each of them takes; without an entry any number. */
export const ARGUMENTS: Readonly<Record<string, readonly [number, number]>> = {
  and: [1, 99],
  or: [1, 99],
  not: [1, 1],
  len: [1, 1],
  index: [1, 99],
  slice: [1, 3],
  printf: [1, 99],
  eq: [2, 99],
  ne: [2, 2],
  lt: [2, 2],
  le: [2, 2],
  gt: [2, 2],
  ge: [2, 2],
  json: [1, 1],
  jsonPretty: [1, 1],
  join: [2, 2],
  split: [2, 2],
  upper: [1, 1],
  lower: [1, 1],
  title: [1, 1],
  trim: [1, 1],
  pad: [3, 3],
  truncate: [2, 2],
}
