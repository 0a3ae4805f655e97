import { didYouMean } from '../errors/suggest.ts'
import { templateFault } from './fault.ts'
import { ARGUMENTS, FUNCTIONS, kind, Misuse } from './functions.ts'
import type { Block, Node, Operand, Pipe, Template } from './syntax.ts'
import { fieldOf, isMap, show, truth, type Value } from './values.ts'

/** Variables, innermost last; a scope is a length of it. */
interface Variable {
  readonly name: string
  value: Value
}

type Flow = 'break' | 'continue' | undefined

/**
 * What a template says of `data`: JSON values, whose top is a map. A field that the top does not have is a mistake; further down it is empty, as optional fields are. Throws USAGE.
 */
export function renderTemplate(template: Template, data: Readonly<Record<string, Value>>): string {
  const renderer = new Renderer(template.source, data)
  renderer.list(template.nodes, data)
  return renderer.out.join('')
}

/** Ranges in ranges, and texts doubled in them, would run as long as they like, and no Ctrl-C would be heard. */
const MOST_STEPS = 10_000_000
const MOST_TEXT = 64 << 20

class Renderer {
  readonly out: string[] = []
  readonly #source: string
  readonly #top: Readonly<Record<string, Value>>
  readonly #variables: Variable[]
  #steps = 0

  constructor(source: string, top: Readonly<Record<string, Value>>) {
    this.#source = source
    this.#top = top
    this.#variables = [{ name: '$', value: top }]
  }

  list(nodes: readonly Node[], dot: Value): Flow {
    this.#steps += 1 + nodes.length
    if (this.#steps > MOST_STEPS) throw templateFault(this.#source, 0, `it takes more than ${MOST_STEPS} steps`)
    for (const node of nodes) {
      const flow = this.#node(node, dot)
      if (flow !== undefined) return flow
    }
    return undefined
  }

  #node(node: Node, dot: Value): Flow {
    if (node.kind === 'text') this.out.push(node.text)
    else if (node.kind === 'action') {
      const value = this.#pipe(node.pipe, dot)
      if (node.pipe.variables.length === 0) this.out.push(show(value))
    } else if (node.kind === 'break' || node.kind === 'continue') return node.kind
    else {
      const scope = this.#variables.length
      const flow = node.kind === 'range' ? this.#range(node, dot) : this.#branch(node, dot)
      this.#variables.length = scope
      return flow
    }
    return undefined
  }

  #branch({ kind, pipe, body, otherwise }: Block, dot: Value): Flow {
    const value = this.#pipe(pipe, dot)
    if (!truth(value)) return this.list(otherwise, dot)
    return this.list(body, kind === 'with' ? value : dot)
  }

  #range({ pipe, body, otherwise }: Block, dot: Value): Flow {
    const { variables, assigns } = pipe
    const value = this.#pipe({ ...pipe, variables: [] }, dot)
    const items: (readonly [Value, Value])[] = Array.isArray(value)
      ? value.map((item, i) => [i, item] as const)
      : isMap(value)
        ? Object.keys(value)
            .sort()
            .map(key => [key, value[key]] as const)
        : typeof value === 'number' && value <= 100_000
          ? Array.from({ length: Math.max(0, value) }, (_, i) => [i, i] as const)
          : []
    if (items.length === 0 && value !== undefined && value !== null && !Array.isArray(value) && !isMap(value))
      if (typeof value !== 'number' || value > 0)
        throw templateFault(this.#source, pipe.at, `range goes through lists and maps, not through ${kind(value)}`)
    if (items.length === 0) return this.list(otherwise, dot)
    const scope = this.#variables.length
    for (const [key, item] of items) {
      this.#variables.length = scope
      if (variables.length === 1) this.#set(variables[0]!, item, assigns)
      if (variables.length === 2) {
        this.#set(variables[0]!, key, assigns)
        this.#set(variables[1]!, item, assigns)
      }
      if (this.list(body, item) === 'break') break
    }
    return undefined
  }

  #set(name: string, value: Value, assigns: boolean): void {
    if (!assigns) this.#variables.push({ name, value })
    else this.#variables.findLast(one => one.name === name)!.value = value
  }

  #pipe({ commands, variables, assigns }: Pipe, dot: Value): Value {
    let value: Value
    for (const [i, command] of commands.entries()) value = this.#command(command, dot, i > 0 ? [value] : [])
    for (const name of variables) this.#set(name, value, assigns)
    return value
  }

  #command(operands: readonly Operand[], dot: Value, piped: readonly Value[]): Value {
    const [first, ...rest] = operands as readonly [Operand, ...Operand[]]
    if (first.kind !== 'function') return this.#operand(first, dot)
    const { name, at } = first
    const [least, most] = ARGUMENTS[name] ?? [0, Number.POSITIVE_INFINITY]
    const given = rest.length + piped.length
    if (given < least || given > most)
      throw templateFault(
        this.#source,
        at,
        `${name} takes ${most === least ? least : `at least ${least}`} ${least === 1 ? 'value' : 'values'}, not ${given}`,
      )
    // Go stops at the first value that decides
    if (name === 'and' || name === 'or') {
      let value: Value
      for (const operand of rest) {
        value = this.#operand(operand, dot)
        if (truth(value) === (name === 'or')) return value
      }
      return piped.length > 0 ? piped[0] : value
    }
    try {
      const value = FUNCTIONS[name]!(...rest.map(operand => this.#operand(operand, dot)), ...piped)
      if (typeof value === 'string' && value.length > MOST_TEXT)
        throw templateFault(this.#source, at, `its text has more than ${MOST_TEXT} characters`)
      return value
    } catch (error) {
      if (error instanceof Misuse) throw templateFault(this.#source, at, error.message)
      throw error
    }
  }

  #operand(operand: Operand, dot: Value): Value {
    if (operand.kind === 'dot') return dot
    if (operand.kind === 'literal') return operand.value
    if (operand.kind === 'variable') return this.#variables.findLast(one => one.name === operand.name)!.value
    if (operand.kind === 'pipe') return this.#pipe(operand.pipe, dot)
    if (operand.kind === 'function') return this.#command([operand], dot, [])
    return this.#field(this.#operand(operand.of, dot), operand.name, operand.at)
  }

  #field(value: Value, name: string, at: number): Value {
    if (value === undefined || value === null) return undefined
    if (!isMap(value)) throw templateFault(this.#source, at, `${kind(value)} has no field .${name}`)
    const key = fieldOf(value, name)
    if (key !== undefined) return value[key]
    if (value !== this.#top) return undefined
    const known = Object.keys(value)
    throw templateFault(
      this.#source,
      at,
      `there is no field .${name}`,
      didYouMean(name, known) ?? `there are: ${known.map(one => `.${one}`).join(', ')}`,
    )
  }
}
