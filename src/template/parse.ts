import { didYouMean } from '../errors/suggest.ts'
import { templateFault } from './fault.ts'
import { FUNCTIONS } from './functions.ts'
import { type Piece, scan, type Token } from './scan.ts'
import type { Node, Operand, Pipe, Template } from './syntax.ts'

const DEPTH = 100
const ABSENT = ['define', 'template', 'block']

/** Reads a template. Throws USAGE with the place of the mistake. */
export function parseTemplate(source: string): Template {
  const parser = new Parser(source)
  return { source, nodes: parser.all(), fields: parser.fields }
}

class Parser {
  readonly fields = new Set<string>()
  readonly #source: string
  readonly #pieces: readonly Piece[]
  #piece = 0
  #tokens: readonly Token[] = []
  #token = 0
  #depth = 0
  /** Of the scope that is being read: what was declared so far. */
  #variables: string[] = ['$']
  #loops = 0

  constructor(source: string) {
    this.#source = source
    this.#pieces = scan(source)
  }

  all(): readonly Node[] {
    const { nodes, stop } = this.#list()
    if (stop !== undefined) throw this.#fault(stop, `"${stop.text}" has nothing that it belongs to`)
    return nodes
  }

  /** Up to `end` or `else`, which is returned as `stop`, or the end of the template. */
  #list(): { nodes: Node[]; stop: Token | undefined } {
    const nodes: Node[] = []
    for (;;) {
      const piece = this.#pieces[this.#piece++]
      if (piece === undefined) return { nodes, stop: undefined }
      if (piece.kind === 'text') {
        nodes.push(piece)
        continue
      }
      this.#tokens = piece.tokens
      this.#token = 0
      const first = this.#peek()
      if (first.kind === 'word' && (first.text === 'end' || first.text === 'else')) {
        this.#next()
        return { nodes, stop: first }
      }
      nodes.push(this.#action(first, piece.at))
    }
  }

  #action(first: Token, at: number): Node {
    const { text, kind } = first
    if (kind === 'end') throw templateFault(this.#source, at, 'there is nothing between "{{" and "}}"')
    if (kind === 'word' && (text === 'if' || text === 'with' || text === 'range')) {
      this.#next()
      return this.#block(text, first)
    }
    if (kind === 'word' && (text === 'break' || text === 'continue')) {
      this.#next()
      if (this.#loops === 0) throw this.#fault(first, `"${text}" stands outside of a range`)
      this.#finish()
      return { kind: text }
    }
    if (kind === 'word' && ABSENT.includes(text))
      throw this.#fault(first, `"${text}" is not supported: a template here is one piece`)
    const pipe = this.#pipe()
    this.#finish()
    return { kind: 'action', pipe }
  }

  #block(kind: 'if' | 'with' | 'range', open: Token): Node {
    if (++this.#depth > DEPTH) throw this.#fault(open, `more than ${DEPTH} blocks inside each other`)
    const outer = this.#variables
    this.#variables = [...outer]
    const pipe = this.#pipe(kind === 'range')
    this.#finish()
    const inner = this.#variables
    if (kind === 'range') this.#loops++
    const { nodes: body, stop } = this.#list()
    if (kind === 'range') this.#loops--
    this.#variables = [...inner]
    const otherwise = stop?.text === 'else' ? this.#otherwise(open) : []
    if (stop === undefined) throw this.#fault(open, `this "${kind}" has no {{end}}`)
    if (stop.text === 'end') this.#finish()
    this.#variables = outer
    this.#depth--
    return { kind, pipe, body, otherwise }
  }

  /** Behind `else`: `else if …` and `else with …` share the {{end}}. */
  #otherwise(open: Token): readonly Node[] {
    const next = this.#peek()
    if (next.kind === 'word' && (next.text === 'if' || next.text === 'with')) {
      this.#next()
      return [this.#block(next.text, open)]
    }
    this.#finish()
    const { nodes, stop } = this.#list()
    if (stop === undefined) throw this.#fault(open, `this "${open.text}" has no {{end}}`)
    if (stop.text === 'else') throw this.#fault(stop, 'a second "else"')
    this.#finish()
    return nodes
  }

  #pipe(ranging = false): Pipe {
    const at = this.#peek().at
    const { variables, assigns } = this.#declaration(ranging)
    const commands: Operand[][] = []
    do commands.push(this.#command(commands.length > 0))
    while (this.#sign('|'))
    // a variable is not known in its own value
    if (!assigns) this.#variables.push(...variables)
    return { variables, assigns, commands, at }
  }

  /** `$x :=`, `$x =`, and in range `$i, $x :=`. */
  #declaration(ranging: boolean): { readonly variables: readonly string[]; readonly assigns: boolean } {
    const first = this.#tokens[this.#token]!
    if (first.kind !== 'variable') return { variables: [], assigns: false }
    const follow = this.#tokens[this.#token + 1]!.text
    const third = this.#tokens[this.#token + 2]
    const names = [first.text]
    let length = 1
    if (ranging && follow === ',' && third?.kind === 'variable') {
      names.push(third.text)
      length = 3
    }
    const sign = this.#tokens[this.#token + length]?.text
    if (sign !== ':=' && sign !== '=') return { variables: [], assigns: false }
    this.#token += length + 1
    if (sign === '=') for (const name of names) this.#mustKnow(name, first)
    return { variables: names, assigns: sign === '=' }
  }

  #command(follows: boolean): Operand[] {
    const operands: Operand[] = []
    for (;;) {
      const token = this.#peek()
      if (token.kind === 'end' || (token.kind === 'sign' && (token.text === '|' || token.text === ')'))) break
      operands.push(this.#operand())
    }
    const [first] = operands
    if (first === undefined) throw this.#fault(this.#peek(), 'a value is missing')
    if (first.kind !== 'function' && (operands.length > 1 || follows))
      throw templateFault(
        this.#source,
        first.at,
        'this is not a function, so nothing can be given to it',
        'for instance: {{index .Labels "maintainer"}}, {{json .Manifest}}',
      )
    return operands
  }

  #operand(): Operand {
    const token = this.#next()
    let operand = this.#term(token)
    for (let next = this.#peek(); next.kind === 'field' && next.joined; next = this.#peek()) {
      this.#next()
      if (operand.kind === 'function' || operand.kind === 'literal')
        throw this.#fault(next, `${token.text} has no fields`)
      operand = { kind: 'field', of: operand, name: this.#field(next), at: next.at }
    }
    return operand
  }

  #term(token: Token): Operand {
    const { kind, text, at } = token
    if (kind === 'field') return { kind: 'field', of: { kind: 'dot', at }, name: this.#field(token), at }
    if (kind === 'string') return { kind: 'literal', value: this.#string(token), at }
    if (kind === 'number') return { kind: 'literal', value: Number(text.replace(/^\+/, '')), at }
    if (kind === 'variable') {
      this.#mustKnow(text, token)
      return { kind: 'variable', name: text, at }
    }
    if (kind === 'word') {
      if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true', at }
      if (text === 'nil') return { kind: 'literal', value: null, at }
      if (Object.hasOwn(FUNCTIONS, text)) return { kind: 'function', name: text, at }
      throw this.#fault(
        token,
        `there is no function "${text}"`,
        didYouMean(text, Object.keys(FUNCTIONS)) ?? `fields begin with a dot: {{.${text}}}`,
      )
    }
    if (text === '.') return { kind: 'dot', at }
    if (text === '(') {
      if (++this.#depth > DEPTH) throw this.#fault(token, `more than ${DEPTH} levels`)
      const pipe = this.#pipe()
      if (!this.#sign(')')) throw this.#fault(token, 'this "(" has no ")"')
      this.#depth--
      return { kind: 'pipe', pipe, at }
    }
    throw this.#fault(token, kind === 'end' ? 'a value is missing' : `"${text}" is not understood here`)
  }

  #string(token: Token): string {
    const inner = token.text.slice(1, -1)
    if (token.text.startsWith('`')) return inner
    return inner.replace(
      /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))/g,
      (all, x?: string, u?: string, one?: string) => {
        if (x !== undefined || u !== undefined) return String.fromCharCode(Number.parseInt((x ?? u)!, 16))
        const plain: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '"': '"', '\\': '\\', "'": "'" }
        if (!Object.hasOwn(plain, one!)) throw this.#fault(token, `${all} is not an escape`)
        return plain[one!]!
      },
    )
  }

  #field(token: Token): string {
    const name = token.text.slice(1)
    this.fields.add(name)
    return name
  }

  #mustKnow(name: string, token: Token): void {
    if (!this.#variables.includes(name))
      throw this.#fault(token, `the variable ${name} does not exist here`, didYouMean(name, this.#variables))
  }

  #peek(): Token {
    return this.#tokens[this.#token]!
  }

  #next(): Token {
    return this.#tokens[this.#token++]!
  }

  #sign(text: string): boolean {
    const { kind, text: found } = this.#peek()
    if (kind !== 'sign' || found !== text) return false
    this.#token++
    return true
  }

  #finish(): void {
    const token = this.#peek()
    if (token.kind !== 'end') throw this.#fault(token, `"${token.text}" is too much here`)
  }

  #fault(token: Token, message: string, hint?: string) {
    return templateFault(this.#source, token.at, message, hint)
  }
}
