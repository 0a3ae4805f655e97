/** What a template is made of (Go's text/template, the part that is described in docs/inspect.md). */
export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe }
  | Block
  | { readonly kind: 'break' }
  | { readonly kind: 'continue' }

export interface Block {
  readonly kind: 'if' | 'with' | 'range'
  readonly pipe: Pipe
  readonly body: readonly Node[]
  readonly otherwise: readonly Node[]
}

/** `$a, $b := command | command`. */
export interface Pipe {
  readonly variables: readonly string[]
  /** `=` instead of `:=`: the variables exist already. */
  readonly assigns: boolean
  readonly commands: readonly (readonly Operand[])[]
  /** Offset in the template, for messages. */
  readonly at: number
}

export type Operand = { readonly at: number } & (
  | { readonly kind: 'dot' }
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'field'; readonly of: Operand; readonly name: string }
  | { readonly kind: 'pipe'; readonly pipe: Pipe }
)

export interface Template {
  readonly source: string
  readonly nodes: readonly Node[]
  /** Names of all fields that are asked for anywhere: what costs something is read only when it is. */
  readonly fields: ReadonlySet<string>
}
