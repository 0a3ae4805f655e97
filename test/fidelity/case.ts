import type { Context } from './context.ts'

/** One Dockerfile that both builders get. `REG/` in it stands for the registry that holds the bases. */
export interface Case {
  readonly name: string
  readonly dockerfile: string
  /** Writes the context; without it the context has the file `a` alone. */
  readonly files?: (context: Context) => void
  readonly target?: string
  readonly args?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
  /** Default: linux/amd64. */
  readonly platforms?: readonly string[]
  /** Folders beside the context that are named contexts. */
  readonly contexts?: Readonly<Record<string, (context: Context) => void>>
  /** BuildKit refuses this, so archimage must, at the same line. Said here so that a broken case does not pass for that. */
  readonly refused?: true
  /** An intended difference: the heading in docs/differences.md that explains it, and what every difference looks like. */
  readonly differs?: { readonly section: string; readonly only: RegExp }
}
