import type { RunInstruction } from './ast.ts'
import { parseHeredoc } from './heredoc.ts'

/** What a RUN starts: words as they are, a text for the SHELL, or a file that is written and then run by the SHELL. */
export type Script =
  | { readonly kind: 'exec'; readonly args: readonly string[] }
  | { readonly kind: 'shell'; readonly text: string }
  /** Mounted read-only at `/dev/pipes/NAME` with mode 0755; the SHELL gets that path. */
  | { readonly kind: 'file'; readonly name: string; readonly content: string }

/**
 * A RUN that is nothing but one heredoc hands its body to the SHELL, or runs it when it begins with `#!` (not on
 * windows). In any other RUN the heredocs are put back behind the line, and the SHELL reads them. Nothing is expanded.
 */
export function scriptOf({ command, heredocs }: RunInstruction, windows: boolean): Script {
  if (command.form === 'exec') return { kind: 'exec', args: command.args }
  const [first] = heredocs
  if (first === undefined) return { kind: 'shell', text: command.text }
  if (isHeredoc(command.text))
    return !windows && first.content.startsWith('#!')
      ? { kind: 'file', name: first.name, content: first.content }
      : { kind: 'shell', text: first.content }
  const bodies = heredocs.map(({ raw, content, name }) => `\n${raw ?? content}${name}`)
  return { kind: 'shell', text: command.text + bodies.join('') }
}

function isHeredoc(text: string): boolean {
  try {
    return parseHeredoc(text) !== undefined
  } catch {
    return false
  }
}
